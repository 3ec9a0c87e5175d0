"""Batches for a processor."""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self, overload

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.encoding import encoder
from django_jsonbuffer.store.claims import Claim


class Batch(Sequence[Any]):
    """Events as a processor gets them: a sequence of JSON values, in append order."""

    __slots__ = ("_events", "_places", "attempt", "bucket", "id", "others_processed", "rejected")

    def __init__(self, events: Iterable[Any], *, id: str, attempt: int, bucket: str) -> None:
        self._events = tuple(events)
        self.rejected: dict[int, str | BaseException] = {}
        """The reasons of the rejected events, by their place in the batch."""
        self._places: dict[int, list[int]] = {}
        """Places of the events that were not rejected, by the ``id()`` of the event."""
        self.id = id
        """The same on every delivery of this batch. No other batch has this id. So a processor can
        recognize a batch that comes again."""
        self.attempt = attempt
        """Which delivery of the batch this is, counted from 1."""
        self.bucket = bucket
        """Name of the bucket."""
        self.others_processed = False
        """Whether this is a part of a larger batch, and other events of it have been processed."""

    @classmethod
    def of(
        cls, events: Iterable[Any], *, bucket: str = "test", attempt: int = 1, id: str | None = None
    ) -> Self:
        """A batch for a unit test of a processor, with the events as they come back from a bucket.

        A ``Decimal`` is a text, for example, and a tuple is a list. Without `id`, the batch has an
        id that no other batch has. Raises :class:`InvalidEvent` for what is not JSON.
        """
        current = encoder(configuration().encoder)
        array = b"[%b]" % b",".join(map(current.encode, events))
        new_id = f"0-0-{secrets.token_hex(4)}"
        return cls(current.decode(array), id=id or new_id, attempt=attempt, bucket=bucket)

    def __len__(self) -> int:
        return len(self._events)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._events[index]

    def reject(self, event: Any, reason: str | BaseException) -> None:
        """Mark an event as one that cannot be processed. When the processor returns, this event
        becomes a dead letter with this reason, and all other events count as processed.

        Raises ``ValueError`` if the batch has no event that is equal to `event`, or if all of these
        were rejected before.
        """
        if not self._places:
            for at, own in enumerate(self._events):
                if at not in self.rejected:
                    self._places.setdefault(id(own), []).append(at)
        places = self._places.get(id(event)) or self._places_of_equals(event)
        if not places:
            raise ValueError("Only an event of this batch can be rejected, and each once.")
        self.rejected[places.pop(0)] = reason

    def reject_at(self, place: int, reason: str | BaseException) -> None:
        """Like :meth:`reject`, for the event at this place of the batch, counted from 0."""
        if self._places:
            self._places[id(self._events[place])].remove(place)
        self.rejected[place] = reason

    def _places_of_equals(self, event: Any) -> list[int]:
        """The places of events that equal this event, those with the same repr first.

        To Python, 1, 1.0 and True are equal.
        """
        equal = [p for p in self._places.values() if p and self._events[p[0]] == event]
        alike = [p for p in equal if repr(self._events[p[0]]) == repr(event)]
        return [*alike, *equal, []][0]

    def __repr__(self) -> str:
        # The events may be private, and a repr ends up in logs.
        return f"<Batch {self.id} of {self.bucket!r}, attempt {self.attempt}: {len(self)} events>"


class Processed(NamedTuple):
    """A batch that was processed and is not acknowledged yet."""

    claim: Claim
    batch: Batch
    length: int
    """Events in the batch."""

    is_repeat: bool = False
    """Whether an earlier ack of the batch may have been carried out."""

    had_receipt: bool = False
    """Whether the batch was processed before, so that the processor was not called."""

    seconds: float = 0.0
    """How long the call of the processor took, with its transaction."""
