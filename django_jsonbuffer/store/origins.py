"""Origins: what identifies an event, whatever batch it is in."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from .keys import shard_name

_RUN: Final = re.compile(r"([0-9a-zA-Z-]{1,60}):([0-9]{1,15}):([0-9]{1,15})")


class Run(NamedTuple):
    """Events that were appended to one open batch, one after the other."""

    origin: str
    """Names the open batch. No other open batch ever has this name."""

    first: int
    """Place of the first of these events in the open batch, counted from 0."""

    length: int
    """How many events."""

    def __str__(self) -> str:
        return f"{self.origin}:{self.first}:{self.length}"


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins of the events of a batch, in the order of the events.

    A batch that was sealed has one run. A batch of replayed dead letters may have one for each.
    """

    runs: tuple[Run, ...] = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """From the field ``origins`` of a batch. Empty if the text is not what a script wrote."""
        found = [_RUN.fullmatch(word) for word in text.split()]
        return cls(tuple(Run(run[1], int(run[2]), int(run[3])) for run in found if run))

    @classmethod
    def of_batch(cls, id: str, count: int) -> Self:
        """For a batch without origins, which an older version of this app has sealed."""
        return cls((Run(id, 0, count),))

    @property
    def count(self) -> int:
        return sum(run.length for run in self.runs)

    def cut(self, start: int, end: int) -> Self:
        """The origins of the events from the place `start` of the batch, and before `end`."""
        return type(self)(tuple(self._cut(start, end)))

    def of_shard(self, shard: int) -> Self:
        """The same with names that no other shard of the bucket has."""
        if not shard:
            return self
        runs = (run._replace(origin=shard_name(run.origin, shard)) for run in self.runs)
        return type(self)(tuple(runs))

    def without(self, places: Collection[int]) -> Self:
        """The origins of all events except those at these places of the batch."""
        if not places:
            return self
        ends = [*sorted(places), self.count]
        starts = [0, *(place + 1 for place in ends)]
        parts = (self.cut(start, end) for start, end in zip(starts, ends, strict=False))
        return type(self)(tuple(run for part in parts for run in part.runs))

    def _cut(self, start: int, end: int) -> Iterator[Run]:
        behind = 0
        for origin, first, length in self.runs:
            at, behind = behind, behind + length
            low, high = max(start, at), min(end, behind)
            if low < high:
                yield Run(origin, first + low - at, high - low)

    def __str__(self) -> str:
        return " ".join(map(str, self.runs))


NO_ORIGINS: Final = Origins()
