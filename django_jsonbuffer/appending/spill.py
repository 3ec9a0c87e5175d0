"""The spill: events that Redis could not accept, kept in a file of this machine until it can."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Final

from django_jsonbuffer import isolation
from django_jsonbuffer.exceptions import (
    JSONBufferError,
    SpillFull,
    SpillUnavailable,
    StampOvertaken,
)
from django_jsonbuffer.stamps import Stamp

from . import spill_rows
from .spill_file import Identity, SpillFile
from .spill_rows import Row, pack, unpack

logger = logging.getLogger("django_jsonbuffer")

LOOK_AGAIN_SECONDS: Final = 1.0
"""How long an answer of `holds` is reused. So events that another process spills are noticed after
this time at the latest."""

_PORTION: Final = 100

Send = Callable[[Sequence[bytes], Stamp], None]
"""Sends the events of one append to Redis."""


class Spill:
    """The spilled events of all buckets, in a file in one folder.

    A bucket is named by the `key` of its open batch. A row of the file is one append. Rows are sent
    in order, and each is stored once, however often it is sent: see :mod:`.spill_rows`. There are
    two exceptions. If an append had reached Redis after all, and its row waits here for more than a
    day, the row is stored again, because a bucket remembers a producer for a day. The same can
    happen if a copy of this process has used the producer of an undecided append.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._file = SpillFile(folder)
        self.path: Final = self._file.path
        self._holds: dict[str, tuple[bool, float]] = {}
        """By key: the last answer of `holds`, and until when it is reused."""
        self._resumes_at: dict[str, float] = {}

    def put(
        self, key: str, events: Sequence[bytes], *, stamp: Stamp | None, max_bytes: int
    ) -> bool:
        """Keep the events of one append, all or none. True if the file had none of the bucket.

        Raises :class:`SpillFull` if the bucket would have more than `max_bytes` in the file, and
        :class:`SpillUnavailable` if the file cannot be written.
        """
        packed = pack(events)
        with self._file.write() as connection:
            held = spill_rows.bytes_of(connection, key)
            size = (held or 0) + len(packed)
            if size > max_bytes:
                raise SpillFull(
                    f"The spill of {key} is full: with these events it would have {size:,} bytes "
                    f"in {self.path}, but max_spill_bytes is {max_bytes:,}. Nothing was written. "
                    "Make Redis available again, or raise max_spill_bytes."
                )
            spill_rows.insert(connection, key, packed, stamp, size=size)
        self._remember(key, holds=True)
        return held is None

    def may_hold(self, key: str) -> bool:
        """Whether events of the bucket may wait in the file. Does not look into the file."""
        answer, stale_at = self._holds.get(key, (False, 0.0))
        return answer or time.monotonic() >= stale_at

    def holds(self, key: str) -> bool:
        """Whether events of the bucket wait in the file. The answer may be a second old."""
        answer, stale_at = self._holds.get(key, (False, 0.0))
        if time.monotonic() < stale_at:
            return answer
        # Remember "no" before reading. So a file that cannot be read is not tried more often than
        # once a second either.
        self._remember(key, holds=False)
        if os.path.exists(self.path):
            with self._file.read() as connection:
                held = spill_rows.bytes_of(connection, key)
            self._remember(key, holds=held is not None)
        return self._holds[key][0]

    def forward(self, key: str, send: Send, *, limit: int | None = None) -> int:
        """Send the spilled appends of a bucket, the oldest first, and remove each that was sent.

        Sends at most `limit` appends, and returns the number of their events. When `send` raises,
        that append and all later appends stay. Does nothing while another thread or process
        forwards. With a limit, it also does nothing for a second after a failure.
        """
        if limit is not None and time.monotonic() < self._resumes_at.get(key, 0):
            return 0
        total, is_ours = 0, False
        try:
            if not (is_ours := self._file.begin_forwarding()):
                return 0
            while limit != 0:
                portion = min(_PORTION, limit or _PORTION)
                count, events = self._forward_portion(key, send, portion)
                total += events
                limit = None if limit is None else limit - count
                if count < portion:
                    break
        except JSONBufferError:
            self._resumes_at[key] = time.monotonic() + LOOK_AGAIN_SECONDS
            raise
        finally:
            if is_ours:
                self._file.end_forwarding()
        return total

    def close(self) -> None:
        self._file.close()

    def _remember(self, key: str, *, holds: bool) -> None:
        self._holds[key] = holds, time.monotonic() + LOOK_AGAIN_SECONDS

    def _forward_portion(self, key: str, send: Send, portion: int) -> tuple[int, int]:
        """Returns how many appends were sent, and how many events."""
        sent = events = last = 0
        with self._file.read():
            file = self._file.identity
        try:
            while sent < portion and (row := self._next(key, last, file)):
                unpacked = self._unpacked(row)
                if self._is_sent(key, row, unpacked, send, file):
                    sent, events, last = sent + 1, events + len(unpacked), row.id
        finally:
            if last:
                self._remove(key, last, file)
        return sent, events

    def _next(self, key: str, last: int, file: Identity) -> Row | None:
        """The row behind the id `last`. None if there is none, or if the file was replaced.

        Rows are read one at a time, because all events of a bucket may not fit into memory.
        """
        with self._file.read() as connection:
            if file != self._file.identity:
                return None
            return spill_rows.first_behind(connection, key, last)

    def _is_sent(
        self, key: str, row: Row, events: Sequence[bytes], send: Send, file: Identity
    ) -> bool:
        """Send a row. False if it has got a new stamp instead: then read it again."""
        if row.stamp is not None:
            try:
                send(events, row.stamp)
            except StampOvertaken:
                logger.warning(
                    "A spilled append of %s is undecided, and a copy of this process has used its "
                    "producer. The append is sent again, and may be stored twice.",
                    key,
                )
            else:
                return True
        # Synchronous: a row that Redis has must not lose its stamp if the machine crashes.
        with self._file.write(synchronous=True) as connection:
            if file != self._file.identity:
                return False
            if row.stamp is None:
                spill_rows.stamp_group(connection, key)
            else:
                spill_rows.stamp_again(connection, row.id)
        return False

    def _unpacked(self, row: Row) -> list[bytes]:
        try:
            return unpack(row.packed)
        except (TypeError, ValueError) as error:
            raise SpillUnavailable(
                f"Row {row.id} of the table appends in {self.path} is damaged. This row and all "
                "later rows of its bucket stay in the file. Look at the row, and delete it."
            ) from error

    def _remove(self, key: str, last: int, file: Identity) -> None:
        """Remove the rows of the bucket up to the last one that was sent."""
        with self._file.write() as connection:
            # If the file was replaced, other rows have these ids in the present file.
            is_empty = file == self._file.identity and spill_rows.remove(connection, key, last)
        if is_empty:
            self._remember(key, holds=False)


_spills: Final[dict[str, Spill]] = {}
"""The spill of each folder, by absolute path."""


@isolation.at_end
def _close_spill(of: isolation.Isolation) -> None:
    if of.has_spilled and (opened := _spills.pop(str(of.spill_dir), None)) is not None:
        opened.close()


def spill(folder: str | os.PathLike[str]) -> Spill:
    """The spill of a folder, one for all threads of this process."""
    key = os.path.abspath(folder)
    return _spills.get(key) or _spills.setdefault(key, Spill(key))


def forward(
    folder: str | os.PathLike[str],
    key: str,
    send: Send,
    *,
    bucket: str,
    limit: int | None = None,
) -> int:
    """Send the spilled events of a bucket to Redis, and log how many. Returns their number.

    `key` is the key of the open batch. `bucket` is the name of the bucket, for the log.
    """
    spilled = spill(folder)
    if not spilled.holds(key):
        return 0
    forwarded = spilled.forward(key, send, limit=limit)
    if forwarded:
        text = "Bucket %s: %d spilled events were forwarded to Redis."
        logger.info(text, bucket, forwarded, extra={"bucket": bucket})
    return forwarded
