"""How an append waits for Redis: a thread blocks, an asyncio task awaits.

The steps of an append are coroutines, so that they are written once for both. With the blocking
link they never suspend, and :func:`.coroutines.finish` runs them without an event loop.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeVar

from . import calls

Result = TypeVar("Result")


class Link(NamedTuple):
    """A way to reach Redis and to wait for it."""

    run_once: Callable[..., Awaitable[Any]]
    """Run a script. See :func:`.calls.run_once`."""

    execute: Callable[..., Awaitable[Any]]
    """Run a command. See :func:`.calls.execute`."""

    sleep: Callable[[float], Awaitable[None]]

    work: Callable[[Callable[[], Any]], Awaitable[Any]]
    """Call a function that may block for long, for example because it writes a file."""


async def _sleep(seconds: float) -> None:
    time.sleep(seconds)


async def _work(function: Callable[[], Result]) -> Result:
    return function()


BLOCKING: Final = Link(calls.run_once, calls.execute, _sleep, _work)
"""For threads."""

ASYNCIO: Final = Link(calls.arun_once, calls.aexecute, asyncio.sleep, asyncio.to_thread)
"""For the tasks of the running event loop. Needs no thread while Redis answers."""
