"""Watchdog: notices that a processor does not return in time, and where it hangs."""

import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from .event_loop import stack_of_coroutine

_LONGEST_STACK: Final = 20_000
"""Characters of the stacks of all threads that are kept, from their start."""


@contextmanager
def watched(timeout: timedelta | None, on_timeout: Callable[[str], object]) -> Iterator[None]:
    """Call `on_timeout` with the stacks of all threads if the block takes longer than `timeout`.

    The call is made in a thread of its own, while the block still runs. Nothing can end a block
    that hangs, except the end of its process.
    """
    if timeout is None:
        yield
        return
    thread, lock, is_over = threading.get_ident(), threading.Lock(), False

    def give_up() -> None:
        with lock:
            if not is_over:
                on_timeout(_stacks(thread))

    timer = threading.Timer(timeout.total_seconds(), give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:  # if the time is just over, wait for the end of the call
            is_over = True


def _stacks(first: int) -> str:
    """The stack of the thread `first`, after that of the coroutine that it waits for, and those of
    the other threads."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()
    frames.pop(threading.get_ident(), None)
    order = sorted(frames, key=lambda ident: ident != first)
    stacks = [
        f"Thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frames[ident]))}"
        for ident in order
    ]
    if coroutine := stack_of_coroutine(first):
        stacks.insert(0, f"Coroutine:\n{coroutine}")
    return "".join(stacks)[:_LONGEST_STACK].rstrip()
