"""Searches among the dead letters of all shards, one page at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from .letters import DeadLetter, first_behind, place_of
from .store.keys import shard_name
from .store.letter_groups import MOST_LOOKED_AT, Portion, Sought
from .store.letter_groups import search as search_shards
from .store.store import Store

_MOST_BYTES: Final = 8 * 1024 * 1024
"""A search that has found events of so many bytes asks for no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A page of the dead letters that a search has found, oldest first."""

    letters: list[DeadLetter]

    next_after: str | None
    """The `after` of the next page. It may be the id of a letter that was not found. None if there
    is no other letter to look at."""

    is_complete: bool
    """Whether the search came to the end, or has filled the page. If not, it has stopped because it
    had looked at many letters."""


@dataclass(slots=True)
class _Reader:
    """The search in one shard."""

    store: Store
    first: str
    """Where to go on, for Redis. Empty at the end of the shard."""

    decode: Callable[[bytes], list[Any]]
    letters: list[DeadLetter] = field(default_factory=list)
    came_to: str = ""
    """The id of the last letter that it has looked at."""

    def take(self, portion: Portion) -> None:
        shard = self.store.shard
        self.letters += [DeadLetter.of(each, shard, self.decode) for each in portion.letters]
        self.first = f"({portion.next}" if portion.next else ""
        self.came_to = shard_name(portion.next, shard)


def search(
    stores: Sequence[Store],
    sought: Sought,
    limit: int,
    *,
    after: str | None,
    most_bytes: int,
    most_looked_at: int,
    decode: Callable[[bytes], list[Any]],
) -> Found:
    """The next page. In each round trip, every shard with too few letters is asked for more.

    If letters are large, a call looks at fewer, and the round trips end first.
    """
    firsts = ["-" if after is None else first_behind(after, store.shard) for store in stores]
    readers = [_Reader(store, first, decode) for store, first in zip(stores, firsts, strict=True)]
    left, found = most_looked_at, list[DeadLetter]()
    for _ in range(max(1, most_looked_at // MOST_LOOKED_AT)):
        asked = [reader for reader in readers if reader.first and len(reader.letters) <= limit]
        portions = search_shards(
            [reader.store for reader in asked],
            sought,
            limit + 1,  # one more says whether there is another page
            firsts=[reader.first for reader in asked],
            most_bytes=most_bytes,
            most_looked_at=max(1, min(left // len(asked), MOST_LOOKED_AT)),
        )
        for reader, portion in zip(asked, portions, strict=True):
            reader.take(portion)
            left -= portion.looked_at
        found = sorted(_certain(readers), key=attrgetter("place"))
        size = sum(len(letter.raw) for reader in readers for letter in reader.letters)
        if left <= 0 or size > _MOST_BYTES or len(found) > limit:
            break
        if not any(reader.first for reader in readers):
            break
    return _page(found, limit, _frontier(readers))


def _frontier(readers: Sequence[_Reader]) -> str | None:
    """The id up to which all shards were searched. None if they were searched to their ends."""
    return min((each.came_to for each in readers if each.first), key=place_of, default=None)


def _certain(readers: Sequence[_Reader]) -> Iterator[DeadLetter]:
    """The letters that were found before the frontier. None of them comes before another one that
    was not found yet."""
    frontier = _frontier(readers)
    for reader in readers:
        for letter in reader.letters:
            if frontier is None or letter.place <= place_of(frontier):
                yield letter


def _page(found: list[DeadLetter], limit: int, frontier: str | None) -> Found:
    letters = found[:limit]
    if len(found) > limit:
        return Found(letters=letters, next_after=letters[-1].id, is_complete=True)
    is_complete = frontier is None or len(letters) == limit
    return Found(letters=letters, next_after=frontier, is_complete=is_complete)
