"""Traces: which appends the events of a batch come from.

They lie beside the events, and are there only if a tracer is installed. See
:mod:`django_jsonbuffer.tracing`.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Final, NamedTuple, Self

MOST_TRACES: Final = 128
"""Most runs that one call sends for one batch. The script keeps about as many of a batch."""

_WORD: Final = re.compile(r"(?:([0-9a-f]{32}-[0-9a-f]{16}):([0-9]{1,15}):)?([0-9]{1,15})")


class Run(NamedTuple):
    """Events of one append, one after the other."""

    context: str
    """The span that appended them: trace id, dash, span id."""

    first: int
    """Place of the first of these events in the batch, counted from 0."""

    length: int
    """How many events."""

    @property
    def end(self) -> int:
        return self.first + self.length

    def __str__(self) -> str:
        return f"{self.context}:{self.first}:{self.length}"


@dataclass(frozen=True, slots=True)
class Traces:
    """The traced appends of a batch, in the order of their events. Other events have none."""

    runs: tuple[Run, ...] = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """From the field ``traces`` of a batch. What is not what a script wrote is left out.

        A number alone is the place from which the places of the following runs are counted.
        """
        runs, behind = [], 0
        for word in filter(None, map(_WORD.fullmatch, text.split())):
            context, first, number = word.groups()
            if context is None:
                behind = int(number)
            else:
                runs.append(Run(context, behind + int(first), int(number)))
        return cls(tuple(runs))

    def cut(self, start: int, end: int) -> Self:
        """The traces of the events from the place `start` of the batch, and before `end`."""
        behind = islice(self.runs, bisect_right(self.runs, start, key=lambda run: run.end), None)
        runs = []
        for context, first, length in takewhile(lambda run: run.first < end, behind):
            low, high = max(start, first), min(end, first + length)
            runs.append(Run(context, low - start, high - low))
        return type(self)(tuple(runs))

    def context_of(self, place: int) -> str:
        """The context of the event at this place. Empty if it has none."""
        return next((run.context for run in self.cut(place, place + 1).runs), "")

    def __str__(self) -> str:
        """As the field has them, at most :data:`MOST_TRACES` runs."""
        return " ".join(map(str, self.runs[:MOST_TRACES]))


NO_TRACES: Final = Traces()
