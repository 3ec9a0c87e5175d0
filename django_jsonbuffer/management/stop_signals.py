"""Signals that stop a drain: the first after the batch in hand, the second at once."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final

STOP_SIGNALS: Final = [
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
]

_FINISHING: Final = b"Finishing the batch in hand. A second signal stops at once.\n"


class Stop:
    """Whether a signal has asked for a stop.

    A signal handler calls `set`. Unlike ``threading.Event`` it takes no lock, because the
    interrupted main thread may hold the lock.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self.is_set = True
        self._wake.put(None)

    def wait(self, seconds: float) -> None:
        """Return after that time, or as soon as a stop is asked for."""
        with suppress(Empty):
            self._wake.get(timeout=seconds)


@contextmanager
def catch_stop_signals() -> Iterator[Stop]:
    """Set the stop on the first SIGTERM, SIGINT or SIGHUP, and interrupt on the second."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set:
            raise KeyboardInterrupt
        stop.set()
        # To the descriptor, because the signal may have interrupted a write to sys.stderr. Not to
        # descriptor 2 if stderr was closed when Python started: that may be the socket of Redis.
        if sys.__stderr__ is not None:
            with suppress(OSError, ValueError):
                os.write(sys.__stderr__.fileno(), _FINISHING)

    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    before = {
        number: signal.signal(number, handle)
        for number in STOP_SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
