"""Use of the asyncio twin of a client."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from django_jsonbuffer.store.asyncio_twins import asyncio_twin
from django_jsonbuffer.store.redis_asyncio import close, execute_once
from django_jsonbuffer.store.wire import packed
from tests.server import Redis

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


async def incremented(twin: Any, key: str = "key") -> Any:
    return await execute_once(twin, packed("INCR"), key.encode(), key=key)


async def info_of(twin: Any) -> Mapping[str, str]:
    """What the server knows of the connection."""
    return parsed(await execute_once(twin, packed("CLIENT", "INFO"), key="key"))


def parsed(info: bytes) -> Mapping[str, str]:
    return dict(field.split("=", 1) for field in info.decode().split())
