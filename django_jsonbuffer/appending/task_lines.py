"""Group commit for asyncio: during a call, other tasks wait, and their appends leave together.

A task of its own sends the events of the tasks that wait, trip by trip, until nobody waits. So the
cancellation of a task that appends does not affect the others.
"""

import asyncio
import time
from collections import deque
from contextvars import Context
from typing import Final
from weakref import WeakKeyDictionary

from django_jsonbuffer.store.keys import Identity
from django_jsonbuffer.store.links import ASYNCIO

from .breaker import breakers
from .groups import Group
from .trips import Place, Trip, board, failure_alone


class Line:
    """The tasks of one event loop that append to one bucket."""

    def __init__(self) -> None:
        self._waiting: deque[Place] = deque()
        self._sender: asyncio.Task[None] | None = None

    def enter(self, place: Place) -> None:
        self._waiting.append(place)
        if self._sender is None or self._sender.done():
            self._start(None)

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
                trip = None
        finally:
            # If this task was cancelled, those that still wait need another one.
            places = [*(trip.places if trip else ()), *self._waiting]
            if any(map(_waits, places)):
                self._start(trip)

    def _next_trip(self) -> Trip | None:
        waiting = deque(filter(_waits, self._waiting))
        self._waiting = waiting
        return board(waiting.popleft(), waiting) if waiting else None


def _waits(place: Place) -> bool:
    """False if the task was cancelled."""
    return place.result is not None and not place.result.done()


_lines: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Identity, Line]]] = (
    WeakKeyDictionary()
)


async def failure_of(group: Group) -> Exception | None:
    """Send a group. None if its events are stored or spilled, else the error.

    A task that is cancelled before its events are sent takes them back.
    """
    store = group[0].store
    if not store.groups_commits or breakers[store.cache].failure:
        # While Redis is unreachable, an append fails fast, and waits for no other.
        return await failure_alone(group, ASYNCIO)
    loop = asyncio.get_running_loop()
    place = Place(group)
    place.waits_since, place.result = time.monotonic(), loop.create_future()
    _line_of(loop, store.identity).enter(place)
    await place.result
    return place.failure


def _line_of(loop: asyncio.AbstractEventLoop, bucket: Identity) -> Line:
    if (lines := _lines.get(loop)) is None:
        lines = _lines[loop] = {}
    return lines.get(bucket) or lines.setdefault(bucket, Line())
