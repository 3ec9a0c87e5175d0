"""Group commit for threads: while one thread sends, others wait, and their appends leave together.

The first thread sends its append at once. Threads that come while it waits for the reply stand in
line. When the reply is there, the first of them sends one call with the events of them all, and so
on. So a thread that is alone never waits, and many threads need few round trips.

The main thread stands in no line, because Python runs signal handlers there: one that raises an
exception would end a trip that others wait for.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.links import BLOCKING

from .groups import Group
from .lines import Lines, board, failure_alone, has_to_be_alone
from .trips import Place, Trip, unanswered

LONGEST_WAIT_SECONDS: Final = 10
"""How long a thread waits for another one, in addition to ``append_timeout``. Usually an error ends
a trip much earlier. But perhaps the other thread waits for a lock that this thread holds."""


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
            # This is a log handler that appends what redis-py has logged, or a finalizer.
            return finish(failure_alone(group, BLOCKING))
        self._threads.add(thread)
        place, trip = Place(group), None
        try:
            with self._lock:
                if self._sender is None:
                    self._sender = place
                else:
                    self._stand_in_line(place)
            if place.lock is None or self._wait_for_turn(place, place.lock):
                trip = self._send(place)
        finally:
            try:
                self._leave(place)
            except BaseException:
                self._leave(place)  # another interrupt must not strand the threads in line
                raise
            finally:
                place.trip = None  # it refers to the place, and so would wait for a collection
                self._threads.discard(thread)
        if trip is not None and trip.rest:
            finish(trip.conclude(BLOCKING))
        return place.failure if place.is_done else place.undecided

    def _stand_in_line(self, place: Place) -> None:
        place.waits_since, place.lock = time.monotonic(), threading.Lock()
        place.lock.acquire()
        self._waiting.append(place)

    def _wait_for_turn(self, place: Place, lock: "threading.Lock") -> bool:
        """Wait until it is the turn of this thread. False if it has its result instead."""
        timeout_seconds = place.group[0].options.append_timeout.total_seconds()
        seconds = min(LONGEST_WAIT_SECONDS + timeout_seconds, threading.TIMEOUT_MAX)
        if not lock.acquire(timeout=seconds):
            with self._lock:
                if self._sender is place:
                    return True
                if place in self._waiting:
                    self._waiting.remove(place)
                    place.trip = Trip((place,))
                    return True
                place.undecided = unanswered(place)
                return False
        return not place.is_done

    def _send(self, place: Place) -> Trip:
        if place.trip is None and self._waiting:
            self._board(place)
        trip = place.trip = place.trip or Trip((place,))
        finish(trip.make(BLOCKING))
        return trip

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
        if place.trip is not None:
            place.trip.abandon()
        return self._waiting[0] if self._waiting else None


def _wake(place: Place) -> None:
    """Let the thread of this place go on. May be called again."""
    if place.lock is not None and place.lock.locked():
        place.lock.release()


_lines: Final = Lines(Line)
_process = os.getpid()


def failure_of(group: Group) -> Exception | None:
    """Send a group. None if its events are stored or spilled, else the error."""
    if has_to_be_alone(group) or threading.get_ident() == threading.main_thread().ident:
        return finish(failure_alone(group, BLOCKING))
    if _process != os.getpid():
        _forget()  # uWSGI forks without Python's hooks
    return _lines[group[0].store.identity].failure_of(group)


def _forget() -> None:
    """Run in a forked child: the threads that stand in line live in the parent."""
    global _process
    _lines.clear()
    _process = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
