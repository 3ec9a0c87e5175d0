"""Clients of the asyncio side of redis-py, and steps with them."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import pytest
import redis.asyncio as aio
from redis.exceptions import RedisError

from django_jsonbuffer.store.async_clients import _abandon_those_of_closed_loops
from django_jsonbuffer.store.asyncio_twins import asyncio_twin
from django_jsonbuffer.store.redis_asyncio import close, execute_once
from django_jsonbuffer.store.wire import packed
from tests.server import Redis

TIMEOUT_SECONDS: Final = 0.2
PATIENT_SECONDS: Final = 30

T = TypeVar("T")


def with_twin(client: Redis, use: Callable[[Any], Awaitable[T]]) -> T:
    """Use the twin of a client in an event loop of its own."""

    async def main() -> T:
        twin = asyncio_twin(client)
        assert twin is not None
        try:
            return await use(twin)
        finally:
            await close(twin)

    return asyncio.run(main())


def run_and_close(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a loop, and close it without its asynchronous generators.

    A connection that nobody has closed warns when it is garbage, and so fails the test.
    """
    loop = asyncio.new_event_loop()
    loop.run_until_complete(coroutine)
    loop.close()
    _abandon_those_of_closed_loops()
    gc.collect()


async def incremented(twin: Any, key: str = "key") -> Any:
    return await execute_once(twin, packed("INCR"), key.encode(), key=key)


async def info_of(twin: Any) -> Mapping[str, str]:
    """What the server knows of the connection."""
    return parsed(await execute_once(twin, packed("CLIENT", "INFO"), key="key"))


def parsed(info: bytes) -> Mapping[str, str]:
    return dict(field.split("=", 1) for field in info.decode().split())


@asynccontextmanager
async def connected(
    port: int = 1, *, pool: Any = aio.ConnectionPool, **options: Any
) -> AsyncIterator[Any]:
    """A client, whose connections are closed at the end."""
    options = {"host": "127.0.0.1", "port": port, "socket_timeout": TIMEOUT_SECONDS, **options}
    client = aio.Redis.from_pool(pool(**options))
    try:
        yield client
    finally:
        await close(client)


async def failure_of(call: Awaitable[object]) -> Exception:
    """The error of redis-py that a call raises."""
    with pytest.raises(RedisError) as caught:
        await call
    return caught.value
