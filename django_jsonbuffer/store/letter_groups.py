"""The groups of a bucket's dead letters, and searches in them, as Redis answers."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from . import nodes
from .dead_letters import Letter, letter_of
from .errors import not_redis, translated
from .keys import shard_name
from .scripts import FORGET_GROUP, LIST_DEAD, LIST_DEAD_GROUPS, SEARCH_DEAD, Script
from .store import Store

MOST_LOOKED_AT: Final = 500
"""Most dead letters that one call looks at, so that no call blocks Redis for long."""

_MOST_AT_ENDS: Final = 100
"""So many dead letters at each end are looked at to find one without a group."""


class StoredGroup(NamedTuple):
    """A group of dead letters in one shard."""

    shape: str
    """The shape of their errors. Empty for the letters without a group."""

    size: int
    """How many letters it has."""

    first: str
    """Id of the first letter. It may be gone."""

    last: str
    was_raised: bool
    """Whether the first error is an exception."""


class Sought(NamedTuple):
    """Which dead letters a search finds."""

    group: str | None = None
    """The shape of their errors. Empty for letters without a group, None for all."""

    text: str = ""
    """What the error, the event or the id contains. In ASCII, capital letters are like others."""

    in_events: bool = True
    """Whether to look for the text in all of these. If not, only in the class of an exception, and
    in the id."""


class Portion(NamedTuple):
    """What one call has found in one shard."""

    looked_at: int
    next: str
    """The id behind which to go on. Empty if the call came to the end."""

    letters: list[Letter]


def list_groups(stores: Sequence[Store]) -> list[list[StoredGroup]]:
    """The groups of each shard, in one round trip for all. Their letters may be gone."""
    questions: list[Question] = [(*_keys(store), _MOST_AT_ENDS) for store in stores]
    return [_groups(*reply) for reply in _ask(stores, LIST_DEAD_GROUPS, questions)]


def _groups(length: int, first: bytes, last: bytes, values: Sequence[Any]) -> list[StoredGroup]:
    groups = [
        StoredGroup(
            shape.decode(errors="replace"),
            min(count, length),
            oldest.decode(),
            newest.decode(),
            raised != b"",
        )
        for shape, count, oldest, newest, raised in zip(*[iter(values)] * 5, strict=True)
    ]
    others = length - sum(group.size for group in groups)
    if others > 0 and first:
        groups.append(StoredGroup("", others, first.decode(), last.decode(), was_raised=False))
    return [group for group in groups if group.size > 0]


def search(
    stores: Sequence[Store],
    sought: Sought,
    limit: int,
    *,
    firsts: Sequence[str],
    last: str = "+",
    most_bytes: int = 0,
    most_looked_at: int = MOST_LOOKED_AT,
) -> list[Portion]:
    """At most `limit` dead letters of each shard, oldest first, in one round trip for all.

    `firsts` are the ids to begin with. After a ``(``, it is the id to begin behind. With
    `most_bytes`, at most so many bytes of each event.
    """
    questions = [
        (*_keys(store), *_arguments(store, sought, first, last, limit, most_bytes, most_looked_at))
        for store, first in zip(stores, firsts, strict=True)
    ]
    return [
        Portion(looked_at, behind.decode(), [*map(letter_of, letters)])
        for looked_at, behind, letters in _ask(stores, SEARCH_DEAD, questions)
    ]


def find_all(places: Sequence[tuple[Store, str]], *, most_bytes: int) -> list[tuple[Store, Letter]]:
    """The dead letters with these ids, of those that there are, in one round trip for all."""
    stores = [store for store, _ in places]
    questions: list[Question] = [(store.keys.dead, id, id, 1, most_bytes) for store, id in places]
    replies = _ask(stores, LIST_DEAD, questions, keys=1)
    return [
        (store, letter_of(letter))
        for store, letters in zip(stores, replies, strict=True)
        for letter in letters
    ]


def ids_of_group(
    store: Store, group: str, limit: int, *, first: str, last: str
) -> tuple[list[str], str]:
    """Ids of the oldest letters of a group, and the id behind which to go on. Empty at the end."""
    args = _arguments(store, Sought(group), first, last, limit, -1, MOST_LOOKED_AT)
    _, behind, ids = store.run(SEARCH_DEAD, _keys(store), *args)
    return [id.decode() for id in ids], behind.decode()


def forget_group(store: Store, group: str, *, last: str) -> None:
    """Forget a group that has no letter up to the id `last`, if it can have no later one."""
    store.run(FORGET_GROUP, [store.keys.stats], group, last)


def _keys(store: Store) -> list[str]:
    return [store.keys.dead, store.keys.stats]


Question = tuple[bytes | str | int, ...]
"""The keys and the arguments of a script."""


def _arguments(
    store: Store, sought: Sought, first: str, last: str, limit: int, most_bytes: int, most: int
) -> Question:
    text = sought.text.encode(errors="replace").lower()
    filters = (int(sought.group is not None), sought.group or "", text, int(not sought.in_events))
    suffix = shard_name("", store.shard)
    return (first, last, limit, most_bytes, most, *filters, suffix)


def _ask(
    stores: Sequence[Store], script: Script, questions: Sequence[Question], *, keys: int = 2
) -> list[Any]:
    """The replies of a script with so many keys, of one shard after the other."""
    if not stores:
        return []
    calls = [
        nodes.Call(store.keys.dead, ("EVALSHA", script.sha, keys, *question))
        for store, question in zip(stores, questions, strict=True)
    ]
    replies = nodes.replies(stores[0].cache, calls, script=script)
    for store, reply in zip(stores, replies, strict=True):
        if isinstance(reply, Exception):
            raise translated(reply, store.identity.name) from reply
        if script.check is None or not script.check(reply):
            raise not_redis(store.identity.name)
    return replies
