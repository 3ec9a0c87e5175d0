"""Async code that sync code calls."""

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from asgiref.sync import AsyncToSync, SyncToAsync


def is_called_by_sync_code() -> bool:
    """Whether sync code waits for the running coroutine, by ``async_to_sync()``.

    Only then may a transaction be open around the coroutine: in the thread of the sync code, where
    ``sync_to_async()`` runs its functions. A background task may go on when that code does not wait
    any more. Relies on ``AsyncToSync.executors``, where asgiref keeps that thread, ``_broken``,
    which is true when it does not wait any more, and ``_old_executor``, the thread that waits for
    the call of that thread. Older versions of asgiref have no ``_old_executor``.
    """
    executor = getattr(AsyncToSync.executors, "current", None)
    while executor is not None and executor._broken:
        executor = getattr(executor, "_old_executor", None)
    return executor is not None


@contextmanager
def event_loop_for_calls(find_loop: Callable[[], AbstractEventLoop]) -> Iterator[None]:
    """Let ``async_to_sync()`` of this thread use the event loop that `find_loop` returns.

    Another thread has to run that loop. If ``sync_to_async()`` has called the code of this thread,
    ``async_to_sync()`` uses the event loop that waits for it, as always. Without any, it makes a
    thread and an event loop for each call. Relies on ``SyncToAsync.threadlocal``, where
    ``sync_to_async()`` notes its event loop and the id of the process.
    """
    noted = SyncToAsync.threadlocal
    loop = getattr(noted, "main_event_loop", None)
    process_id = getattr(noted, "main_event_loop_pid", None)
    if loop is not None and process_id == os.getpid() and loop.is_running():
        yield
        return
    noted.main_event_loop, noted.main_event_loop_pid = find_loop(), os.getpid()
    try:
        yield
    finally:
        noted.main_event_loop, noted.main_event_loop_pid = loop, process_id
