"""Real use of each part of redis-py's asyncio side. A test fails if redis-py changes that part."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis.asyncio as aio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from django_jsonbuffer.store.redis_asyncio import execute_once, is_in_use
from django_jsonbuffer.store.redis_internals import was_not_sent
from django_jsonbuffer.store.wire import PIECE_BYTES, packed
from example_project.embedded_redis import EmbeddedRedis
from tests.faults.proxy import Cut, Hold, Proxy, at_first
from tests.server import Redis
from tests.store.twins import PATIENT_SECONDS, TIMEOUT_SECONDS, connected, failure_of, incremented
from tests.test_embedded_redis import client_of

KEY = "key"

KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "decoding": {"decode_responses": True},
    "RESP3": {"protocol": 3},
    "retrying": {"retry": Retry(NoBackoff(), 3)},
    "health check": {"health_check_interval": 0.1},
    "blocking pool": {"pool": aio.BlockingConnectionPool, "timeout": 1},
}


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


@pytest.fixture(params=KINDS)
def with_client(
    request: pytest.FixtureRequest, proxy: Proxy, plain: Redis, timeout_seconds: float
) -> Callable[[Callable[[Any], Awaitable[None]]], None]:
    """Runs an async function with a client that connects through the proxy, for each kind."""

    def run(use: Callable[[Any], Awaitable[None]]) -> None:
        async def main() -> None:
            options = {**KINDS[request.param], "socket_timeout": timeout_seconds}
            async with connected(proxy.port, **options) as client:
                await use(client)

        asyncio.run(main())

    return run


class TestExecuteOnce:
    def test_sends_the_arguments_and_returns_bytes(self, with_client: Any) -> None:
        """Also a client that decodes, and bytes that it could not decode."""

        async def use(client: Any) -> None:
            value = b"\xff\r\n$\x00"
            assert await execute_once(client, packed("SET", KEY), value, key=KEY) == b"OK"
            assert await execute_once(client, packed("GET", KEY), key=KEY) == value
            assert await execute_once(client, packed("APPEND", KEY, 12), key=KEY) == len(value) + 2

        with_client(use)

    def test_tasks_have_their_own_replies(self, with_client: Any) -> None:
        async def use(client: Any) -> None:
            found = await asyncio.gather(*(incremented(client) for _ in range(40)))
            assert sorted(found) == [*range(1, 41)]
            assert await client.incr(KEY) == 41
            assert await incremented(client) == 42

        with_client(use)

    @pytest.mark.parametrize("fault", [Cut("reply"), Hold("reply")], ids=["cut", "timeout"])
    def test_lost_reply_lets_no_command_be_sent_again(
        self, with_client: Any, proxy: Proxy, plain: Redis, fault: Cut | Hold
    ) -> None:
        async def use(client: Any) -> None:
            assert await incremented(client) == 1
            with proxy.under(at_first(fault), commands=["INCR"]) as course:
                error = await failure_of(incremented(client))
            assert course.seen == 1
            assert isinstance(error, RedisConnectionError | RedisTimeoutError)
            assert not was_not_sent(error, around=None)
            assert await incremented(client) == 3

        with_client(use)

    def test_late_reply_is_not_that_of_the_next_command(
        self, with_client: Any, proxy: Proxy
    ) -> None:
        async def use(client: Any) -> None:
            assert await incremented(client) == 1
            with proxy.under(at_first(Hold("reply", TIMEOUT_SECONDS * 1.2)), commands=["INCR"]):
                await failure_of(incremented(client))
                assert await incremented(client) == 3
            await asyncio.sleep(TIMEOUT_SECONDS * 0.3)
            assert await incremented(client) == 4

        with_client(use)

    def test_timeout_holds_for_one_command_alone(self, with_client: Any, proxy: Proxy) -> None:
        """The connection has its own timeout afterwards."""

        async def use(client: Any) -> None:
            for number in range(1, 4):
                assert await incremented(client) == number
            connection = await client.connection_pool.get_connection()
            assert connection.socket_timeout == TIMEOUT_SECONDS
            await client.connection_pool.release(connection)

        with_client(use)

    def test_refusal_keeps_the_connection(self, with_client: Any) -> None:
        async def use(client: Any) -> None:
            before = await execute_once(client, packed("CLIENT", "ID"), key="")
            for _ in range(3):
                error = await failure_of(execute_once(client, packed("NONSENSE"), key=""))
                assert isinstance(error, ResponseError)
                assert was_not_sent(error, around=None)
            assert await execute_once(client, packed("CLIENT", "ID"), key="") == before

        with_client(use)

    def test_connection_that_the_server_has_closed_is_made_again(
        self, with_client: Any, plain: Redis
    ) -> None:
        async def use(client: Any) -> None:
            for number in range(1, 6):
                assert await incremented(client) == number
                plain.client_kill_filter(_type="normal", skipme=True)
                await asyncio.sleep(0.01)

        with_client(use)

    def test_idle_connection_is_checked_before_its_next_command(
        self, proxy: Proxy, plain: Redis
    ) -> None:
        async def main() -> None:
            async with connected(proxy.port, health_check_interval=0.1) as client:
                await incremented(client)
                await asyncio.sleep(0.12)
                with proxy.under(lambda number: None, commands=["PING"]) as course:
                    await incremented(client)
                assert course.seen == 1

        asyncio.run(main())


class TestLargeCommand:
    @pytest.fixture
    def timeout_seconds(self) -> float:
        return PATIENT_SECONDS

    def test_of_several_pieces_arrives_whole(self, with_client: Any, plain: Redis) -> None:
        value = bytes(range(256)) * (3 * PIECE_BYTES // 256) + b"end"

        async def use(client: Any) -> None:
            await execute_once(client, packed("SET", KEY), value, key=KEY)
            assert await execute_once(client, packed("GET", KEY), key=KEY) == value

        with_client(use)
        assert plain.get(KEY) == value


class TestCancellation:
    def test_leaves_no_reply_to_the_next_command(
        self, with_client: Any, proxy: Proxy, plain: Redis
    ) -> None:
        async def use(client: Any) -> None:
            await incremented(client)
            for number in range(5):
                with proxy.under(at_first(Hold("reply", 0.02)), commands=["INCR"]) as course:
                    task = asyncio.create_task(incremented(client, "other"))
                    while not course.seen:
                        await asyncio.sleep(0.001)
                    task.cancel()
                    assert await incremented(client) == number + 2
                with pytest.raises(asyncio.CancelledError):
                    await task

        with_client(use)

    @pytest.mark.parametrize("kind", ["default", "blocking pool", "health check"])
    def test_at_any_moment_gives_the_connection_back(
        self, proxy: Proxy, plain: Redis, kind: str
    ) -> None:
        chance = random.Random(kind)

        async def main() -> None:
            options = {**KINDS[kind], "max_connections": 2}
            async with connected(proxy.port, **options) as client:
                for _ in range(60):
                    tasks = [asyncio.create_task(incremented(client)) for _ in range(2)]
                    for _ in range(2):
                        await asyncio.sleep(chance.choice([0, 0.0002, 0.0005, 0.001]))
                        tasks[chance.randrange(2)].cancel()
                    await asyncio.wait(tasks)
                    assert not is_in_use(client)
                assert await incremented(client) > int(plain.get(KEY)) - 2

        asyncio.run(main())
