"""Events that Redis could not take, kept in a file of this machine until it can."""

import atexit
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .exceptions import JSONBufferError, SpillFull, SpillUnavailable
from .producers import Producer, Stamp

if TYPE_CHECKING:
    from .options import Options
    from .store import Store

logger = logging.getLogger("django_jsonbuffer")

FILE: Final = "jsonbuffer.sqlite3"
LOCK_FILE: Final = "jsonbuffer-forwarding.sqlite3"

LOOK_AGAIN_SECONDS: Final = 1.0
"""Until it is noticed that another process has spilled."""

_BUSY_SECONDS: Final = 10.0
_PORTION: Final = 100

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS appends (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket TEXT NOT NULL, producer TEXT NOT NULL, sequence INTEGER NOT NULL, events BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS appends_of_bucket ON appends (bucket, id);
CREATE TABLE IF NOT EXISTS sizes (bucket TEXT PRIMARY KEY, bytes INTEGER NOT NULL);
"""


class Spill:
    """The spilled events of all buckets of one folder: a SQLite file, in WAL mode.

    `key` is everywhere that of a bucket's open batch.

    A row is one append. Those that were never sent to Redis get the stamp of a producer that each
    connection has for itself, so that no copy of the file, and no file that was restored, stamps
    other events alike; an append that is undecided keeps its stamp. As rows are sent in their
    order, each is stored once, however often it is sent from here. A row that had reached Redis
    after all, and waits here for longer than a day, which is how long a bucket remembers a
    producer, is stored once more.

    Appends survive the death of the process, and not that of the machine: ``synchronous=NORMAL``.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path: Final = Path(folder) / FILE
        self._lock_path = Path(folder) / LOCK_FILE
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)
        """Device and inode of what the connection has open."""
        self._producer = Producer()
        self._is_in_use = False
        self._forwarder: sqlite3.Connection | None = None
        """Holds the lock while this process forwards."""
        self._holds: dict[str, tuple[bool, float]] = {}
        self._resumes_at: dict[str, float] = {}

    def put(
        self, key: str, events: Sequence[bytes], *, stamp: Stamp | None, max_bytes: int
    ) -> None:
        """Keep the events of one append, all or none.

        Raises :class:`SpillFull` when those of the bucket would have more than `max_bytes`, and
        :class:`SpillUnavailable` when the file cannot be written.
        """
        packed = _packed(events)
        with self._write() as connection:
            found = connection.execute("SELECT bytes FROM sizes WHERE bucket = ?", [key]).fetchone()
            size = (found[0] if found else 0) + len(packed)
            if size > max_bytes:
                raise SpillFull(
                    f"The spill of {key} is full: {self.path} would hold {size:,} bytes of it, "
                    f"more than the {max_bytes:,} of max_spill_bytes."
                )
            connection.execute("INSERT OR REPLACE INTO sizes VALUES (?, ?)", [key, size])
            connection.execute(
                "INSERT INTO appends (bucket, producer, sequence, events) VALUES (?, ?, ?, ?)",
                [key, *(stamp or self._producer.next_stamp()), packed],
            )
        if not found:
            logger.warning("Events of %s are spilled to %s.", key, self.path)
        self._holds[key] = True, time.monotonic() + LOOK_AGAIN_SECONDS

    def holds(self, key: str) -> bool:
        """Whether events of the bucket wait here, as of the last second."""
        answer, stale_at = self._holds.get(key, (False, 0.0))
        if time.monotonic() < stale_at:
            return answer
        # Whatever comes of it: a file that cannot be read is tried once a second, too.
        self._holds[key] = False, time.monotonic() + LOOK_AGAIN_SECONDS
        if os.path.exists(self.path):
            with self._read() as connection:
                found = connection.execute("SELECT 1 FROM sizes WHERE bucket = ?", [key]).fetchone()
            self._holds[key] = found is not None, time.monotonic() + LOOK_AGAIN_SECONDS
        return self._holds[key][0]

    def forward(
        self,
        key: str,
        send: Callable[[Sequence[bytes], Stamp], None],
        *,
        limit: int | None = None,
    ) -> int:
        """Send at most so many appends, the oldest first, and remove them. Returns their events.

        When `send` raises, that append and all behind it stay. Does nothing while another thread or
        process forwards, and with a limit, as appends have it, in the second after it failed.
        """
        if limit is not None and time.monotonic() < self._resumes_at.get(key, 0):
            return 0
        total, is_ours = 0, False
        try:
            if not (is_ours := self._begin_forwarding()):
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
                self._end_forwarding()
        return total

    def close(self) -> None:
        with _lock:
            self._disconnect()

    def _forward_portion(
        self, key: str, send: Callable[[Sequence[bytes], Stamp], None], portion: int
    ) -> tuple[int, int]:
        sent = events = last = 0
        file = None
        try:
            while sent < portion and (row := self._next(key, last, file)):
                id, producer, sequence, packed, file = row
                unpacked = self._unpacked(id, packed)
                send(unpacked, Stamp(producer, sequence))
                sent, events, last = sent + 1, events + len(unpacked), id
        finally:
            if sent:
                self._remove(key, last, file)
        return sent, events

    def _next(
        self, key: str, last: int, file: tuple[int, int] | None
    ) -> tuple[int, str, int, bytes, tuple[int, int]] | None:
        """One at a time: all that may be spilled of a bucket is too much for the memory. None
        behind the last, and when this is no longer the file that the ones before came from.
        """
        with self._read() as connection:
            if file not in (None, self._file):
                return None
            row = connection.execute(
                "SELECT id, producer, sequence, events FROM appends "
                "WHERE bucket = ? AND id > ? ORDER BY id LIMIT 1",
                [key, last],
            ).fetchone()
            return None if row is None else (*row, self._file)

    def _unpacked(self, id: int, packed: bytes) -> list[bytes]:
        try:
            return _unpacked(packed)
        except (TypeError, ValueError) as error:
            raise SpillUnavailable(
                f"Row {id} of the table appends in {self.path} is damaged, and keeps those behind "
                "it. Look at it, and delete it."
            ) from error

    def _remove(self, key: str, last: int, file: tuple[int, int] | None) -> None:
        with self._write() as connection:
            if file != self._file:
                return  # somebody has moved it away, and rows of another have these ids now
            connection.execute(
                "UPDATE sizes SET bytes = bytes - (SELECT coalesce(sum(length(events)), 0) "
                "FROM appends WHERE bucket = :key AND id <= :last) WHERE bucket = :key",
                {"key": key, "last": last},
            )
            connection.execute("DELETE FROM appends WHERE bucket = ? AND id <= ?", [key, last])
            emptied = connection.execute(
                "DELETE FROM sizes WHERE bucket = ? AND bytes <= 0", [key]
            ).rowcount
        if emptied:
            self._holds[key] = False, time.monotonic() + LOOK_AGAIN_SECONDS

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of the block, or nothing."""
        with self._read() as connection, connection:
            # At once and not at the first write, when what was read may be stale.
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        """The one connection of this process, for one thread at a time."""
        with self._alone():
            try:
                yield self._connected()
            except (sqlite3.Error, OSError) as error:
                raise SpillUnavailable(
                    f"{self.path} cannot be used to spill to: {error}. See to its folder, its "
                    "owner and the room on the disk. If it is damaged, stop what uses it, move it "
                    "away together with its -wal and -shm, and keep them: they hold events."
                ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with _lock:
            if self._is_in_use:
                raise SpillUnavailable(
                    f"{self.path} is in use by the very code that a signal's handler, or a "
                    "finalizer, has interrupted to append. Let it leave that to others."
                )
            self._is_in_use = True
            try:
                yield
            finally:
                self._is_in_use = False

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and not self._producer.is_ours:
            # Of a fork that Python did not see. To close it here would disturb the parent.
            _inherited.append(self._connection)
            self._connection = None
        if self._connection is not None and _identity(self.path) != self._file:
            # Somebody has moved it away: what is put into it is never found again.
            self._disconnect()
        if self._connection is None:
            _create(self._lock_path)
            self._connection = _connect(self.path)
            self._file, self._producer = _identity(self.path), Producer()
            _opened.add(self)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begin_forwarding(self) -> bool:
        """Whether nobody else does."""
        with _lock:
            if self._forwarder is not None:
                return False
            try:
                self._forwarder = _locked(self._lock_path)
            except sqlite3.Error as error:
                raise SpillUnavailable(
                    f"{self._lock_path} cannot be locked: {error}. It holds no events: see to its "
                    "owner, or remove it."
                ) from error
            _opened.add(self)
            return self._forwarder is not None

    def _end_forwarding(self) -> None:
        with _lock:
            self._give_up_forwarding()

    def _give_up_forwarding(self) -> None:
        if self._forwarder is not None:
            self._forwarder.close()
            self._forwarder = None


_lock: Final = threading.RLock()
"""Held by the one thread that uses SQLite, and by the one that forks. What a signal's handler
appends meanwhile, in the same thread, gets an error: waiting, it would wait for ever."""

_opened: Final[set[Spill]] = set()
"""Those that have, or had, a connection."""

_inherited: Final[list[sqlite3.Connection]] = []

_spills: Final[dict[str, Spill]] = {}


def spill(folder: str | os.PathLike[str]) -> Spill:
    """That of a folder, for all threads of this process."""
    key = os.path.abspath(folder)
    return _spills.get(key) or _spills.setdefault(key, Spill(key))


def _before_fork() -> None:
    """A child that inherits a connection takes the locks of its parent for its own, also with a
    connection of its own: its events would go into a log that others have removed.
    """
    _lock.acquire()
    for opened in _opened:
        opened._disconnect()


def _after_fork_in_child() -> None:
    # It is the parent that forwards. Nothing is ever written under its lock, so that to close the
    # copy does nothing to it.
    for opened in _opened:
        opened._give_up_forwarding()
    _lock.release()


def _close_all() -> None:
    for opened in [*_opened]:
        opened.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_lock.release,
        after_in_child=_after_fork_in_child,
    )
atexit.register(_close_all)


def forward(store: "Store", options: "Options", *, limit: int | None = None) -> int:
    """Hand to Redis what was spilled of a bucket, and return how many events that were."""
    if options.spill_dir is None:
        return 0
    spilled = spill(options.spill_dir)
    if not spilled.holds(store.keys.open):
        return 0

    def send(events: Sequence[bytes], stamp: Stamp) -> None:
        store.append(events, stamp, options.limits)

    forwarded = spilled.forward(store.keys.open, send, limit=limit)
    if forwarded:
        logger.info("Bucket %s: %d spilled events are in Redis now.", store.name, forwarded)
    return forwarded


def is_writable(folder: str | os.PathLike[str]) -> bool:
    """Whether events can be spilled to the folder, which is made when it is missing."""
    path = Path(folder)
    if not path.exists():
        return os.access(path.parent, os.W_OK | os.X_OK)
    files = [path / FILE, path / LOCK_FILE]
    return (
        path.is_dir()
        and os.access(path, os.W_OK | os.X_OK)
        and all(os.access(file, os.R_OK | os.W_OK) for file in files if file.exists())
    )


def _identity(path: Path) -> tuple[int, int]:
    """Of the file that is there at the moment, if there is one."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino


def _create(path: Path) -> None:
    """The file, for its owner alone, as SQLite then makes those beside it: events are private."""
    path.parent.mkdir(exist_ok=True)
    # Not if it is there: to close a file gives up the locks that this process has on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _connect(path: Path) -> sqlite3.Connection:
    _create(path)
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _turn_to_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 1048576")
        connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def _turn_to_wal(connection: sqlite3.Connection) -> None:
    """Here SQLite does not wait by itself, for others who do the same to a file that is new."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _is_busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _locked(path: Path) -> sqlite3.Connection | None:
    """A lock that every system has, and that dies with its process. None if somebody holds it."""
    lock = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if _is_busy(error):
            return None
        raise
    return lock


def _packed(events: Sequence[bytes]) -> bytes:
    """Lengths and bytes: an encoder of the project's may put any byte into an event."""
    return json.dumps([len(event) for event in events]).encode() + b"\n" + b"".join(events)


def _unpacked(packed: bytes) -> list[bytes]:
    head, _, rest = packed.partition(b"\n")
    lengths, events, start = json.loads(head), [], 0
    if sum(lengths) != len(rest):
        raise ValueError(f"It has {len(rest)} bytes of events.")
    for length in lengths:
        events.append(rest[start : start + length])
        start += length
    return events
