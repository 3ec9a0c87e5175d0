"""Group commit for threads: while one thread sends, others wait, and their appends leave together.

The first thread sends its append at once. Threads that come while it waits for the reply stand in
line. When the reply is there, the first of them sends one call with the events of them all, and so
on. So a thread that is alone never waits, and many threads need few round trips.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.keys import Identity
from django_jsonbuffer.store.links import BLOCKING

from .breaker import breakers
from .groups import Group
from .trips import Place, Trip, board, failure_alone


class Line:
    """The threads of this process that append to one bucket."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sender: Place | None = None
        self._waiting: deque[Place] = deque()
        self._threads: set[int] = set()

    def failure_of(self, group: Group) -> Exception | None:
        thread = threading.get_ident()
        if thread in self._threads:
            # This is a signal handler, or a log handler that appends what an append has logged.
            return finish(failure_alone(group, BLOCKING))
        self._threads.add(thread)
        place = Place(group)
        try:
            with self._lock:
                if self._sender is None:
                    self._sender = place
                else:
                    self._stand_in_line(place)
            if place.lock is not None:
                place.lock.acquire()
            if not place.is_done:
                self._send(place)
            return place.failure
        finally:
            try:
                self._leave(place)
            except BaseException:
                self._leave(place)  # another interrupt must not strand the threads in line
                raise
            finally:
                place.trip = None  # it refers to the place, and so would wait for a collection
                self._threads.discard(thread)

    def _stand_in_line(self, place: Place) -> None:
        place.waits_since, place.lock = time.monotonic(), threading.Lock()
        place.lock.acquire()
        self._waiting.append(place)

    def _send(self, place: Place) -> None:
        if place.trip is None and self._waiting:
            self._board(place)
        trip = place.trip = place.trip or Trip((place,))
        finish(trip.make(BLOCKING))

    def _board(self, first: Place) -> None:
        with self._lock:
            waiting = self._waiting.copy()
            if waiting and waiting[0] is first:
                waiting.popleft()
            trip = board(first, waiting)
            first.trip, self._waiting = trip, waiting  # together: no interrupt comes in between

    def _leave(self, place: Place) -> None:
        """Leave the line. The sender hands over to the next thread. May be called again."""
        with self._lock:
            if not place.is_done:
                place.is_gone = True
                with suppress(ValueError):
                    self._waiting.remove(place)
            travellers = place.trip.places if place.trip else ()
            if self._sender is place:
                self._sender = self._heir(place, travellers)
            if self._sender is not None:
                _wake(self._sender)
            for other in travellers:
                if other.is_done:
                    _wake(other)

    def _heir(self, place: Place, travellers: Sequence[Place]) -> Place | None:
        heir = next((other for other in travellers if not (other.is_done or other.is_gone)), None)
        if heir is not None:
            heir.trip = place.trip
            return heir
        return self._waiting[0] if self._waiting else None


def _wake(place: Place) -> None:
    """Let the thread of this place go on. May be called again."""
    if place.lock is not None and place.lock.locked():
        place.lock.release()


_lines: Final[dict[Identity, Line]] = {}
_process = os.getpid()


def failure_of(group: Group) -> Exception | None:
    """Send a group. None if its events are stored or spilled, else the error."""
    store = group[0].store
    if not store.groups_commits or breakers[store.cache].failure:
        # While Redis is unreachable, an append fails fast, and waits for no other.
        return finish(failure_alone(group, BLOCKING))
    if _process != os.getpid():
        _forget()  # uWSGI forks without Python's hooks
    line = _lines.get(store.identity) or _lines.setdefault(store.identity, Line())
    return line.failure_of(group)


def _forget() -> None:
    """Run in a forked child: the threads that stand in line live in the parent."""
    global _process
    _lines.clear()
    _process = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
