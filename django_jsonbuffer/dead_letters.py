"""Events that could not be processed, to look at, replay or discard."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Final

from .declarations import Parts
from .letter_groups import GroupedLetters, LetterGroup, discard_group, merged
from .letter_replays import holds_an_event, replay
from .letter_searches import Found, search
from .letters import DeadLetter, first_behind, is_id, last_up_to, place_of
from .shards import of_each
from .store import dead_letters as stored
from .store import letter_groups as stored_groups
from .store.keys import shard_name, split_shard
from .store.store import Store

_PAGE: Final = 100
_MOST_DISCARDED: Final = 1000


class DeadLetters:
    """The dead letters of one bucket, oldest first.

    To iterate over it reads the dead letters page by page, with at most a hundred of each shard in
    memory. This may also yield dead letters that are buried meanwhile. ``dead[id]`` is a single
    dead letter.
    """

    def __init__(self, parts: Parts, read_stores: Callable[[], Sequence[Store]]) -> None:
        """`read_stores` reads which shards there are, and gives their stores."""
        _, self._options, self._store, encoder = parts
        self._decode = encoder.decode
        self._read_stores = read_stores

    def __iter__(self) -> Iterator[DeadLetter]:
        return self._behind(None, page=_PAGE)

    def __getitem__(self, id: str) -> DeadLetter:
        """The dead letter with this id. Raises ``KeyError`` if there is none."""
        if is_id(id) and (letter := self._find(id)) is not None:
            return letter
        raise KeyError(id)

    def in_bulk(self, ids: Iterable[str], *, most_bytes: int = 0) -> dict[str, DeadLetter]:
        """The dead letters with these ids, by id, in one round trip. Unknown ids are left out.

        `most_bytes` is that of :meth:`page`.
        """
        places = [
            (self._store.of_shard(shard), id) for id, shard in map(split_shard, filter(is_id, ids))
        ]
        letters = (
            DeadLetter.of(letter, store.shard, self._decode)
            for store, letter in stored_groups.find_all(places, most_bytes=most_bytes)
        )
        return {letter.id: letter for letter in letters}

    def page(
        self, limit: int = _PAGE, *, after: str | None = None, most_bytes: int = 0
    ) -> list[DeadLetter]:
        """The oldest dead letters, at most `limit` of them. With `after`, those behind this id.

        With `most_bytes`, `raw` has at most so many bytes of each event.
        """
        _check(after)
        if limit < 1:
            return []
        return [*islice(self._behind(after, page=limit, most_bytes=most_bytes), limit)]

    def find(
        self,
        limit: int = _PAGE,
        *,
        after: str | None = None,
        group: str | None = None,
        text: str = "",
        in_events: bool = True,
        most_bytes: int = 0,
        most_looked_at: int = 10_000,
    ) -> Found:
        """The oldest dead letters of a group, or with a text in them, at most `limit` of them.

        `group` is the name of a :class:`LetterGroup`. The text is looked for in the error, in the
        event as JSON, and in the id. Capital letters of ASCII are like small ones. With
        ``in_events=False``, it is looked for only in the class of an exception, and in the id:
        a message may quote an event. `after` and `most_bytes` are those of :meth:`page`.

        This looks at about `most_looked_at` letters, in at most 20 round trips, and the page may be
        short. Then :attr:`Found.next_after` says where to go on.
        """
        _check(after)
        if limit < 1:
            raise ValueError("The limit must be at least 1.")
        sought = stored_groups.Sought(group, text, in_events)
        return search(
            self._read_stores(),
            sought,
            limit,
            after=after,
            most_bytes=most_bytes,
            most_looked_at=most_looked_at,
            decode=self._decode,
        )

    def groups(self) -> list[LetterGroup]:
        """The groups of the dead letters, those with most letters first.

        Letters have the same group if their errors differ only in values: in quoted texts, and in
        words with a digit. Each shard has at most 100 groups. Its other letters, and those of older
        versions of this app, are in the group with the name ``""``.
        """
        return merged(self._read_stores())

    def replay(self, *letters: DeadLetter | str) -> int:
        """Append these dead letters again, in this order, after all pending events. Each may be
        given by its id. Returns how many were replayed: somebody else may have replayed or
        discarded some of them before.

        Raises :class:`InvalidEvent`, and replays none, if one of them is not JSON.
        """
        ids = dict.fromkeys(filter(is_id, _ids(letters)))
        found = [letter for id in ids if (letter := self._find(id))]
        for letter in found:
            letter.event  # noqa: B018  (raises if it is not JSON)
        return replay(found, self._store, self._options)

    def replay_all(self, *, up_to: str | None = None, group: str | None = None) -> int:
        """Replay all dead letters, or those up to the id `up_to`, or those of a group. If one is
        not JSON, it stays. Returns how many were replayed.
        """
        _check(up_to)
        if (last := up_to or self.newest()) is None:
            return 0
        if group is None:
            return replay(filter(holds_an_event, self._up_to(last)), self._store, self._options)
        letters = GroupedLetters(self._read_stores(), group, last, self._decode)
        replayed = replay(filter(holds_an_event, letters), self._store, self._options)
        letters.forget_group()
        return replayed

    def discard(self, *letters: DeadLetter | str) -> int:
        """Delete dead letters for ever. Each may be given by its id. Returns how many it found."""
        by_shard: dict[int, list[str]] = defaultdict(list)
        for id in filter(is_id, _ids(letters)):
            stored_id, shard = split_shard(id)
            by_shard[shard].append(stored_id)
        return sum(
            stored.discard(self._store.of_shard(shard), ids) for shard, ids in by_shard.items()
        )

    def newest(self) -> str | None:
        """The id of the newest dead letter, or None."""
        found = [
            shard_name(id, store.shard)
            for store in self._read_stores()
            if (id := stored.newest_dead(store))
        ]
        return max(filter(is_id, found), key=place_of, default=None)

    def discard_all(self, *, up_to: str | None = None, group: str | None = None) -> int:
        """Delete all dead letters for ever, or those up to the id `up_to`, or those of a group.
        Returns how many.
        """
        _check(up_to)
        return sum(of_each(self._read_stores(), partial(_discard, up_to=up_to, group=group)))

    def _find(self, id: str) -> DeadLetter | None:
        stored_id, shard = split_shard(id)
        letter = stored.find_dead(self._store.of_shard(shard), stored_id)
        return letter and DeadLetter.of(letter, shard, self._decode)

    def _behind(self, after: str | None, *, page: int, most_bytes: int = 0) -> Iterator[DeadLetter]:
        """The dead letters of all shards behind the id, the oldest first."""
        shards = [
            self._of_shard(store, after, page=page, most_bytes=most_bytes)
            for store in self._read_stores()
        ]
        return merge(*shards, key=attrgetter("place"))

    def _of_shard(
        self, store: Store, after: str | None, *, page: int, most_bytes: int
    ) -> Iterator[DeadLetter]:
        first = "-" if after is None else first_behind(after, store.shard)
        while first:
            letters = stored.list_dead(store, page, first=first, most_bytes=most_bytes)
            for letter in letters:
                yield DeadLetter.of(letter, store.shard, self._decode)
            first = f"({letters[-1].id}" if len(letters) == page else ""

    def _up_to(self, last: str) -> Iterator[DeadLetter]:
        """The dead letters up to the id `last`, without those that are buried meanwhile."""
        for letter in self:
            if letter.place > place_of(last):
                return
            yield letter


def _ids(letters: Iterable[DeadLetter | str]) -> list[str]:
    return [letter.id if isinstance(letter, DeadLetter) else letter for letter in letters]


def _discard(store: Store, *, up_to: str | None, group: str | None) -> int:
    last, total = last_up_to(up_to, store.shard) if up_to else stored.newest_dead(store), 0
    if last and group is not None:
        return discard_group(store, group, last=last)
    while last and (ids := stored.dead_ids(store, _MOST_DISCARDED, last=last)):
        total += stored.discard(store, ids)
    return total


def _check(id: str | None) -> None:
    if id is not None and not is_id(id):
        raise ValueError(f"{id!r} is not the id of a dead letter.")
