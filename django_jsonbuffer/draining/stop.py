"""A stop that somebody asks for while buckets are drained, and the wait for it."""

from contextlib import suppress
from queue import Empty, SimpleQueue


class Stop:
    """Whether a stop was asked for, by a signal for example.

    A signal handler calls `set`. Unlike ``threading.Event`` it takes no lock, because the
    interrupted main thread may hold the lock.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self.is_set = True
        self._wake.put(None)

    def wake(self) -> None:
        """Let `wait` return, without a stop."""
        if self._wake.empty():
            self._wake.put(None)

    def wait(self, seconds: float) -> None:
        """Return after that time, or as soon as a stop is asked for, or `wake` is called."""
        with suppress(Empty):
            self._wake.get(timeout=seconds)
