"""Each setting of a client has the same effect in asyncio, on a real server.

Some tests fail when redis-py changes a part that ``asyncio_twins`` relies on.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
import redis
from redis.backoff import ConstantBackoff, NoBackoff
from redis.cache import CacheConfig
from redis.connection import BlockingConnectionPool, Connection, ConnectionPool
from redis.credentials import UsernamePasswordCredentialProvider
from redis.retry import Retry

from django_jsonbuffer.store.asyncio_twins import asyncio_twin
from django_jsonbuffer.store.redis_asyncio import execute_once
from django_jsonbuffer.store.redis_internals import is_pool_exhausted, may_wait
from django_jsonbuffer.store.wire import packed
from example_project.embedded_redis import EmbeddedRedis
from tests.sentinel import server_with_port
from tests.store.twins import info_of, parsed, with_twin
from tests.test_embedded_redis import client_of

pytestmark = pytest.mark.usefixtures("clients_may_cache")

LOGIN = {"username": "site", "password": "s3cret"}

OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "database": {"db": 3},
    "login": LOGIN,
    "credentials": {"credential_provider": UsernamePasswordCredentialProvider(*LOGIN.values())},
    "name": {"client_name": "shop"},
    "RESP2": {"protocol": 2},
    "RESP3": {"protocol": 3},
    "caching": {"protocol": 3, "cache_config": CacheConfig()},
    "decoding": {"protocol": 3, "decode_responses": True, "encoding": "latin-1"},
    "health check": {"health_check_interval": 1},
    "keepalive": {"socket_keepalive": True},
    "retry": {"retry": Retry(NoBackoff(), 3)},
    "retry on error": {"retry_on_error": [redis.ConnectionError]},
    "one connection": {"single_connection_client": True},
}


class OwnConnection(Connection):
    """A connection of the project's own, of which asyncio has no counterpart."""


class OwnPool(ConnectionPool):
    pass


class OwnBlockingPool(BlockingConnectionPool):
    pass


class OwnRetry(Retry):
    pass


@pytest.fixture(scope="module")
def embedded() -> Iterator[tuple[EmbeddedRedis, int]]:
    """A server with a user that has a password, and its port."""
    embedded, port = server_with_port()
    with embedded, client_of(embedded) as plain:
        plain.execute_command("ACL", "SETUSER", "site", "on", ">s3cret", "~*", "+@all")
        yield embedded, port


@pytest.fixture
def port(embedded: tuple[EmbeddedRedis, int]) -> int:
    return embedded[1]


def known_by_the_server(info: Mapping[str, str]) -> Mapping[str, str | None]:
    return {name: info.get(name) for name in ("user", "db", "name", "resp", "lib-name")}


class TestOptions:
    @pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
    def test_make_the_same_connection(self, port: int, options: dict[str, Any]) -> None:
        with redis.Redis(port=port, **options) as client:
            pool = client.connection_pool
            connection = pool.get_connection()
            connection.send_command("CLIENT", "INFO")
            info = connection.read_response(disable_decoding=True)
            pool.release(connection)
            found = with_twin(client, info_of)
        assert known_by_the_server(found) == known_by_the_server(parsed(info))

    def test_of_a_url(self, embedded: tuple[EmbeddedRedis, int]) -> None:
        url = f"unix://site:s3cret@{embedded[0].socket}?db=2&client_name=shop"
        with redis.Redis.from_url(url) as client:
            info = with_twin(client, info_of)
        assert (info["user"], info["db"], info["name"]) == ("site", "2", "shop")

    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
    def test_reply_is_bytes_though_the_client_decodes(self, port: int, encoding: str) -> None:
        async def echoed(twin: Any) -> Any:
            assert await twin.echo("é") == "é"
            return await execute_once(twin, packed("ECHO"), b"\xff\xe9", key="")

        options: dict[str, Any] = {"decode_responses": True, "encoding": encoding}
        with redis.Redis(port=port, **options) as client:
            assert with_twin(client, echoed) == b"\xff\xe9"

    @pytest.mark.parametrize("name", ["socket_timeout", "socket_connect_timeout"])
    def test_timeouts_are_those_of_the_client(self, port: int, name: str) -> None:
        async def timeout(twin: Any) -> Any:
            connection = await twin.connection_pool.get_connection()
            await twin.connection_pool.release(connection)
            return getattr(connection, name)

        options: dict[str, Any] = {name: 7.5}
        with redis.Redis(port=port, **options) as client:
            assert with_twin(client, timeout) == 7.5

    def test_retry_is_a_copy_with_the_same_policy(self, port: int) -> None:
        retry = Retry(ConstantBackoff(0.001), 5, supported_errors=(redis.TimeoutError,))

        async def policy(twin: Any) -> Any:
            connection = twin.connection_pool.make_connection()
            return connection.retry

        with redis.Redis(port=port, retry=retry) as client:
            twin = with_twin(client, policy)
        assert twin.get_retries() == 5
        assert twin._backoff.compute(1) == 0.001
        assert twin._backoff is not retry._backoff
        assert twin._supported_errors == (redis.TimeoutError,)

    def test_errors_that_are_retried_are_a_copy(self, port: int) -> None:
        """A connection adds to the list."""
        errors: list[type[Exception]] = [redis.ReadOnlyError]
        pool = ConnectionPool(port=port, retry_on_error=errors, retry_on_timeout=True)
        with closing(redis.Redis(connection_pool=pool)) as client:
            with_twin(client, info_of)
        assert errors == [redis.ReadOnlyError]


class TestPool:
    @pytest.mark.parametrize("kind", [ConnectionPool, BlockingConnectionPool])
    def test_has_as_many_connections(self, port: int, kind: type[ConnectionPool]) -> None:
        options: dict[str, Any] = {"max_connections": 2}
        if kind is BlockingConnectionPool:
            options["timeout"] = 0.05
        pool = kind(host="127.0.0.1", port=port, **options)

        async def third(twin: Any) -> tuple[Exception, float]:
            pool, clock = twin.connection_pool, asyncio.get_running_loop().time
            taken = [await pool.get_connection() for _ in range(2)]
            began = clock()
            with pytest.raises(redis.ConnectionError) as caught:
                await execute_once(twin, packed("PING"), key="")
            seconds = clock() - began
            for connection in taken:
                await pool.release(connection)
            assert await execute_once(twin, packed("PING"), key="") == b"PONG"
            return caught.value, seconds

        with closing(redis.Redis(connection_pool=pool)) as client:
            error, seconds = with_twin(client, third)
        assert is_pool_exhausted(error)
        assert may_wait(error) == (kind is ConnectionPool)
        assert (seconds >= 0.05) == (kind is BlockingConnectionPool)


class TestNoTwin:
    @pytest.mark.parametrize(
        "pool",
        [
            OwnPool(),
            OwnBlockingPool(),
            ConnectionPool(connection_class=OwnConnection),
            ConnectionPool(redis_connect_func=lambda connection: None),
            ConnectionPool(retry=OwnRetry(NoBackoff(), 0)),
            ConnectionPool(parser_class=type("OwnParser", (), {})),
            ConnectionPool(no_such_option=1),
        ],
        ids=["pool", "blocking pool", "connection", "function", "retry", "parser", "option"],
    )
    def test_of_a_part_that_asyncio_does_not_have(self, pool: ConnectionPool) -> None:
        with closing(redis.Redis(connection_pool=pool)) as client:
            assert asyncio_twin(client) is None
