"""Circuit breaker: once Redis was unreachable, appends fail fast."""

import os
import threading
import time
from typing import Final

from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable, JSONBufferError

PAUSE_FACTOR: Final = 4
SHORTEST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0


class Breaker:
    """The circuit breaker of one cache alias. It is closed while Redis answers.

    A call that does not reach Redis opens the breaker. Other calls then fail at once. This lasts
    four times as long as the first call took, at least 0.1 s and at most 5 s. After this pause, one
    call may try Redis.

    While `failure` is set, call `refusal` before a call to Redis, and `close` after its success.
    Call `learn` after each failure.
    """

    def __init__(self) -> None:
        self.failure = ""
        """Why the breaker is open. Empty while it is closed."""
        self._ends_at = 0.0
        self._turn = threading.RLock()

    def refusal(self) -> BufferUnavailable | None:
        """None if this call may try Redis, else the error.

        The turn of a call ends by itself after 5 s, because an interrupt may end the call before it
        reports a result.
        """
        with self._turn:
            wait_seconds = max(self._ends_at - time.monotonic(), 0)
            if wait_seconds == 0:
                self._ends_at = time.monotonic() + LONGEST_PAUSE_SECONDS
                return None
        return BufferUnavailable(
            f"{self.failure} This was a moment ago. Redis is not tried again for "
            f"{wait_seconds:.1f} s."
        )

    def learn(self, error: BaseException, *, seconds: float) -> None:
        """Open or close the breaker after a call that ended with this error after `seconds`."""
        if isinstance(error, BufferUnavailable) and error.is_unreachable:
            pause = min(max(PAUSE_FACTOR * seconds, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            self._ends_at = time.monotonic() + pause
            self.failure = str(error.__cause__ if isinstance(error, AppendUndecided) else error)
        elif isinstance(error, JSONBufferError) and getattr(error, "was_asked", True):
            self.close()  # a refusal is an answer
        else:
            # An interrupt or a full pool says nothing about Redis, so the next call may try.
            self._ends_at = 0.0

    def close(self) -> None:
        """Let all calls pass, because Redis has answered."""
        self.failure = ""


class _Breakers(dict[str, Breaker]):
    """The breaker of each cache alias, for all threads of this process."""

    def __missing__(self, alias: str) -> Breaker:
        return self.setdefault(alias, Breaker())


breakers: Final = _Breakers()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=breakers.clear)
