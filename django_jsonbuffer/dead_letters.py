"""Events that could not be processed: to be looked at, replayed, discarded."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from .exceptions import InvalidEvent
from .options import Options
from .store import Letter, Store, position

_PAGE: Final = 100
_MOST_DISCARDED: Final = 1000
_ID: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
_LARGEST: Final = 2**64 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """What could not be processed, and why."""

    id: str
    """A stream id: the server's milliseconds of when it was buried, a dash, a number."""

    raw: bytes = field(repr=False)
    """The event, byte for byte. Of a batch that nobody could read, the whole batch."""

    size: int
    """Bytes of the event; more than those of `raw` where that was cut."""

    error: str = field(repr=False)
    """What is wrong with it: of what a processor raised, its kind and message."""

    traceback: str = field(repr=False)
    """Of what a processor raised, its last 20,000 characters; empty for other errors."""

    batch: str
    """Id of the batch that it came in; empty for what was found at the key of the open batch."""

    attempts: int
    """How often a processor failed with it, in whatever batch."""

    first_failed: datetime | None
    last_failed: datetime | None

    decode: Callable[[bytes], list[Any]] = field(repr=False, compare=False)

    @property
    def event(self) -> Any:
        """The event as a JSON value. Raises :class:`InvalidEvent` when it is none."""
        try:
            (event,) = self.decode(b"[%b]" % self.raw)
        except Exception as error:  # of the project's own encoder, anything
            raise InvalidEvent(
                f"Dead letter {self.id} holds no event: see its raw bytes."
            ) from error
        return event


class DeadLetters:
    """The dead letters of one bucket, oldest first.

    Iterating reads them page by page: it holds no more than a hundred at a time, and may see what
    is buried meanwhile.
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
        """The dead letter of that id. Raises ``KeyError``."""
        letter = self._store.find_dead(id) if is_id(id) else None
        if letter is None:
            raise KeyError(id)
        return self._read(letter)

    def page(
        self, limit: int = _PAGE, *, after: str | None = None, most_bytes: int = 0
    ) -> list[DeadLetter]:
        """At most so many: the oldest, or those that follow on the id `after`.

        With `most_bytes`, no more than these of each event.
        """
        if after is not None and not is_id(after):
            raise ValueError(f"{after!r} is no id of a dead letter.")
        letters = self._store.list_dead(limit, after=after, most_bytes=most_bytes)
        return [self._read(letter) for letter in letters]

    def replay(self, *letters: DeadLetter | str) -> int:
        """Let these be processed again, in this order, behind all that is pending. An id will do
        for a letter. Returns how many there were: others may have replayed or discarded some.

        Raises :class:`InvalidEvent`, and replays none, when one of them holds no event.
        """
        found = {
            raw.id: self._read(raw)
            for id in _ids(letters)
            if is_id(id) and (raw := self._store.find_dead(id))
        }
        for letter in found.values():
            letter.event  # noqa: B018  (raises when there is none)
        return self._replay(found.values())

    def replay_all(self, *, up_to: str | None = None) -> int:
        """Let all be processed again, or those up to the id `up_to`; but none that holds no event.
        Returns how many there were.
        """
        present = self._up_to(up_to or self._store.newest_dead())
        return self._replay(letter for letter in present if _holds_an_event(letter))

    def discard(self, *letters: DeadLetter | str) -> int:
        """Remove these for ever. An id will do for a letter. Returns how many there were."""
        ids = [id for id in _ids(letters) if is_id(id)]
        return sum(
            self._store.discard(ids[start : start + _MOST_DISCARDED])
            for start in range(0, len(ids), _MOST_DISCARDED)
        )

    def newest(self) -> str | None:
        """The id of the newest. None when there is none."""
        return self._store.newest_dead()

    def discard_all(self, *, up_to: str | None = None) -> int:
        """Remove all for ever, or those up to the id `up_to`. Returns how many there were."""
        if up_to is not None and not is_id(up_to):
            raise ValueError(f"{up_to!r} is no id of a dead letter.")
        total, last = 0, up_to or self._store.newest_dead()
        while last and (ids := self._store.dead_ids(_MOST_DISCARDED, last=last)):
            total += self._store.discard(ids)
        return total

    def _up_to(self, last: str | None) -> Iterator[DeadLetter]:
        """Those that there are, and none of those that are buried meanwhile."""
        if last is None:
            return
        for letter in self:
            if position(letter.id) > position(last):
                return
            yield letter

    def _replay(self, letters: Iterable[DeadLetter]) -> int:
        """In batches as large as those of the bucket."""
        replayed = size = 0
        ids: list[str] = []
        for letter in letters:
            is_full = len(ids) == (self._options.batch_size or _PAGE)
            if ids and (is_full or size + len(letter.raw) > self._options.batch_bytes):
                replayed += self._store.replay(ids)
                ids, size = [], 0
            ids.append(letter.id)
            size += len(letter.raw) + 1
        return replayed + (self._store.replay(ids) if ids else 0)

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
            first_failed=_moment(text.get("first_failed")),
            last_failed=_moment(text.get("last_failed")),
            decode=self._decode,
        )


def _ids(letters: Iterable[DeadLetter | str]) -> list[str]:
    return [letter.id if isinstance(letter, DeadLetter) else letter for letter in letters]


def is_id(id: object) -> bool:
    """Whether it may be the id of a dead letter."""
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
    """The time that a number of milliseconds stands for, where another client has not spoilt it."""
    milliseconds = _whole(text)
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
    except (ValueError, OverflowError):
        return None
