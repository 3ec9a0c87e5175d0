"""A server that is away is not asked by every append, since each would wait for it."""

import os
import threading
import time
from collections.abc import Callable
from typing import Final

from .exceptions import AppendUndecided, BufferUnavailable, JSONBufferError

PAUSE_FACTOR: Final = 4
SHORTEST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0


class Breaker:
    """Lets calls pass while the server answers.

    After a call that could not reach it, others are refused at once for four times as long as that
    one took, at least 0.1 s and at most 5 s. Then one is let through, to find out.
    """

    def __init__(self) -> None:
        self._failure = ""
        self._ends_at = 0.0
        self._turn = threading.RLock()

    def guard(self, call: Callable[[], None]) -> None:
        """Make the call, or raise :class:`BufferUnavailable` without."""
        if self._failure:
            self._take_turn()
        began = time.monotonic()
        try:
            call()
        except BufferUnavailable as error:
            self._learn(error, seconds=time.monotonic() - began)
            raise
        except JSONBufferError:
            self._failure = ""  # a refusal is an answer
            raise
        except BaseException:
            self._ends_at = 0.0  # that told nothing: the next may find out
            raise
        self._failure = ""

    def _take_turn(self) -> None:
        """Returns to the one call that finds out. Raises for all others.

        Its turn ends by itself, too: what interrupts that call may leave nothing behind.
        """
        with self._turn:
            wait_seconds = max(self._ends_at - time.monotonic(), 0)
            if wait_seconds == 0:
                self._ends_at = time.monotonic() + LONGEST_PAUSE_SECONDS
                return
        raise BufferUnavailable(
            f"{self._failure} That was a moment ago: it is not tried again for "
            f"{wait_seconds:.1f} s."
        )

    def _learn(self, error: BufferUnavailable, *, seconds: float) -> None:
        if not error.is_unreachable:
            self._failure = ""
            return
        pause = min(max(PAUSE_FACTOR * seconds, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        self._ends_at = time.monotonic() + pause
        self._failure = str(error.__cause__ if isinstance(error, AppendUndecided) else error)


_breakers: Final[dict[str, Breaker]] = {}

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_breakers.clear)


def breaker(alias: str) -> Breaker:
    """That of a cache alias, for all threads of this process."""
    return _breakers.get(alias) or _breakers.setdefault(alias, Breaker())
