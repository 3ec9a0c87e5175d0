"""Groups of dead letters whose errors have the same cause, as far as their texts tell."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from operator import attrgetter
from typing import Any, Final

from .letters import DeadLetter, last_up_to, place_of
from .store.dead_letters import discard
from .store.keys import shard_name
from .store.letter_groups import (
    Sought,
    StoredGroup,
    forget_group,
    ids_of_group,
    list_groups,
    search,
)
from .store.store import Store

_PAGE: Final = 100
_MOST_DISCARDED: Final = 500
_KIND: Final = re.compile(r"[A-Za-z_][\w.]*(?=: |$)")
"""The class of an exception. What else precedes a colon may be a part of an event: the notes of an
exception, or the line of a SyntaxError."""

_LAST_MS: Final = 253_402_300_799_000  # the last that datetime can hold


@dataclass(frozen=True, kw_only=True, slots=True)
class LetterGroup:
    """Dead letters of a bucket whose errors differ only in values."""

    name: str
    """The shape of their errors: the error with ``*`` for each value in it, up to 200 bytes. It may
    quote words of an event, as an error may. Empty for the letters that have no group."""

    kind: str
    """The class of the exception. Empty if the first error is not an exception."""

    count: int
    """How many letters the group has. Too many if another client has removed some: then the group
    ends when it is replayed or discarded as a whole."""

    first: datetime
    """When its first letter was buried. That letter may be gone."""

    last: datetime

    newest: str
    """The id of its newest letter. That letter may be gone."""


def merged(stores: Sequence[Store]) -> list[LetterGroup]:
    """The groups of a bucket with these shards, those with most letters first."""
    by_shape: dict[str, list[tuple[StoredGroup, int]]] = defaultdict(list)
    for store, groups in zip(stores, list_groups(stores), strict=True):
        for group in groups:
            by_shape[group.shape].append((group, store.shard))
    found = [_of_shards(shape, parts) for shape, parts in by_shape.items()]
    return sorted(found, key=lambda group: (-group.count, group.name))


def _of_shards(shape: str, parts: Sequence[tuple[StoredGroup, int]]) -> LetterGroup:
    first = min((shard_name(group.first, shard) for group, shard in parts), key=place_of)
    newest = max((shard_name(group.last, shard) for group, shard in parts), key=place_of)
    was_raised = all(group.was_raised for group, _ in parts)
    return LetterGroup(
        name=shape,
        kind=kind[0] if was_raised and (kind := _KIND.match(shape)) else "",
        count=sum(group.size for group, _ in parts),
        first=_moment(first),
        last=_moment(newest),
        newest=newest,
    )


def _moment(id: str) -> datetime:
    return datetime.fromtimestamp(min(place_of(id)[0], _LAST_MS) / 1000, UTC)


def discard_group(store: Store, group: str, *, last: str) -> int:
    """Discard the letters of a group in one shard, up to the id `last`. Returns how many."""
    total, first, ids = 0, "-", list[str]()
    while first:
        found, behind = ids_of_group(store, group, _MOST_DISCARDED, first=first, last=last)
        ids += found
        first = f"({behind}" if behind else ""
        if len(ids) >= _MOST_DISCARDED or not first:
            total, ids = total + discard(store, ids), []
    forget_group(store, group, last=last)
    return total


class GroupedLetters:
    """The letters of a group up to the id `last`, oldest first. They are read page by page."""

    def __init__(
        self, stores: Sequence[Store], group: str, last: str, decode: Callable[[bytes], list[Any]]
    ) -> None:
        self._stores = stores
        self._group = group
        self._last = last
        self._decode = decode

    def __iter__(self) -> Iterator[DeadLetter]:
        return merge(*map(self._of_shard, self._stores), key=attrgetter("place"))

    def forget_group(self) -> None:
        """Let the group end in each shard that has no letter of it up to the id `last`."""
        for store in self._stores:
            last = last_up_to(self._last, store.shard)
            if next(self._of_shard(store), None) is None:
                forget_group(store, self._group, last=last)

    def _of_shard(self, store: Store) -> Iterator[DeadLetter]:
        first, last = "-", last_up_to(self._last, store.shard)
        while first:
            [portion] = search([store], Sought(self._group), _PAGE, firsts=[first], last=last)
            for letter in portion.letters:
                yield DeadLetter.of(letter, store.shard, self._decode)
            first = f"({portion.next}" if portion.next else ""
