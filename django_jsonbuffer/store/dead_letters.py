"""The dead letters of a bucket, as Redis holds them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from .calls import new_token
from .scripts import DISCARD, EXPIRE, LIST_DEAD, LIST_DEAD_IDS, MILLISECOND, REPLAY
from .store import Store

_PORTION: Final = 500
"""Most dead letters that one call removes, so that no call blocks Redis for long."""


class Letter(NamedTuple):
    """A dead letter, with its fields as Redis holds them."""

    id: str
    fields: Mapping[str, bytes]


def list_dead(store: Store, limit: int, *, first: str = "-", most_bytes: int = 0) -> list[Letter]:
    """At most `limit` dead letters, oldest first. `first` is an id to begin with. After a ``(``, it
    is the id to begin behind.

    With `most_bytes`, at most so many bytes of each event.
    """
    letters = store.run(LIST_DEAD, [store.keys.dead], first, "+", limit, most_bytes)
    return [letter_of(letter) for letter in letters]


def find_dead(store: Store, id: str) -> Letter | None:
    """The dead letter with this id, or None."""
    found = store.run(LIST_DEAD, [store.keys.dead], id, id, 1, 0)
    return letter_of(found[0]) if found else None


def newest_dead(store: Store) -> str | None:
    """The id of the newest dead letter, or None."""
    newest = store.run(LIST_DEAD_IDS, [store.keys.dead], "newest", "", 1, -1)
    return newest[0].decode() if newest else None


def dead_ids(store: Store, limit: int, *, last: str) -> list[str]:
    """Ids of the oldest dead letters, up to the id `last`."""
    ids = store.run(LIST_DEAD_IDS, [store.keys.dead], "-", last, limit, -1)
    return [id.decode() for id in ids]


def replay(store: Store, ids: Sequence[str]) -> int:
    """Make one batch of the events of dead letters. Returns how many were found."""
    keys = [store.keys.batches, store.keys.dead, store.keys.stats]
    return store.run(REPLAY, keys, new_token(), *ids)  # type: ignore[no-any-return]


def discard(store: Store, ids: Sequence[str]) -> int:
    """Remove dead letters. Returns how many were found. Large ones take more round trips."""
    discarded, keys = 0, [store.keys.dead, store.keys.stats]
    while ids:
        found, came_to = store.run(DISCARD, keys, *ids[:_PORTION])
        discarded, ids = discarded + found, ids[came_to:]
    return discarded


def expire(store: Store, *, max_dead: int | None, dead_after: timedelta | None) -> int:
    """Remove a portion of the oldest dead letters: beyond the newest `max_dead`, or as old as
    `dead_after`. Returns how many. If that is not 0, there may be more.

    The age is measured by the clock of Redis at the burial and at this moment.
    """
    most = -1 if max_dead is None else max_dead
    age_ms = -1 if dead_after is None else dead_after // MILLISECOND
    keys = [store.keys.dead, store.keys.stats]
    return store.run(EXPIRE, keys, most, age_ms, _PORTION)  # type: ignore[no-any-return]


def letter_of(reply: tuple[bytes, list[bytes]]) -> Letter:
    """A dead letter, as scripts return it."""
    id, fields = reply
    names = (name.decode(errors="replace") for name in fields[::2])
    return Letter(id.decode(), dict(zip(names, fields[1::2], strict=True)))
