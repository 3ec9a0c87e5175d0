"""The event loop of async processors: one for all buckets of a process.

A separate thread runs it, from the first batch of an async processor to the end of the process.
It also runs between two batches. So an async client keeps its connections and its tasks.
"""

import asyncio
import atexit
import os
import threading
import traceback
from asyncio import AbstractEventLoop
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final

from asgiref.sync import async_to_sync

from django_jsonbuffer.django_internals.sync_callers import event_loop_for_calls

_LONGEST_CLEAN_UP_SECONDS: Final = 5.0
"""How long a coroutine that is cancelled may clean up."""


def wait_for(awaitable: Awaitable[object]) -> None:
    """Await it in the event loop of this process. With ``adrain``, that is the one of the caller.

    Meanwhile, the calling thread runs the functions of ``sync_to_async``, which use its database
    connections and take part in its transaction. If the calling thread is interrupted, the
    coroutine is cancelled.
    """
    call, thread = _Call(awaitable), threading.get_ident()
    _awaited[thread] = awaitable
    with event_loop_for_calls(_loop_of_process):
        try:
            async_to_sync(call.run)()
        except BaseException:
            call.cancel()
            raise
        finally:
            _awaited.pop(thread, None)


_awaited: Final[dict[int, Any]] = {}
"""The coroutine that a thread waits for in :func:`wait_for`, by the id of the thread."""


def stack_of_coroutine(thread: int) -> str:
    """Where the coroutine is that this thread waits for, outermost call first. Empty if none."""
    lines: list[str] = []
    awaitable: Any = _awaited.get(thread)
    while (frame := getattr(awaitable, "cr_frame", None)) is not None:
        lines += traceback.format_stack(frame, limit=1)
        awaitable = awaitable.cr_await
    return "".join(lines)


class _Call:
    """A coroutine that another thread waits for."""

    def __init__(self, awaitable: Awaitable[object]) -> None:
        self._awaitable = awaitable
        self._task: asyncio.Task[None] | None = None
        self._is_cancelled = False
        self._is_over = threading.Event()

    async def run(self) -> None:
        self._task = asyncio.current_task()
        try:
            if not self._is_cancelled:
                await self._awaitable
        finally:
            self._is_over.set()

    def cancel(self) -> None:
        """Cancel the coroutine if it is not over, and let it clean up."""
        self._is_cancelled = True
        if self._task is not None and not self._is_over.is_set():
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
            self._is_over.wait(_LONGEST_CLEAN_UP_SECONDS)


class _LoopThread(threading.Thread):
    """Runs an event loop until `stop`, which cancels its tasks and closes its async generators."""

    def __init__(self) -> None:
        super().__init__(name="event loop of async processors", daemon=True)
        self.loop = asyncio.new_event_loop()
        self._is_running = threading.Event()
        self.loop.call_soon(self._is_running.set)

    def start(self) -> None:
        super().start()
        self._is_running.wait()

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop):
            is_stopped = False
            while not is_stopped:
                # A task that raises one of them also ends the loop. Whoever awaits the task gets
                # the exception when the loop goes on.
                with suppress(KeyboardInterrupt, SystemExit):
                    self.loop.run_forever()
                    is_stopped = True

    def stop(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self.loop.stop)
        self.join(_LONGEST_CLEAN_UP_SECONDS)


_lock = threading.Lock()
_thread: _LoopThread | None = None


def _loop_of_process() -> AbstractEventLoop:
    global _thread
    with _lock:
        if _thread is None or not _thread.is_alive():
            _thread = _LoopThread()
            _thread.start()
            atexit.register(_thread.stop)
        return _thread.loop


def _forget() -> None:
    """In a forked child: the thread of the parent does not run here. A new one begins at need."""
    global _lock, _thread
    _lock = threading.Lock()
    if _thread is not None:
        atexit.unregister(_thread.stop)
        _thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
