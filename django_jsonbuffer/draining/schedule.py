"""The schedule: which of many buckets a worker serves next."""

from collections.abc import Callable
from enum import IntEnum
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, NamedTuple

BACKLOG_SHARE: Final = 0.7
"""How much of a worker's time the buckets with a backlog get at least, if they need it."""

_HEAD_START_SECONDS: Final = 0.5
"""By how much the other buckets may exceed their share for a moment, after a time without any."""

_MOST_OUTDATED: Final = 1000
"""So many outdated entries of the heap are kept, and as many again as there are buckets."""

_MOST_WAIT_SECONDS: Final = 1.0
"""Among buckets without a backlog, one with priority 1 should be served after this time."""


class Kind(IntEnum):
    """What a bucket waits for. The larger, the less can end the wait before its time."""

    IDLE = 0
    """As far as is known, it has nothing."""

    LINGERS = 1
    """Its open batch lingers, and there is no other."""

    HELD = 2
    """Workers hold its batches, or it is paused."""

    FIRM = 3
    """It is in an outage, or its node is away: a new batch would not help."""


class _Wait(NamedTuple):
    """When to serve a bucket that waits."""

    due: float
    number: int
    """That of its entry in the heap. An entry with another number is outdated."""
    kind: "Kind"


class Schedule:
    """When to serve each bucket. All times are in seconds, of one clock that the caller reads.

    A bucket *waits* until it is due, for example until its open batch has lingered. If there are
    more batches after its turn, it has a *backlog*. Buckets with a backlog share the time in
    proportion to their priorities. Together they get at least `BACKLOG_SHARE` of it, if they need
    it. The other buckets that are due get the rest. So a hot bucket goes on nearly at its own
    speed, and a bucket with a single event hardly waits.
    """

    def __init__(self, priority_of: Callable[[str], int] = lambda name: 1) -> None:
        self._priority_of = priority_of
        self._numbers = count()
        self._waits: dict[str, _Wait] = {}
        self._dues: list[tuple[float, int, str]] = []
        self._others: list[tuple[float, int, str]] = []
        """Other due buckets, by the time at which each should be served at the latest."""
        self._backlog: list[tuple[float, int, str]] = []
        """Buckets with a backlog, by the time that each has got, divided by its priority."""
        self._reached = 0.0
        """What the bucket with a backlog that was served last has got so far."""
        self._is_of_backlog = False
        """Whether the bucket that is served at this moment had a backlog."""
        self._others_clock = self._backlog_clock = 0.0
        """The time that each of both kinds has got, divided by its share. The kind whose clock is
        behind comes next."""

    def __bool__(self) -> bool:
        """Whether there is any bucket, beside the one that is served at this moment."""
        return bool(self._waits or self._others or self._backlog)

    def put(
        self,
        name: str,
        due: float,
        *,
        kind: Kind = Kind.LINGERS,
        seconds: float = 0.0,
    ) -> None:
        """Serve a bucket at this time. `seconds` is how long the turn took that has just ended."""
        self._spend(seconds, on_backlog=self._is_of_backlog)
        number = next(self._numbers)
        self._waits[name] = _Wait(due, number, kind)
        heappush(self._dues, (due, number, name))
        if len(self._dues) > 2 * len(self._waits) + _MOST_OUTDATED:
            self._dues = [(its.due, its.number, each) for each, its in self._waits.items()]
            heapify(self._dues)

    def put_backlog(self, name: str, *, seconds: float) -> None:
        """Serve a bucket again, in turn with others. `seconds` is how long its turn has taken."""
        if not (self._backlog or self._is_of_backlog):
            self._backlog_clock = max(self._backlog_clock, self._others_clock)
        self._spend(seconds, on_backlog=True)
        until = self._reached + seconds / self._priority_of(name)
        heappush(self._backlog, (until, next(self._numbers), name))

    def hasten(self, name: str, due: float, *, up_to: Kind = Kind.HELD) -> None:
        """If a bucket waits, serve it at this time at the latest. `up_to` is the firmest wait."""
        wait = self._waits.get(name)
        if wait is not None and wait.due > due and wait.kind <= up_to:
            self.put(name, due, kind=wait.kind)

    def pop(self, now: float) -> str | None:
        """The bucket to serve next. None if no bucket is due."""
        while self.seconds_to_wait(now) == 0:
            due, number, name = heappop(self._dues)
            del self._waits[name]
            if not self._others:
                earliest = self._backlog_clock - _HEAD_START_SECONDS
                self._others_clock = max(self._others_clock, earliest)
            until = due + _MOST_WAIT_SECONDS / self._priority_of(name)
            heappush(self._others, (until, number, name))
        if not (self._others or self._backlog):
            return None
        is_behind = self._backlog_clock < self._others_clock
        self._is_of_backlog = bool(self._backlog) and (is_behind or not self._others)
        until, _, name = heappop(self._backlog if self._is_of_backlog else self._others)
        if self._is_of_backlog:
            self._reached = max(self._reached, until)
        return name

    def seconds_to_wait(self, now: float) -> float | None:
        """How long until the next bucket that waits is due. None if no bucket waits."""
        while self._dues:
            due, number, name = self._dues[0]
            wait = self._waits.get(name)
            if wait is not None and wait.number == number:
                return max(0.0, due - now)
            heappop(self._dues)
        return None

    def _spend(self, seconds: float, *, on_backlog: bool) -> None:
        if on_backlog:
            self._backlog_clock += seconds / BACKLOG_SHARE
        else:
            self._others_clock += seconds / (1 - BACKLOG_SHARE)
