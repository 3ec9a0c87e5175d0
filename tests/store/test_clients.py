import time
from collections.abc import Callable

import pytest
from redis.cache import CacheConfig
from redis.connection import parse_url

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.store import clients as clients_module
from django_jsonbuffer.store.clients import clients
from tests import server
from tests.faults.proxy import Proxy
from tests.threads import at_once


class TestClient:
    def test_is_that_of_the_primary(self, use_cache: Callable[..., str]) -> None:
        alias = use_cache([server.URL, "unix:///nowhere/replica.sock?db=0"])
        assert clients[alias].ping()

    def test_class_that_cannot_be_imported(self, use_cache: Callable[..., str]) -> None:
        alias = use_cache("redis://a/1", OPTIONS={"CLIENT_CLASS": "no.such.Client"})
        with pytest.raises(BufferMisconfigured, match=alias):
            clients[alias]

    def test_is_another_when_the_setting_is(self, use_cache: Callable[..., str]) -> None:
        with pytest.raises(BufferMisconfigured):
            clients[use_cache("redis://a/1", OPTIONS={"CLIENT_CLASS": "no.such.Client"})]
        alias = use_cache(server.URL)
        assert clients[alias] is clients[alias]
        assert clients[alias].ping()

    def test_is_one_for_threads_that_come_at_once(
        self, use_cache: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        new_client = clients_module._new_client

        def slow(alias: str) -> server.Redis:
            time.sleep(0.05)
            return new_client(alias)

        monkeypatch.setattr(clients_module, "_new_client", slow)
        alias, found = use_cache(server.URL), list[server.Redis]()
        at_once([lambda: found.append(clients[alias])] * 4)
        assert len({id(client) for client in found}) == 1


@server.one_server
@pytest.mark.usefixtures("clients_may_cache")
def test_client_that_caches_is_not_confused(
    use_cache: Callable[..., str], prefix: str, client_of_server: server.Redis
) -> None:
    """Nor do we read, in place of a reply, what it has cached."""
    kwargs = {"protocol": 3, "cache_config": CacheConfig()}
    # A client that caches cannot use a socket file, and django-redis has one pool for each URL.
    with Proxy(server.URL) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/{parse_url(server.URL).get('db', 0)}"
        alias = use_cache(url, OPTIONS={"CONNECTION_POOL_KWARGS": kwargs})
        client = clients[alias]
        client_of_server.set(f"{prefix}:cached", "value")
        bucket = Bucket("orders")
        for number in range(3):
            assert client.get(f"{prefix}:cached") == b"value"
            bucket.append(number)
            assert client.get(f"{prefix}:cached") == b"value"
        assert client.connection_pool.cache is not None
        assert client.connection_pool.cache.size == 1
        assert bucket.peek() == [0, 1, 2]
        client.connection_pool.disconnect()


def test_client_of_one_connection_needs_no_other(use_cache: Callable[..., str]) -> None:
    kwargs = {"single_connection_client": True}
    pool = {"max_connections": 1}
    use_cache(server.URL, OPTIONS={"REDIS_CLIENT_KWARGS": kwargs, "CONNECTION_POOL_KWARGS": pool})
    bucket = Bucket("orders")
    bucket.append(1)
    bucket.append(2)
    assert bucket.peek() == [1, 2]


def test_command_of_many_bytes_goes_in_pieces(client_of_server: server.Redis, prefix: str) -> None:
    """For each of which the socket has its timeout."""
    event = "x" * (3 * 1024 * 1024 + 1)
    bucket = Bucket("orders", max_event_bytes=4 * 1024 * 1024)
    bucket.append(event)
    assert bucket.peek() == [event]
