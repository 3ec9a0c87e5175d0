"""Group commit for asyncio: during a call, other tasks wait, and their appends leave together.

The first task sends its own events. If other tasks append before it has its reply, a background
task sends the events of those that wait, in one call after the other, until no task waits. So a
caller that is cancelled does not affect the others.
"""

import asyncio
import time
from collections import deque
from contextvars import Context
from typing import Final
from weakref import WeakKeyDictionary

from django_jsonbuffer.store.links import ASYNCIO

from .groups import Group
from .lines import Lines, board, failure_alone, has_to_be_alone
from .trips import Place, Trip


class Line:
    """The tasks of one event loop that append to one bucket."""

    def __init__(self) -> None:
        self._waiting: deque[Place] = deque()
        self._has_lone_sender = False
        self._sender: asyncio.Task[None] | None = None
        """The background task, if it runs."""
        self._concluding: set[asyncio.Task[None]] = set()

    async def failure_of(self, group: Group) -> Exception | None:
        place = Place(group)
        if self._has_lone_sender or not (self._sender is None or self._sender.done()):
            place.result = asyncio.get_running_loop().create_future()
            place.waits_since = time.monotonic()
            self._waiting.append(place)
            await place.result
        else:
            await self._send_alone(place)
        return place.failure

    async def _send_alone(self, place: Place) -> None:
        """Send without another task, because a switch of tasks takes time."""
        trip = Trip((place,))
        self._has_lone_sender = True
        try:
            await trip.make(ASYNCIO)
        finally:
            self._has_lone_sender = False
            if self._waiting:
                self._start(None)
        if trip.rest:
            await trip.conclude(ASYNCIO)

    def _start(self, trip: Trip | None) -> None:
        loop = asyncio.get_running_loop()
        # An empty context, because the task serves several requests.
        self._sender = loop.create_task(self._send(trip), context=Context())

    async def _send(self, trip: Trip | None) -> None:
        try:
            while trip is not None or (trip := self._next_trip()) is not None:
                await trip.make(ASYNCIO)
                for place in trip.places:
                    if place.result is not None and not place.result.done():
                        place.result.set_result(None)
                if trip.rest:
                    self._conclude(trip)
                trip = None
                await asyncio.sleep(0)  # those who go on may append again, and join the next trip
        finally:
            # If this task was cancelled, those that still wait need another one.
            places = [*(trip.places if trip else ()), *self._waiting]
            if any(map(_waits, places)):
                self._start(trip)
            else:
                self._sender = None  # a task refers to its loop, which would never be garbage

    def _conclude(self, trip: Trip) -> None:
        """Conclude in another task, because the next trip must not wait for it."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(trip.conclude(ASYNCIO), context=Context())
        self._concluding.add(task)
        task.add_done_callback(self._concluding.discard)

    def _next_trip(self) -> Trip | None:
        waiting = deque(filter(_waits, self._waiting))
        self._waiting = waiting
        return board(waiting.popleft(), waiting) if waiting else None


def _waits(place: Place) -> bool:
    """False if the task was cancelled."""
    return place.result is not None and not place.result.done()


_lines: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Lines[Line]]] = WeakKeyDictionary()


async def failure_of(group: Group) -> Exception | None:
    """Send a group. None if its events are stored or spilled, else the error.

    A task that is cancelled before its events are sent takes them back. Afterwards they may be
    stored.
    """
    if has_to_be_alone(group):
        return await failure_alone(group, ASYNCIO)
    loop = asyncio.get_running_loop()
    if (lines := _lines.get(loop)) is None:
        for closed in [other for other in _lines if other.is_closed()]:
            del _lines[closed]  # a task that was not over refers to its loop
        lines = _lines[loop] = Lines(Line)
    return await lines[group[0].store.identity].failure_of(group)
