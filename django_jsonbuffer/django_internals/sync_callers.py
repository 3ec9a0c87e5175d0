"""Async code that sync code calls."""

import asyncio
import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync

if TYPE_CHECKING:
    from asgiref.current_thread_executor import CurrentThreadExecutor

P = ParamSpec("P")
R = TypeVar("R")


def is_called_by_sync_code() -> bool:
    """Whether sync code waits for the running coroutine, by ``async_to_sync()``.

    Only then may a transaction be open around the coroutine: in the thread of the sync code, where
    ``sync_to_async()`` runs its functions. A background task may go on when that code does not wait
    any more.
    """
    return _waiting_thread() is not None


def in_sync_caller(function: Callable[P, R]) -> Callable[P, R]:
    """A decorator. Async code may call the function as if it were the sync code that waits for it.

    The function runs in the thread of that sync code, and the event loop stands still meanwhile. If
    no loop runs in this thread, or no sync code waits for it, the function runs here.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if (thread := _waiting_thread()) is None or running_loop() is None:
            return function(*args, **kwargs)
        called = partial(function, *args, **kwargs)
        return thread.submit(copy_context().run, _without_loop, called).result()

    return call


def _without_loop(function: Callable[[], R]) -> R:
    """Call a function that may use ``async_to_sync()``. It gets a new event loop.

    Relies on ``SyncToAsync.threadlocal``, where asgiref keeps the loop that has called this thread.
    ``async_to_sync()`` would use it, and wait for ever, because it stands still.
    """
    state = SyncToAsync.threadlocal
    before = getattr(state, "main_event_loop_pid", None)
    state.main_event_loop_pid = None
    try:
        return function()
    finally:
        state.main_event_loop_pid = before


def _waiting_thread() -> "CurrentThreadExecutor | None":
    """The thread of the sync code that waits.

    Relies on ``AsyncToSync.executors``, where asgiref keeps that thread, ``_broken``, which is true
    when it does not wait any more, and ``_old_executor``, the thread that waits for the call of
    that thread. Older versions of asgiref have no ``_old_executor``.
    """
    executor: CurrentThreadExecutor | None = getattr(AsyncToSync.executors, "current", None)
    while executor is not None and executor._broken:
        executor = getattr(executor, "_old_executor", None)
    return executor


def running_loop() -> AbstractEventLoop | None:
    """The event loop that runs in this thread; None if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


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
