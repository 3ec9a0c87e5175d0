from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from redis.client import Pipeline
from redis.exceptions import BusyLoadingError

from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.store import server
from tests.checks.messages import APP, found
from tests.replicas import pair
from tests.server import Redis


class TestServer:
    def test_is_not_asked_without_deploy(self, unreachable: str) -> None:
        assert found() == {}

    def test_that_cannot_be_reached(self, unreachable: str) -> None:
        messages = found(deploy=True)
        assert list(messages) == ["E007"]
        assert "cannot be reached" in messages["E007"].msg

    @pytest.mark.usefixtures("unreachable")
    def test_that_cannot_be_reached_fails_the_command(self) -> None:
        with pytest.raises(SystemCheckError, match="E007"):
            call_command("check", APP.label, "--deploy")

    @pytest.mark.parametrize("login", ["nobody:s3cret@", "", ":s3cret@"])
    def test_that_refuses_the_login(
        self, private_server: Redis, use_cache: Callable[..., str], login: str
    ) -> None:
        private_server.execute_command("ACL SETUSER default resetpass >other")
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://{login}{path}?db=1")
        messages = found(deploy=True)
        assert list(messages) == ["E007"]
        assert "refuses the login" in messages["E007"].msg
        assert "s3cret" not in str(messages["E007"])

    @pytest.mark.usefixtures("private_server")
    def test_that_is_loading(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(*args: Any, **options: Any) -> list[Any]:
            return [BusyLoadingError("Redis is loading the dataset in memory")] * 9

        monkeypatch.setattr(Pipeline, "execute", load)
        assert "is loading" in found(deploy=True)["E007"].msg

    def test_is_not_asked_when_the_settings_are_at_fault(
        self, configure: Callable[..., None]
    ) -> None:
        configure(CACHE="nowhere")
        assert list(found(deploy=True)) == ["E002"]

    def test_that_evicts_and_does_not_persist(self, private_server: Redis) -> None:
        private_server.config_set("maxmemory-policy", "allkeys-lru")
        messages = found(deploy=True)
        assert "allkeys-lru" in messages["W006"].msg
        assert "no persistence" in messages["W007"].msg

    def test_that_writes_snapshots_only(self, private_server: Redis) -> None:
        private_server.config_set("save", "60 1000")
        messages = found(deploy=True)
        assert list(messages) == ["W007"]
        assert "snapshots only" in messages["W007"].msg

    def test_that_keeps_what_it_is_given(self, private_server: Redis) -> None:
        private_server.config_set("appendonly", "yes")
        assert found(deploy=True) == {}

    def test_that_has_no_config_command(
        self, private_server: Redis, use_cache: Callable[..., str]
    ) -> None:
        private_server.execute_command("ACL SETUSER default -config")
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://{path}?db=3")
        assert list(found(deploy=True)) == ["W007"]

    def test_with_a_replica_that_may_fall_behind(self, use_cache: Callable[..., str]) -> None:
        with pair() as servers:
            use_cache(servers.url)
            servers.primary.config_set("appendonly", "yes")
            assert "failover" in found(deploy=True)["W014"].msg
            servers.primary.config_set("min-replicas-to-write", 1)
            assert found(deploy=True) == {}

    def test_that_is_too_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "OLDEST_VERSION", (99, 0))
        assert "99.0" in str(found(deploy=True)["E006"].hint)

    @pytest.mark.usefixtures("private_server")
    def test_that_is_just_new_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        facts = server.server_facts(configuration())
        assert facts is not None
        monkeypatch.setattr(server, "OLDEST_VERSION", facts.version)
        assert "E006" not in found(deploy=True)


@pytest.mark.usefixtures("nothing_declared")
class TestDurability:
    @pytest.fixture
    def bare(self, private_server: Redis, use_cache: Callable[..., str]) -> Redis:
        """A server whose user may run any command."""
        use_cache(f"unix://{private_server.get_connection_kwargs()['path']}?db=1")
        return private_server

    @pytest.fixture
    def declare(self, configure: Callable[..., None]) -> Callable[[str], None]:
        def declare(durability: str) -> None:
            Bucket("orders").processor(print)
            configure(BUCKETS={"orders": {"durability": durability}})

        return declare

    @pytest.fixture
    def knows_waitaof(self, bare: Redis) -> bool:
        facts = server.server_facts(configuration())
        return facts is not None and facts.version >= server.OLDEST_THAT_FSYNCS

    def test_without_a_replica(self, bare: Redis, declare: Callable[[str], None]) -> None:
        bare.config_set("appendonly", "yes")
        declare("replicated")
        messages = found(deploy=True)
        assert list(messages) == ["E011"]
        assert "'orders' has durability='replicated'" in messages["E011"].msg
        assert "has no replica" in messages["E011"].msg

    def test_without_an_append_only_file(
        self, bare: Redis, declare: Callable[[str], None], knows_waitaof: bool
    ) -> None:
        declare("fsynced")
        text = "appendonly no" if knows_waitaof else "older than 7.2"
        assert text in found(deploy=True)["E011"].msg

    def test_with_a_file_that_is_never_synced(
        self, bare: Redis, declare: Callable[[str], None], knows_waitaof: bool
    ) -> None:
        bare.config_set("appendonly", "yes")
        bare.config_set("appendfsync", "no")
        declare("fsynced")
        text = "appendfsync no" if knows_waitaof else "older than 7.2"
        assert text in found(deploy=True)["E011"].msg
        bare.config_set("appendfsync", "always")
        assert {*found(deploy=True)} == (set() if knows_waitaof else {"E008", "E011"})

    def test_with_a_file_that_is_synced_each_second(
        self, bare: Redis, declare: Callable[[str], None], knows_waitaof: bool
    ) -> None:
        bare.config_set("appendonly", "yes")
        bare.config_set("appendfsync", "everysec")
        declare("fsynced")
        messages = found(deploy=True)
        assert {*messages} == ({"W015"} if knows_waitaof else {"E008", "E011"})
        if knows_waitaof:
            assert "before it is on the disk" in messages["W015"].msg
