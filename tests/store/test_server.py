from django_jsonbuffer.conf import configuration
from django_jsonbuffer.store.server import server_facts
from tests.server import Redis


class TestConnections:
    def test_facts_of_the_server(self, private_server: Redis) -> None:
        found = server_facts(configuration())
        assert found is not None
        assert found.version >= (6, 2)
        assert (found.eviction_policy, found.has_aof, found.has_snapshots) == (
            "noeviction",
            False,
            False,
        )
        private_server.config_set("maxmemory-policy", "allkeys-lru")
        private_server.config_set("appendonly", "yes")
        private_server.config_set("save", "60 1")
        found = server_facts(configuration())
        assert found is not None
        assert (found.eviction_policy, found.has_aof, found.has_snapshots) == (
            "allkeys-lru",
            True,
            True,
        )
