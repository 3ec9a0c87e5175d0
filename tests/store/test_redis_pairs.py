"""Real use of each part of redis-py that sends two commands together."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
import redis.asyncio as aio
from redis.connection import BlockingConnectionPool
from redis.exceptions import ResponseError

from django_jsonbuffer.store.redis_pairs import Replies, aexecute_both, execute_both
from django_jsonbuffer.store.wire import PIECE_BYTES, Packed, packed
from example_project.embedded_redis import EmbeddedRedis
from tests.faults.proxy import Cut, Hold, Proxy, at_first
from tests.server import Redis
from tests.store.test_redis_asyncio import KINDS as ASYNC_KINDS
from tests.store.test_redis_internals import KINDS
from tests.store.twins import PATIENT_SECONDS, connected
from tests.test_embedded_redis import client_of

pytestmark = pytest.mark.usefixtures("clients_may_cache")

KEY = "key"

Both = Callable[..., Replies]
"""Sends a command, and another one behind it, from an event loop or without one."""


@pytest.fixture(scope="module")
def proxied() -> Iterator[tuple[Proxy, Redis]]:
    with EmbeddedRedis() as embedded, Proxy(embedded.url) as proxy, client_of(embedded) as plain:
        yield proxy, plain


@pytest.fixture
def proxy(proxied: tuple[Proxy, Redis]) -> Proxy:
    proxied[1].flushall()
    return proxied[0]


def second(*args: str) -> Callable[[float | None], Packed]:
    return lambda timeout: packed(*args)


@pytest.fixture(params=[*KINDS, *(f"asyncio: {kind}" for kind in ASYNC_KINDS)])
def send(request: pytest.FixtureRequest, proxy: Proxy, timeout_seconds: float) -> Iterator[Both]:
    """One for each kind of client. The client of an event loop is closed after each call."""
    kind = request.param.removeprefix("asyncio: ")
    options = {"host": "127.0.0.1", "port": proxy.port, "socket_timeout": timeout_seconds}
    if request.param.startswith("asyncio: "):
        options = {**ASYNC_KINDS[kind], "socket_timeout": timeout_seconds}
        yield lambda *args, behind: asyncio.run(_in_loop(proxy, options, args, behind))
    elif kind == "blocking pool":
        with closing(redis.Redis(connection_pool=BlockingConnectionPool(**options))) as client:
            yield lambda *args, behind: execute_both(client, *args, key=KEY, wait=behind)
            client.connection_pool.disconnect()
    else:
        with redis.Redis(**{**options, **KINDS[kind]}) as client:
            yield lambda *args, behind: execute_both(client, *args, key=KEY, wait=behind)


async def _in_loop(
    proxy: Proxy, options: dict[str, Any], args: tuple[Any, ...], behind: Any
) -> Replies:
    async with connected(proxy.port, **options) as client:
        return await aexecute_both(client, *args, key=KEY, wait=behind)


def incremented(send: Both) -> Replies:
    return send(packed("INCR"), KEY.encode(), behind=second("APPEND", KEY, ""))


class TestExecuteBoth:
    @pytest.fixture
    def timeout_seconds(self) -> float:
        return PATIENT_SECONDS

    def test_returns_both_replies_as_bytes(self, send: Both) -> None:
        value = b"\xff\r\n$\x00"
        replies = send(packed("SET", KEY), value, behind=second("GETSET", KEY, ""))
        assert replies == (b"OK", value)

    def test_command_of_several_pieces_arrives_whole(
        self, send: Both, proxied: tuple[Proxy, Redis]
    ) -> None:
        value = bytes(range(256)) * (2 * PIECE_BYTES // 256) + b"end"
        assert send(
            packed("SET", KEY), value, behind=second("APPEND", KEY, "")
        ).confirmation == len(value)
        assert proxied[1].get(KEY) == value

    def test_second_command_may_depend_on_the_socket_timeout(self, send: Both) -> None:
        def echo(timeout_seconds: float | None) -> Packed:
            return packed("ECHO", str(timeout_seconds))

        assert send(packed("PING"), behind=echo).confirmation == b"%r" % PATIENT_SECONDS

    def test_error_of_the_first_command_is_raised_and_leaves_no_reply_behind(
        self, send: Both
    ) -> None:
        for _ in range(3):
            with pytest.raises(ResponseError, match="unknown command"):
                send(packed("NONSENSE"), behind=second("PING"))
        assert incremented(send) == (1, 1)

    def test_error_of_the_second_command_is_returned(self, send: Both) -> None:
        replies = send(packed("PING"), behind=second("NONSENSE"))
        assert replies.reply == b"PONG"
        assert isinstance(replies.confirmation, ResponseError)
        assert incremented(send) == (1, 1)


class TestLostReply:
    @pytest.mark.parametrize("command", ["INCR", "APPEND"])
    @pytest.mark.parametrize("fault", [Cut("reply"), Hold("reply")], ids=["cut", "timeout"])
    def test_lets_no_command_be_sent_again(
        self, send: Both, proxy: Proxy, command: str, fault: Cut | Hold
    ) -> None:
        assert incremented(send).reply == 1
        with (
            proxy.under(at_first(fault), commands=[command]) as course,
            pytest.raises((redis.ConnectionError, redis.TimeoutError)),
        ):
            incremented(send)
        assert course.seen == 1
        assert incremented(send).reply == 3


class TestTask:
    @pytest.fixture
    def run(self, proxy: Proxy) -> Callable[[Callable[[Any], Awaitable[None]]], None]:
        def run(use: Callable[[Any], Awaitable[None]]) -> None:
            async def main() -> None:
                async with connected(proxy.port) as client:
                    await use(client)

            asyncio.run(main())

        return run

    def test_that_is_cancelled_leaves_no_reply_to_the_next_command(self, run: Any) -> None:
        async def use(client: aio.Redis) -> None:
            async def both() -> Replies:
                return await aexecute_both(
                    client, packed("INCR"), b"other", key="other", wait=second("ECHO", "x")
                )

            for number in range(20):
                task = asyncio.create_task(both())
                await asyncio.sleep(0.0002 * number)
                task.cancel()
                await asyncio.wait([task])
                replies = await aexecute_both(
                    client, packed("INCR"), KEY.encode(), key=KEY, wait=second("ECHO", "y")
                )
                assert replies == (number + 1, b"y")

        run(use)
