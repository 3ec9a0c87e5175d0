"""Signals that stop a drain: the first after the batch in hand, the second at once."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from django_jsonbuffer.draining.stop import Stop

STOP_SIGNALS: Final = [
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
]

AT_ONCE: Final = getattr(signal, "SIGUSR1", None)
"""By this signal a parent tells its children to stop at once. None where there are no signals."""

_FINISHING: Final = b"Finishing the batch in hand. A second signal stops at once.\n"


@contextmanager
def catch_stop_signals(*, is_child: bool = False) -> Iterator[Stop]:
    """Set the stop on the first SIGTERM, SIGINT or SIGHUP, and interrupt on the second.

    A child may get the same signal from its parent and from a terminal or from systemd. So it is
    interrupted by `AT_ONCE` alone, and ignores the others when it is done.
    """
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if number == AT_ONCE or (stop.is_set and not is_child):
            raise KeyboardInterrupt
        stop.set()
        if is_child:
            return
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
        for number in (*STOP_SIGNALS, *([AT_ONCE] if is_child and AT_ONCE else []))
        if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if is_child else handler)
