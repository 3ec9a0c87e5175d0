import pytest
from redis.connection import CacheProxyConnection

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.store.store import Store
from tests.server import Redis
from tests.store.twins import TIMEOUT_SECONDS


@pytest.fixture
def timeout_seconds() -> float:
    """Timeout of a client that connects through a proxy. It is short, since replies are lost.

    The proxy shares the interpreter with the test. So tests that send megabytes have a longer one.
    """
    return TIMEOUT_SECONDS


@pytest.fixture
def store() -> Store:
    return Store("orders", configuration())


@pytest.fixture
def clients_may_cache(client_of_server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a client of redis-py cache the replies of any server that can tell it of changes.

    By itself it does so only for a server that calls itself ``redis`` and is at least 7.4.
    """
    name = client_of_server.info("server").get("server_name", "redis")
    monkeypatch.setattr(CacheProxyConnection, "DEFAULT_SERVER_NAME", name)
    monkeypatch.setattr(CacheProxyConnection, "MIN_ALLOWED_VERSION", "6.0.0")
