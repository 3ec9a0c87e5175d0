"""The spill: events that Redis could not accept, kept in a file of this machine until it can."""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from django_jsonbuffer.exceptions import JSONBufferError, SpillFull, SpillUnavailable
from django_jsonbuffer.stamps import Stamp

from .producers import Producer
from .spill_file import FILE, LOCK_FILE, Identity, SpillFile, pack, unpack

logger = logging.getLogger("django_jsonbuffer")

LOOK_AGAIN_SECONDS: Final = 1.0
"""How long an answer of `holds` is reused. So events that another process spills are noticed after
this time at the latest."""

_PORTION: Final = 100

Send = Callable[[Sequence[bytes], Stamp], None]
"""Sends the events of one append to Redis."""


class _Row(NamedTuple):
    """One append of a bucket, as the file has it."""

    id: int
    producer: str
    sequence: int
    packed: bytes
    file: Identity


class Spill:
    """The spilled events of all buckets, in a file in one folder.

    A bucket is named by the `key` of its open batch. A row of the file is one append. An undecided
    append keeps its stamp. An append that was never sent to Redis gets a stamp here. Its producer
    is in the memory of this process, one for each connection to SQLite, and not in the file. So two
    copies of the file never have the same stamp for different events.

    Rows are sent in order, so the sequence numbers of a producer rise. Redis takes a row that is
    sent again for a repeat. So each row is stored once, however often it is sent from here.
    There is one exception: if an append had reached Redis after all, and its row waits here for
    more than a day, the row is stored again, because a bucket remembers a producer for a day.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._file = SpillFile(folder)
        self.path: Final = self._file.path
        self._producer = Producer()
        self._producer_of: sqlite3.Connection | None = None
        """The connection that the producer belongs to."""
        self._holds: dict[str, tuple[bool, float]] = {}
        """By key: the last answer of `holds`, and until when it is reused."""
        self._resumes_at: dict[str, float] = {}

    def put(
        self, key: str, events: Sequence[bytes], *, stamp: Stamp | None, max_bytes: int
    ) -> None:
        """Keep the events of one append, all or none.

        Raises :class:`SpillFull` if the bucket would have more than `max_bytes` in the file, and
        :class:`SpillUnavailable` if the file cannot be written.
        """
        packed = pack(events)
        with self._file.write() as connection:
            found = connection.execute("SELECT bytes FROM sizes WHERE bucket = ?", [key]).fetchone()
            size = (found[0] if found else 0) + len(packed)
            if size > max_bytes:
                raise SpillFull(
                    f"The spill of {key} is full: with these events it would have {size:,} bytes "
                    f"in {self.path}, but max_spill_bytes is {max_bytes:,}. Nothing was written. "
                    "Make Redis available again, or raise max_spill_bytes."
                )
            connection.execute("INSERT OR REPLACE INTO sizes VALUES (?, ?)", [key, size])
            connection.execute(
                "INSERT INTO appends (bucket, producer, sequence, events) VALUES (?, ?, ?, ?)",
                [key, *(stamp or self._next_stamp(connection)), packed],
            )
        if not found:
            logger.warning("Events of %s are spilled to %s.", key, self.path)
        self._remember(key, holds=True)

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
                found = connection.execute("SELECT 1 FROM sizes WHERE bucket = ?", [key]).fetchone()
            self._remember(key, holds=found is not None)
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

    def _next_stamp(self, connection: sqlite3.Connection) -> Stamp:
        if connection is not self._producer_of:
            self._producer, self._producer_of = Producer(), connection
        return self._producer.next_stamp()

    def _remember(self, key: str, *, holds: bool) -> None:
        self._holds[key] = holds, time.monotonic() + LOOK_AGAIN_SECONDS

    def _forward_portion(self, key: str, send: Send, portion: int) -> tuple[int, int]:
        """Returns how many appends were sent, and how many events."""
        sent = events = 0
        last: _Row | None = None
        try:
            while sent < portion and (row := self._next(key, last)):
                unpacked = self._unpacked(row)
                send(unpacked, Stamp(row.producer, row.sequence))
                sent, events, last = sent + 1, events + len(unpacked), row
        finally:
            if last is not None:
                self._remove(key, last)
        return sent, events

    def _next(self, key: str, last: _Row | None) -> _Row | None:
        """The row behind `last`, or the first row of the bucket if `last` is None.

        None if there is no further row, or if the file is not the file that `last` came from. Rows
        are read one at a time, because all events of a bucket may not fit into memory.
        """
        with self._file.read() as connection:
            if last is not None and last.file != self._file.identity:
                return None
            row = connection.execute(
                "SELECT id, producer, sequence, events FROM appends "
                "WHERE bucket = ? AND id > ? ORDER BY id LIMIT 1",
                [key, last.id if last else 0],
            ).fetchone()
            return None if row is None else _Row._make([*row, self._file.identity])

    def _unpacked(self, row: _Row) -> list[bytes]:
        try:
            return unpack(row.packed)
        except (TypeError, ValueError) as error:
            raise SpillUnavailable(
                f"Row {row.id} of the table appends in {self.path} is damaged. This row and all "
                "later rows of its bucket stay in the file. Look at the row, and delete it."
            ) from error

    def _remove(self, key: str, last: _Row) -> None:
        """Remove the rows of the bucket up to the last one that was sent."""
        with self._file.write() as connection:
            if last.file != self._file.identity:
                return  # the file was replaced, and other rows have these ids in the present file
            connection.execute(
                "UPDATE sizes SET bytes = bytes - (SELECT coalesce(sum(length(events)), 0) "
                "FROM appends WHERE bucket = :key AND id <= :last) WHERE bucket = :key",
                {"key": key, "last": last.id},
            )
            connection.execute("DELETE FROM appends WHERE bucket = ? AND id <= ?", [key, last.id])
            emptied = connection.execute(
                "DELETE FROM sizes WHERE bucket = ? AND bytes <= 0", [key]
            ).rowcount
        if emptied:
            self._remember(key, holds=False)


_spills: Final[dict[str, Spill]] = {}
"""The spill of each folder, by absolute path."""


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
        logger.info("Bucket %s: %d spilled events were forwarded to Redis.", bucket, forwarded)
    return forwarded


def is_writable(folder: str | os.PathLike[str]) -> bool:
    """Whether events can be spilled to the folder. A missing folder counts if it can be made."""
    path = Path(folder)
    if not path.exists():
        return os.access(path.parent, os.W_OK | os.X_OK)
    files = [path / FILE, path / LOCK_FILE]
    return (
        path.is_dir()
        and os.access(path, os.W_OK | os.X_OK)
        and all(os.access(file, os.R_OK | os.W_OK) for file in files if file.exists())
    )
