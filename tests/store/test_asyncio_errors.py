"""Errors of redis-py's asyncio side: whether a command was sent, and whether a pool has room."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio as aio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError

from django_jsonbuffer.store.redis_asyncio import close, is_in_use
from django_jsonbuffer.store.redis_internals import (
    is_pool_exhausted,
    may_wait,
    was_not_sent,
)
from example_project.embedded_redis import EmbeddedRedis
from tests.faults.proxy import Cut, Hold, Proxy, at_first
from tests.server import Redis
from tests.store.twins import connected, failure_of, incremented
from tests.test_embedded_redis import client_of
from tests.test_faults import answering

KEY = "key"


@pytest.fixture(scope="module")
def proxied() -> Iterator[tuple[Proxy, Redis]]:
    """A proxy of a server, and a client that connects to the server directly."""
    with EmbeddedRedis() as embedded, Proxy(embedded.url) as proxy, client_of(embedded) as plain:
        yield proxy, plain


@pytest.fixture
def proxy(proxied: tuple[Proxy, Redis]) -> Proxy:
    return proxied[0]


@pytest.fixture
def plain(proxied: tuple[Proxy, Redis]) -> Redis:
    proxied[1].flushall()
    return proxied[1]


class TestWasNotSent:
    @pytest.mark.parametrize(
        "where",
        [
            {"host": "127.0.0.1"},
            {"host": "localhost"},
            {"host": "nowhere.invalid"},
            {"connection_class": aio.UnixDomainSocketConnection, "path": "/nowhere/redis.sock"},
        ],
        ids=["refused", "several addresses", "no host", "no socket"],
    )
    def test_without_a_connection(self, where: dict[str, Any]) -> None:
        async def main() -> None:
            if "path" in where:
                pool = aio.ConnectionPool(**where, retry=Retry(NoBackoff(), 0))
            else:
                pool = aio.ConnectionPool(port=1, **where, retry=Retry(NoBackoff(), 0))
            client = aio.Redis.from_pool(pool)
            around = OSError()
            try:
                raise around
            except OSError:
                error = await failure_of(incremented(client))
            assert was_not_sent(error, around=around)
            assert was_not_sent(error, around=None)
            await close(client)

        asyncio.run(main())

    @pytest.mark.parametrize("fault", [Cut("reply"), Cut("request", 5), Hold("reply")], ids=str)
    def test_error_that_the_caller_handles_says_nothing(
        self, proxy: Proxy, plain: Redis, fault: Cut | Hold
    ) -> None:
        async def main() -> None:
            around = ConnectionRefusedError()
            async with connected(proxy.port) as client:
                with proxy.under(at_first(fault), commands=["INCR"]):
                    try:
                        raise around
                    except ConnectionRefusedError:
                        error = await failure_of(incremented(client))
                assert not was_not_sent(error, around=around)

        asyncio.run(main())

    @pytest.mark.parametrize("password", [None, "wrong"])
    def test_refused_without_the_password(self, password: str | None) -> None:
        async def main(socket: str) -> Exception:
            pool = aio.ConnectionPool(
                connection_class=aio.UnixDomainSocketConnection, path=socket, password=password
            )
            client = aio.Redis.from_pool(pool)
            try:
                return await failure_of(incremented(client))
            finally:
                await close(client)

        with EmbeddedRedis() as embedded, client_of(embedded) as plain:
            plain.config_set("requirepass", "right")
            error = asyncio.run(main(embedded.socket))
        assert isinstance(error, AuthenticationError)
        assert was_not_sent(error, around=None)

    def test_refused_while_the_server_loads(self) -> None:
        async def main(port: int) -> Exception:
            async with connected(port, protocol=2, retry=Retry(NoBackoff(), 0)) as client:
                return await failure_of(incremented(client))

        with answering(b"-LOADING Redis is loading the dataset in memory\r\n") as port:
            error = asyncio.run(main(port))
        assert isinstance(error, BusyLoadingError)
        assert was_not_sent(error, around=None)


class TestPool:
    @pytest.mark.parametrize("pool", [aio.ConnectionPool, aio.BlockingConnectionPool])
    def test_is_exhausted_when_all_connections_are_in_use(
        self, proxy: Proxy, plain: Redis, pool: Any
    ) -> None:
        options: dict[str, Any] = {"pool": pool, "max_connections": 1}
        if pool is aio.BlockingConnectionPool:
            options["timeout"] = 0.01

        async def main() -> None:
            async with connected(proxy.port, **options) as client:
                taken = await client.connection_pool.get_connection()
                assert is_in_use(client)
                error = await failure_of(incremented(client))
                assert is_pool_exhausted(error)
                assert may_wait(error) == (pool is aio.ConnectionPool)
                assert was_not_sent(error, around=None)
                await client.connection_pool.release(taken)
                assert not is_in_use(client)
                assert await incremented(client) == 1

        asyncio.run(main())

    def test_is_closed_with_all_its_connections(self, proxy: Proxy, plain: Redis) -> None:
        """Also with those that are in use."""

        async def main() -> set[str]:
            async with connected(proxy.port, client_name="closed") as client:
                await asyncio.gather(*(incremented(client) for _ in range(5)))
                await client.connection_pool.get_connection()
            while names := {each["name"] for each in plain.client_list()} & {"closed"}:
                await asyncio.sleep(0.01)
            return names

        assert asyncio.run(main()) == set()
