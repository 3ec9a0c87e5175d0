"""Events that could not be processed, to look at, replay or discard."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from .exceptions import InvalidEvent
from .options import Options
from .store import dead_letters as stored
from .store.claims import position
from .store.dead_letters import Letter
from .store.store import Store

_PAGE: Final = 100
_MOST_DISCARDED: Final = 1000
_ID: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
_LARGEST: Final = 2**64 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """One event that could not be processed, and why."""

    id: str
    """A stream id: the time of the burial by the clock of Redis (ms), a dash and a number."""

    raw: bytes = field(repr=False)
    """The event, byte for byte. If its batch was not a JSON array: the whole batch."""

    size: int
    """Bytes of the whole event. `raw` has fewer bytes if it was cut to `most_bytes`."""

    error: str = field(repr=False)
    """Why the event could not be processed. If the processor raised: class and message."""

    traceback: str = field(repr=False)
    """The end of the traceback, see ``LONGEST_TRACEBACK`` in ``draining/failures.py``. Empty if the
    processor did not raise."""

    batch: str
    """Id of the batch that the event was in. Empty if it was in the open batch, or taken."""

    attempts: int
    """Failed attempts: how often the processor failed with the event alone while others succeeded.
    A rejection is one as well. Other deliveries do not count."""

    traceparent: str
    """The span that appended the event, if it was traced, as the header `traceparent` names it."""

    first_failed: datetime | None
    last_failed: datetime | None

    decode: Callable[[bytes], list[Any]] = field(repr=False, compare=False)

    @property
    def event(self) -> Any:
        """The event as a JSON value. Raises :class:`InvalidEvent` if `raw` is not JSON."""
        try:
            (event,) = self.decode(b"[%b]" % self.raw)
        except Exception as error:  # a project's own encoder may raise anything
            raise InvalidEvent(
                f"Dead letter {self.id} does not hold JSON, so it cannot be replayed. Look at its "
                "raw bytes, and discard it."
            ) from error
        return event


class DeadLetters:
    """The dead letters of one bucket, oldest first.

    To iterate over it reads the dead letters page by page, with at most a hundred in memory. This
    may also yield dead letters that are buried meanwhile. ``dead[id]`` is a single dead letter.
    """

    def __init__(
        self, store: Store, options: Options, decode: Callable[[bytes], list[Any]]
    ) -> None:
        self._store = store
        self._options = options
        self._decode = decode

    def __iter__(self) -> Iterator[DeadLetter]:
        after = None
        while page := self.page(_PAGE, after=after):
            yield from page
            after = page[-1].id

    def __getitem__(self, id: str) -> DeadLetter:
        """The dead letter with this id. Raises ``KeyError`` if there is none."""
        letter = stored.find_dead(self._store, id) if is_id(id) else None
        if letter is None:
            raise KeyError(id)
        return self._read(letter)

    def page(
        self, limit: int = _PAGE, *, after: str | None = None, most_bytes: int = 0
    ) -> list[DeadLetter]:
        """The oldest dead letters, at most `limit` of them. With `after`, those behind this id.

        With `most_bytes`, `raw` has at most so many bytes of each event.
        """
        if after is not None and not is_id(after):
            raise ValueError(f"{after!r} is not the id of a dead letter.")
        letters = stored.list_dead(self._store, limit, after=after, most_bytes=most_bytes)
        return [self._read(letter) for letter in letters]

    def replay(self, *letters: DeadLetter | str) -> int:
        """Append these dead letters again, in this order, after all pending events. Each may be
        given by its id. Returns how many were replayed: somebody else may have replayed or
        discarded some of them before.

        Raises :class:`InvalidEvent`, and replays none, if one of them is not JSON.
        """
        found = {
            raw.id: self._read(raw)
            for id in _ids(letters)
            if is_id(id) and (raw := stored.find_dead(self._store, id))
        }
        for letter in found.values():
            letter.event  # noqa: B018  (raises if it is not JSON)
        return self._replay(found.values())

    def replay_all(self, *, up_to: str | None = None) -> int:
        """Replay all dead letters, or those up to the id `up_to`. If one is not JSON, it stays.
        Returns how many were replayed.
        """
        present = self._up_to(up_to or stored.newest_dead(self._store))
        return self._replay(letter for letter in present if _holds_an_event(letter))

    def discard(self, *letters: DeadLetter | str) -> int:
        """Delete dead letters for ever. Each may be given by its id. Returns how many it found."""
        ids = [id for id in _ids(letters) if is_id(id)]
        return sum(
            stored.discard(self._store, ids[start : start + _MOST_DISCARDED])
            for start in range(0, len(ids), _MOST_DISCARDED)
        )

    def newest(self) -> str | None:
        """The id of the newest dead letter, or None."""
        return stored.newest_dead(self._store)

    def discard_all(self, *, up_to: str | None = None) -> int:
        """Delete all dead letters for ever, or those up to the id `up_to`. Returns how many."""
        if up_to is not None and not is_id(up_to):
            raise ValueError(f"{up_to!r} is not the id of a dead letter.")
        total, last = 0, up_to or stored.newest_dead(self._store)
        while last and (ids := stored.dead_ids(self._store, _MOST_DISCARDED, last=last)):
            total += stored.discard(self._store, ids)
        return total

    def _up_to(self, last: str | None) -> Iterator[DeadLetter]:
        """The dead letters up to the id `last`, without those that are buried meanwhile."""
        if last is None:
            return
        for letter in self:
            if position(letter.id) > position(last):
                return
            yield letter

    def _replay(self, letters: Iterable[DeadLetter]) -> int:
        """Replay in batches that are at most as large as those of the bucket."""
        replayed = size = 0
        ids: list[str] = []
        for letter in letters:
            is_full = len(ids) == (self._options.batch_size or _PAGE)
            if ids and (is_full or size + len(letter.raw) > self._options.batch_bytes):
                replayed += stored.replay(self._store, ids)
                ids, size = [], 0
            ids.append(letter.id)
            size += len(letter.raw) + 1
        return replayed + (stored.replay(self._store, ids) if ids else 0)

    def _read(self, letter: Letter) -> DeadLetter:
        text = {name: value.decode(errors="replace") for name, value in letter.fields.items()}
        raw = letter.fields.get("event", b"")
        return DeadLetter(
            id=letter.id,
            raw=raw,
            size=_whole(text.get("event_bytes")) or len(raw),
            error=text.get("error", ""),
            traceback=text.get("traceback", ""),
            batch=text.get("batch", ""),
            attempts=_whole(text.get("attempts")) or 0,
            traceparent=f"00-{trace}-01" if (trace := text.get("trace")) else "",
            first_failed=_moment(text.get("first_failed")),
            last_failed=_moment(text.get("last_failed")),
            decode=self._decode,
        )


def _ids(letters: Iterable[DeadLetter | str]) -> list[str]:
    return [letter.id if isinstance(letter, DeadLetter) else letter for letter in letters]


def is_id(id: object) -> bool:
    """Whether the value has the form of a dead letter's id."""
    return isinstance(id, str) and _ID.fullmatch(id) is not None and max(position(id)) <= _LARGEST


def _holds_an_event(letter: DeadLetter) -> bool:
    try:
        letter.event  # noqa: B018
    except InvalidEvent:
        return False
    return True


def _whole(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,15}", text) else None


def _moment(text: str | None) -> datetime | None:
    """The time of a number of milliseconds. None if the field is missing, or another client wrote
    something else there.
    """
    milliseconds = _whole(text)
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
    except (ValueError, OverflowError):
        return None
