"""Places of events, as a set of ranges. A whole batch is one range, so it costs one short text."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Self

from django_jsonbuffer.store.origins import Origins


class Range(NamedTuple):
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}" if self.last > self.first else str(self.first)


class Places(tuple[Range, ...]):
    """Ranges in ascending order, with a gap between each two."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """From the text that ``str()`` makes: ``0-999,1002``."""
        ends = (word.partition("-") for word in text.split(",") if word)
        return cls(Range(int(first), int(last or first)) for first, _, last in ends)

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> Self:
        """From ranges in any order, which may touch and overlap."""
        return cls(_merged(ranges))

    def leading(self, first: int, count: int) -> tuple[bool, int]:
        """Whether the place `first` is one of these places, and for how many of the `count` places
        from there this is the same.
        """
        for start, end in self:
            if start <= first <= end:
                return True, min(count, end - first + 1)
            if start > first:
                return False, min(count, start - first)
        return False, count

    def __str__(self) -> str:
        return ",".join(map(str, self))


NO_PLACES = Places()

Known = Mapping[str, Places]
"""The places that have receipts, by origin."""


def leading(origins: Origins, known: Known) -> tuple[bool, int]:
    """Whether the first event has a receipt, and for how many events from it this is the same."""
    total, is_known = 0, False
    for origin, first, length in origins.runs:
        state, alike = known.get(origin, NO_PLACES).leading(first, length)
        if total and state != is_known:
            break
        is_known, total = state, total + alike
        if alike < length:
            break
    return is_known, total


def _merged(ranges: Iterable[tuple[int, int]]) -> Iterator[Range]:
    current: Range | None = None
    for first, last in sorted(ranges):
        if current is not None and first <= current.last + 1:
            current = Range(current.first, max(current.last, last))
            continue
        if current is not None:
            yield current
        current = Range(first, last)
    if current is not None:
        yield current
