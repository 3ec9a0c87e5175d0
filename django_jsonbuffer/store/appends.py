"""What an append sends to Redis, and what the reply means."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from math import inf
from typing import Any, Final, NamedTuple

from django_jsonbuffer.exceptions import BucketFull, EventTooLarge, StampOvertaken
from django_jsonbuffer.limits import MAX_APPEND_BATCHES, MAX_APPEND_BYTES, Limits
from django_jsonbuffer.stamps import REMEMBERED, Stamp

from .errors import not_redis
from .replies import shape_of
from .scripts import APPEND, MILLISECOND
from .traces import Traces
from .wire import Packed, packed

_STRING_BYTES: Final = 512 * 1024 * 1024
"""Most bytes of a string in Redis."""

_STORED: Final = (b"stored", b"repeated", b"dropped")


def size_of(events: Sequence[bytes]) -> int:
    """Bytes of the events of one append, with a comma for each."""
    return sum(map(len, events)) + len(events)


def splices(events: Sequence[bytes], size: int, limits: Limits) -> tuple[bytes, list[bytes]]:
    """An append as splices, one for each batch: their numbers of events (as text), their texts.

    A splice is ``,<event>,<event>]``: the script writes it over the closing bracket of the open
    batch. `size` is the result of :func:`size_of`. Raises :class:`EventTooLarge` if one call may
    not have so many bytes or batches.
    """
    if size < min(limits.batch_bytes, MAX_APPEND_BYTES) and len(events) <= (
        limits.batch_size or len(events)
    ):
        return b"%d" % len(events), [b",%b]" % b",".join(events)]
    pieces = pieces_of(events, size, limits)
    counts = b" ".join([b"%d" % len(piece) for piece in pieces])
    return counts, [b",%b]" % b",".join(piece) for piece in pieces]


def pieces_of(events: Sequence[bytes], size: int, limits: Limits) -> list[Sequence[bytes]]:
    """The events cut into batches. Raises :class:`EventTooLarge` as :func:`splices` does."""
    batch_size, batch_bytes = limits.batch_size, limits.batch_bytes
    if batch_size is None or (len(events) <= batch_size and 1 + size <= batch_bytes):
        pieces = [events]
    else:
        pieces = [*_pieces(events, batch_size, batch_bytes)]
    if size > MAX_APPEND_BYTES or len(pieces) > MAX_APPEND_BATCHES:
        raise EventTooLarge(
            f"The {len(events):,} events of one append have {size:,} bytes as JSON and fill "
            f"{len(pieces):,} batches. At most {MAX_APPEND_BYTES:,} bytes and "
            f"{MAX_APPEND_BATCHES:,} batches are allowed. Append the events in smaller portions."
        )
    return pieces


def _pieces(events: Iterable[bytes], batch_size: int, batch_bytes: int) -> Iterator[list[bytes]]:
    piece: list[bytes] = []
    size = 1
    for event in events:
        if piece and (len(piece) == batch_size or size + 1 + len(event) > batch_bytes):
            yield piece
            piece, size = [], 1
        piece.append(event)
        size += 1 + len(event)
    yield piece


def trace_args(traces: Traces, counts: bytes) -> tuple[bytes, ...]:
    """The traces as arguments of the script: those of each splice.

    `counts` are the numbers of events of the splices.
    """
    if b" " not in counts:
        return (str(traces).encode(),)
    ends = [*accumulate(map(int, counts.split()))]
    return tuple(str(traces.cut(*of)).encode() for of in pairwise([0, *ends]))


def stamp_args(stamp: Stamp) -> tuple[bytes, bytes]:
    """The stamp as arguments of the script: the producer, and its number with the nonce."""
    producer, sequence, nonce = stamp
    return producer.encode(), b"%016d %b" % (sequence, nonce.encode())


def packed_limits(limits: Limits) -> Packed:
    """The first argument of the script, which all appends to a bucket share."""
    numbers = (
        REMEMBERED // MILLISECOND,
        limits.batch_size or inf,
        limits.batch_bytes if limits.batch_size else _STRING_BYTES,
        limits.max_pending or inf,
        limits.max_pending_bytes or inf,
        limits.has_receipts,
    )
    return packed(struct.pack("<5dB", *numbers) + limits.overflow.encode())


class Outcome(NamedTuple):
    """What Redis reports of an append in the cases that are not usual."""

    is_new: int
    """1 if the bucket had no counters before, so that it may be missing in the catalog as well."""

    foreign: int
    """Foreign values that became dead letters."""

    dropped: int
    """Events that were dropped because the bucket was full."""

    drops_newest: bool
    """Whether they are those of the append. Otherwise they were the oldest of the bucket."""


def was_stored(reply: Any) -> bool:
    """Whether a reply says that Redis has the append. Also if it had the append before."""
    code = reply[0] if type(reply) is list and reply else reply
    return code in _STORED


def outcome(reply: Any, events: Sequence[bytes], name: str) -> Outcome:
    """What a reply other than ``stored`` means.

    Raises :class:`BucketFull` if there was no room, and :class:`StampOvertaken` if another append
    has the stamp.
    """
    if type(reply) is bytes or shape_of(reply) not in APPEND.replies:
        raise not_redis(name)
    code, *figures = reply
    if code == b"large":
        raise BucketFull(
            f"The open batch of bucket {name!r} has no room for {sum(map(len, events)):,} more "
            "bytes: a string in Redis has at most 512 MiB. Nothing was written. Let another client "
            "take the batch, or give the bucket a batch_size."
        )
    if code == b"full":
        raise BucketFull(
            f"Bucket {name!r} has no room for {len(events):,} more events: see its max_pending "
            "and max_pending_bytes, which hold for each of its shards. Nothing was written. Start "
            "more workers, or raise the options."
        )
    if code == b"overtaken":
        raise StampOvertaken(
            f"A copy of this process has appended to bucket {name!r} with the same producer. "
            "Nothing was written."
        )
    if code not in _STORED:
        raise not_redis(name)
    is_new, foreign, dropped = figures
    return Outcome(is_new, foreign, dropped, drops_newest=code == b"dropped")
