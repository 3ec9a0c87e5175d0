"""Circuit breakers: once a server was unreachable, appends to it fail fast."""

import os
import threading
import time
from typing import Final

from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable, JSONBufferError

from .clients import clients
from .redis_cluster import is_cluster, owner_name

PAUSE_FACTOR: Final = 4
SHORTEST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0

AVOIDED_SECONDS: Final = 1.0
"""How long appends that may go to another server avoid one that has refused an append."""


class Breaker:
    """The circuit breaker of one server. It is closed while the server answers.

    A call that does not reach Redis opens the breaker. Other calls then fail at once. This lasts
    four times as long as the first call took, at least 0.1 s and at most 5 s. After this pause, one
    call may try Redis.

    While `failure` is set, call `refusal` before a call to Redis, and `close` after its success.
    Call `learn` after each failure.
    """

    def __init__(self) -> None:
        self.failure = ""
        """Why the breaker is open. Empty while it is closed."""
        self._bucket = ""
        self._ends_at = 0.0
        self._avoided_until = 0.0
        self._turn = threading.RLock()

    @property
    def refuses(self) -> bool:
        """Whether a call would be refused at this moment: by the breaker, or perhaps by the server.

        A server refuses appends for seconds while it loads, or has just become a primary. That does
        not open the breaker.
        """
        now = time.monotonic()
        return now < self._avoided_until or (bool(self.failure) and now < self._ends_at)

    def refusal(self, bucket: str = "") -> BufferUnavailable | None:
        """None if this call for a bucket may try Redis, else the error.

        The turn of a call ends by itself after 5 s, because an interrupt may end the call before it
        reports a result.
        """
        with self._turn:
            wait_seconds = max(self._ends_at - time.monotonic(), 0)
            if wait_seconds == 0:
                self._ends_at = time.monotonic() + LONGEST_PAUSE_SECONDS
                return None
        failure = self.failure.replace(f"bucket {self._bucket!r}", f"bucket {bucket!r}")
        return BufferUnavailable(
            f"{failure} This was a moment ago. Redis is not tried again for {wait_seconds:.1f} s."
        )

    def learn(self, error: BaseException, *, seconds: float, bucket: str = "") -> None:
        """Open or close the breaker after a call that ended with this error after `seconds`."""
        if isinstance(error, BufferUnavailable) and error.is_unreachable:
            pause = min(max(PAUSE_FACTOR * seconds, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            self._ends_at, self._bucket = time.monotonic() + pause, bucket
            self.failure = str(error.__cause__ if isinstance(error, AppendUndecided) else error)
        elif isinstance(error, JSONBufferError) and getattr(error, "was_asked", True):
            self.close()  # a refusal is an answer
            if isinstance(error, BufferUnavailable):
                self._avoided_until = time.monotonic() + AVOIDED_SECONDS
        else:
            # An interrupt or a full pool says nothing about Redis, so the next call may try.
            self._ends_at = 0.0

    def close(self) -> None:
        """Let all calls pass, because Redis has answered."""
        self.failure = ""


class _Breakers(dict[str, Breaker]):
    """The breakers of this process, for all its threads: by the alias of a cache. For a cluster, by
    the alias and the node."""

    def __missing__(self, server: str) -> Breaker:
        return self.setdefault(server, Breaker())


breakers: Final = _Breakers()


def breaker_of(cache: str, key: str) -> Breaker:
    """The breaker of the server that has a key. In a cluster, this is the owner of its slot.

    A cluster client that is not connected knows no owner. Then it is that of the alias.
    """
    client = clients.get(cache)
    if client is None or not is_cluster(client) or not (node := owner_name(client, key)):
        return breakers[cache]
    return breakers[f"{cache} {node}"]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=breakers.clear)
