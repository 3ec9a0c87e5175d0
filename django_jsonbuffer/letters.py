"""A dead letter: one event that could not be processed, and why."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

from .exceptions import InvalidEvent
from .store.claims import position
from .store.dead_letters import Letter
from .store.keys import shard_name, split_shard

_ID: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}(#[1-9][0-9]{0,2})?")
_LARGEST: Final = 2**64 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """One event that could not be processed, and why."""

    id: str
    """A stream id: the time of the burial by the clock of Redis (ms), a dash and a number. If the
    event is in a shard above 0, ``#`` and the number of the shard follow."""

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

    @classmethod
    def of(cls, letter: Letter, shard: int, decode: Callable[[bytes], list[Any]]) -> Self:
        """From what Redis has of the shard."""
        text = {name: value.decode(errors="replace") for name, value in letter.fields.items()}
        raw = letter.fields.get("event", b"")
        return cls(
            id=shard_name(letter.id, shard),
            raw=raw,
            size=_whole(text.get("event_bytes")) or len(raw),
            error=text.get("error", ""),
            traceback=text.get("traceback", ""),
            batch=shard_name(batch, shard) if (batch := text.get("batch")) else "",
            attempts=_whole(text.get("attempts")) or 0,
            traceparent=f"00-{trace}-01" if (trace := text.get("trace")) else "",
            first_failed=_moment(text.get("first_failed")),
            last_failed=_moment(text.get("last_failed")),
            decode=decode,
        )

    @property
    def place(self) -> tuple[int, int, int]:
        """Its place among the dead letters of all shards."""
        return place_of(self.id)


def place_of(id: str) -> tuple[int, int, int]:
    """The place of a dead letter among those of all shards."""
    stored_id, shard = split_shard(id)
    return *position(stored_id), shard


def first_behind(after: str, shard: int) -> str:
    """Where the dead letters of a shard begin that are behind one of any shard, for Redis."""
    id, its_shard = split_shard(after)
    return f"({id}" if shard <= its_shard else id


def last_up_to(last: str, shard: int) -> str:
    """Where the dead letters of a shard end that are not behind one of any shard, for Redis."""
    id, its_shard = split_shard(last)
    return id if shard <= its_shard else f"({id}"


def is_id(id: object) -> bool:
    """Whether the value has the form of a dead letter's id."""
    return isinstance(id, str) and _ID.fullmatch(id) is not None and max(place_of(id)) <= _LARGEST


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
