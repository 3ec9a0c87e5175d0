"""The lines in which callers wait for the next trip to Redis, and the place of each of them."""

import asyncio
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable
from django_jsonbuffer.store.keys import Identity

from .groups import Group

if TYPE_CHECKING:
    from .trips import Trip

Line = TypeVar("Line")

MOST_LINES: Final = 10_000
"""How many lines are kept, so that a process that appends to ever new buckets needs no more memory
for each."""


class Lines(dict[Identity, Line]):
    """The line of each bucket, made at its first use."""

    def __init__(self, new_line: Callable[[], Line]) -> None:
        self._new_line = new_line

    def __missing__(self, bucket: Identity) -> Line:
        if len(self) >= MOST_LINES:
            self.clear()  # those who stand in a line go on there
        return self.setdefault(bucket, self._new_line())


class Place:
    """The place of one caller in the line for the next trip, and the result of the trip."""

    waits_since: float | None = None
    """When the caller stood in line, on the monotonic clock. None if it need not wait."""

    is_done = False
    failure: Exception | None = None
    """None if the events are stored or spilled, else the error."""

    is_gone = False
    """Whether an interrupt has ended the call of the thread."""

    trip: "Trip | None" = None
    """The trip that the thread makes."""

    lock: "threading.Lock | None" = None
    """Released when the thread may send, or has its result. None if the thread need not wait."""

    undecided: AppendUndecided | None = None
    """The error of a thread that does not wait any longer. Its result, if it comes, replaces it."""

    result: asyncio.Future[None] | None = None
    """Done when the task has its result. None if the task sends its events itself."""

    def __init__(self, group: Group) -> None:
        self.group = group


def unanswered(place: Place) -> AppendUndecided:
    """The error of a caller that does not wait any longer for the thread that sends its events.

    A retry must not send them, because it is not known what the other thread does next.
    """
    process = os.getpid()

    def left_undecided() -> AppendUndecided | None:
        """The error of the other thread if its answer was lost. Raises any other error."""
        if not place.is_done and process != os.getpid():
            raise BufferUnavailable(
                "The process from which this one was forked sends the append. Look for its events "
                "before you append them again."
            )
        if not place.is_done:
            raise unanswered(place)
        if place.failure is None or isinstance(place.failure, AppendUndecided):
            return place.failure
        raise place.failure

    def retry() -> None:
        if undecided := left_undecided():
            undecided.retry()

    async def aretry() -> None:
        if undecided := left_undecided():
            await undecided.aretry()

    return AppendUndecided(
        "It is not known whether the append was stored: another thread sends it, and has no answer "
        "yet. Call retry() of this error later, to find out what the answer was.",
        retry=retry,
        aretry=aretry,
    )
