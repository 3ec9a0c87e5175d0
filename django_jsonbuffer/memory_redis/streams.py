"""A stream of Redis, with its consumer groups."""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .errors import ErrorReply

_LARGEST: Final = 2**64 - 1


class Id(NamedTuple):
    """The id of an entry: milliseconds, and a number within them."""

    ms: int
    number: int

    @classmethod
    def parse(cls, text: bytes, *, missing: int = 0) -> "Id | None":
        """None if the text is no id. `missing` is the number if the text has none."""
        parts = text.split(b"-")
        if len(parts) > 2 or not all(part.isdigit() and int(part) <= _LARGEST for part in parts):
            return None
        return cls(int(parts[0]), int(parts[1]) if len(parts) == 2 else missing)

    @classmethod
    def read(cls, text: bytes, *, missing: int = 0) -> "Id":
        """Like :meth:`parse`, but raises :class:`ErrorReply`."""
        if (id := cls.parse(text, missing=missing)) is None:
            raise ErrorReply("ERR Invalid stream ID specified as stream command argument")
        return id

    def next(self) -> "Id":
        """Raises :class:`ErrorReply` behind the largest possible id."""
        if self.number < _LARGEST:
            return Id(self.ms, self.number + 1)
        if self.ms < _LARGEST:
            return Id(self.ms + 1, 0)
        raise ErrorReply("ERR invalid start ID for the interval")

    def previous(self) -> "Id":
        """Raises :class:`ErrorReply` before the smallest possible id."""
        if self.number > 0:
            return Id(self.ms, self.number - 1)
        if self.ms > 0:
            return Id(self.ms - 1, _LARGEST)
        raise ErrorReply("ERR invalid end ID for the interval")

    def __bytes__(self) -> bytes:
        return b"%d-%d" % self


FIRST: Final = Id(0, 0)
LAST: Final = Id(_LARGEST, _LARGEST)


@dataclass
class Delivery:
    """An entry that was delivered to a consumer and is not acknowledged."""

    consumer: bytes | None
    """None until a consumer claims it."""

    at_ms: int
    """When it was delivered last, in milliseconds since 1970."""

    times: int


@dataclass
class Group:
    last: Id
    """The entry that was delivered last."""

    consumers: set[bytes] = field(default_factory=set)
    deliveries: dict[Id, Delivery] = field(default_factory=dict)

    def pending(self) -> list[Id]:
        return sorted(self.deliveries)

    def held_by(self, consumer: bytes) -> int:
        return sum(delivery.consumer == consumer for delivery in self.deliveries.values())


@dataclass(eq=False)
class Stream:
    ids: list[Id] = field(default_factory=list)
    """The ids of its entries, in order."""

    entries: dict[Id, list[bytes]] = field(default_factory=dict)
    """The entries, each a list of names and values."""

    last: Id = FIRST
    """The largest id that the stream ever had."""

    groups: dict[bytes, Group] = field(default_factory=dict)

    def add(self, id: Id | None, now_ms: int, fields: list[bytes]) -> Id:
        """Add an entry. Without an id, it gets one of this time, or the next possible one.

        Raises :class:`ErrorReply` if the id is not behind all others.
        """
        if self.last == LAST:
            raise ErrorReply(
                "ERR The stream has exhausted the last possible ID, unable to add more items"
            )
        if id is None:
            id = Id(now_ms, 0) if now_ms > self.last.ms else self.last.next()
        if id <= self.last:
            raise ErrorReply(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item"
            )
        self.ids.append(id)
        self.entries[id] = fields
        self.last = id
        return id

    def remove(self, ids: Iterable[Id]) -> int:
        """Remove entries. Returns how many there were."""
        removed = 0
        for id in ids:
            if self.entries.pop(id, None) is not None:
                del self.ids[bisect.bisect_left(self.ids, id)]
                removed += 1
        return removed

    def between(self, start: Id, end: Id) -> list[Id]:
        """The ids from one to another, both included."""
        return self.ids[bisect.bisect_left(self.ids, start) : bisect.bisect_right(self.ids, end)]


def start_of(text: bytes) -> Id:
    """The first id of a range."""
    if text.startswith(b"("):
        return _bound(text[1:], missing=0).next()
    return _bound(text, missing=0)


def end_of(text: bytes) -> Id:
    """The last id of a range."""
    if text.startswith(b"("):
        return _bound(text[1:], missing=_LARGEST).previous()
    return _bound(text, missing=_LARGEST)


def _bound(text: bytes, *, missing: int) -> Id:
    if text == b"-":
        return FIRST
    return LAST if text == b"+" else Id.read(text, missing=missing)
