"""The heart: one thread of a process that lets all its workers show that they live."""

import os
import threading
import time
import weakref
from typing import Final, Protocol

_LONGEST_SLEEP_SECONDS: Final = 10.0
"""How long the thread sleeps at most. It also notices so late that nobody may beat any more."""

_LONGEST_RENEWAL_SECONDS: Final = 10.0
"""How long to wait for a renewal, which may never end if the client has no timeout."""


class Beating(Protocol):
    """Something that has to show regularly that it lives."""

    @property
    def period_seconds(self) -> float: ...

    def renew(self) -> None:
        """Show it once. Raises nothing."""


class Heart:
    """Calls `renew` of each that beats, once in its period. One thread does it for all of them.
    It sleeps until the first of those that beat is due.

    Whoever may beat at times calls `start` before, which is slow, and `end` afterwards. In between,
    `add` and `discard` cost nothing that is worth mentioning: they are called for every batch.
    """

    def __init__(self) -> None:
        self._started: weakref.WeakSet[Beating] = weakref.WeakSet()
        self._due: dict[Beating, float] = {}
        """Those that beat at this moment, and when each is due, on the monotonic clock."""
        self._lock = threading.Lock()
        self._hurry = threading.Event()
        self._looks_at = 0.0
        """When the thread looks again, on the monotonic clock. Nobody is due earlier."""
        self._thread: threading.Thread | None = None
        self._renewing: Beating | None = None
        self._is_renewed = threading.Event()

    def start(self, each: Beating) -> None:
        """Let the thread run. Raises ``RuntimeError`` if the system gives no thread."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="heart of workers", daemon=True)
                thread.start()
                self._thread = thread
            self._started.add(each)

    def end(self, each: Beating) -> None:
        """Renew it no more. A renewal that is under way ends before."""
        self.discard(each)
        self._started.discard(each)
        if self._renewing is each and threading.current_thread() is not self._thread:
            self._is_renewed.wait(_LONGEST_RENEWAL_SECONDS)

    def add(self, each: Beating) -> None:
        with self._lock:
            self._due[each] = due = time.monotonic() + each.period_seconds
            if due < self._looks_at:
                self._looks_at = due
                self._hurry.set()

    def discard(self, each: Beating) -> None:
        with self._lock:
            self._due.pop(each, None)

    def _run(self) -> None:
        while (seconds := self._seconds_to_sleep()) is not None:
            self._hurry.wait(seconds)
            self._hurry.clear()
            for each, due in [*self._due.items()]:
                if time.monotonic() >= due:
                    self._renew(each)

    def _renew(self, each: Beating) -> None:
        self._is_renewed.clear()
        self._renewing = each
        try:
            if each in self._due:
                each.renew()
        finally:
            self._renewing = None
            self._is_renewed.set()
        with self._lock:
            if each in self._due:
                self._due[each] = time.monotonic() + each.period_seconds

    def _seconds_to_sleep(self) -> float | None:
        """How long to sleep. None if nobody may beat any more: the next `start` makes a thread."""
        with self._lock:
            if not self._started:
                self._thread, self._looks_at = None, 0.0
                return None
            now = time.monotonic()
            # Not later after a hurry: its batch may have ended, and the next one would hurry again.
            if self._looks_at <= now:
                self._looks_at = min([now + _LONGEST_SLEEP_SECONDS, *self._due.values()])
            return max(0.0, self._looks_at - now)


HEART: Final = Heart()
"""The heart of this process."""

if hasattr(os, "register_at_fork"):
    # The thread is not in the child, and the lock may have been held.
    os.register_at_fork(after_in_child=HEART.__init__)  # type: ignore[misc]
