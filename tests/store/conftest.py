import pytest
from redis.connection import CacheProxyConnection

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.store.store import Store
from tests.server import Redis


@pytest.fixture
def store() -> Store:
    return Store("orders", configuration())


@pytest.fixture
def clients_may_cache(client_of_server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of redis-py caches replies of a server that calls itself ``redis``, and no other."""
    name = client_of_server.info("server").get("server_name", "redis")
    monkeypatch.setattr(CacheProxyConnection, "DEFAULT_SERVER_NAME", name)
