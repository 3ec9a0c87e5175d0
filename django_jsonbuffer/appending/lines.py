"""What the lines of threads and of tasks share: who leaves together, and who has to be alone."""

from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from django_jsonbuffer.limits import MAX_APPEND_BATCHES
from django_jsonbuffer.signals import is_receiving
from django_jsonbuffer.store.breakers import breaker_of
from django_jsonbuffer.store.keys import Identity
from django_jsonbuffer.store.links import Link

from .groups import Group, events_of, size_of
from .trips import Place, Trip

MOST_BYTES: Final = 1024 * 1024
"""Most bytes of events that callers send together. A caller with more bytes sends them alone."""

MOST_LINES: Final = 10_000
"""How many lines are kept, so that a process that appends to ever new buckets needs no more memory
for each."""

Line = TypeVar("Line")


class Lines(dict[Identity, Line]):
    """The line of each bucket, made at its first use."""

    def __init__(self, new_line: Callable[[], Line]) -> None:
        self._new_line = new_line

    def __missing__(self, bucket: Identity) -> Line:
        if len(self) >= MOST_LINES:
            self.clear()  # those who stand in a line go on there
        return self.setdefault(bucket, self._new_line())


def board(first: Place, line: deque[Place]) -> Trip:
    """Put the first place and the next ones in line into one trip, as many as fit into one call.

    Removes them from the line.
    """
    if not line:
        return Trip((first,))
    places, options = [first], first.group[0].options
    size, count = size_of(first.group), len(events_of(first.group))
    # More than max_pending never fit together: if a reply is lost, retries could not settle them.
    most_bytes = min(MOST_BYTES, options.max_pending_bytes or MOST_BYTES)
    most = min(MAX_APPEND_BATCHES, options.max_pending or MAX_APPEND_BATCHES)
    while line:
        group = line[0].group
        size, count = size + size_of(group), count + len(events_of(group))
        # Two handles of one bucket may have different options.
        its_options = group[0].options
        is_alike = its_options is options or its_options == options
        if size > most_bytes or count > most or not is_alike:
            break
        places.append(line.popleft())
    return Trip(places)


def has_to_be_alone(group: Group) -> bool:
    """Whether a group is sent without the events of other callers."""
    store = group[0].store
    return bool(
        not store.groups_commits
        # While Redis is unreachable, an append fails fast, and waits for no other.
        or breaker_of(store.cache, store.keys.open).failure
        # Others would wait for all these bytes.
        or size_of(group) > MOST_BYTES
        # Nothing is announced for what a receiver does. The events of others are not its own.
        or is_receiving()
    )


async def failure_alone(group: Group, link: Link) -> Exception | None:
    """Send a group without the events of other callers. None if it succeeds, else the error."""
    place = Place(group)
    trip = Trip((place,))
    await trip.make(link)
    if trip.rest:
        await trip.conclude(link)
    return place.failure
