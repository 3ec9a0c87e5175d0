"""The SQLite file of spilled appends: connections, transactions, locks and forks."""

import atexit
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from django_jsonbuffer.exceptions import SpillUnavailable

from .spill_access import FILE, LOCK_FILE, make_private
from .spill_rows import make_tables

_BUSY_SECONDS: Final = 10.0

Identity = tuple[int, int]
"""Device and inode of a file."""


class SpillFile:
    """The file of one folder, in WAL mode, and the lock of the process that forwards from it.

    Committed rows survive the death of the process. They may not survive a crash of the machine,
    unless they are synchronized.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path: Final = Path(folder) / FILE
        self.identity: Identity = (0, 0)
        """Identity of the file that is open. It changes when the file is replaced."""
        self._lock_path = Path(folder) / LOCK_FILE
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        """Id of the process that opened the connection."""
        self._is_in_use = False
        self._forwarding_lock: sqlite3.Connection | None = None
        """Open while this process forwards."""

    @contextmanager
    def write(self, *, synchronous: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction: all of the block is committed, or none of it.

        With `synchronous`, it survives a crash of the machine, as all transactions before it do.
        """
        with self.read() as connection, connection:
            connection.execute(f"PRAGMA synchronous = {'FULL' if synchronous else 'NORMAL'}")
            # Locked at the start: with a lock at the first write, earlier reads could be stale.
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The connection of this process, for one thread at a time.

        Raises :class:`SpillUnavailable` if the file cannot be used.
        """
        with _lock:
            if self._is_in_use:
                raise SpillUnavailable(
                    f"{self.path} is in use by code that a signal handler or a finalizer has "
                    "interrupted. Nothing was written. Do not append in handlers and finalizers."
                )
            self._is_in_use = True
            try:
                yield self._connected()
            except (sqlite3.Error, OSError) as error:
                raise SpillUnavailable(
                    f"{self.path} cannot be used: {error}. Check its folder, its owner and the "
                    "free space on the disk. If the file is damaged, stop the processes that use "
                    "it, move it away together with its -wal and -shm files, and keep all three: "
                    "they contain events."
                ) from error
            finally:
                self._is_in_use = False

    def begin_forwarding(self) -> bool:
        """Take the lock to forward. False if another thread or process holds it."""
        with _lock:
            if self._forwarding_lock is not None:
                return False
            _opened.add(self)
            try:
                make_private(self._lock_path)
                self._forwarding_lock = _locked(self._lock_path)
            except (sqlite3.Error, OSError) as error:
                raise SpillUnavailable(
                    f"{self._lock_path} cannot be locked: {error}. Check the owner of the file, "
                    "or delete it. It contains no events."
                ) from error
            return self._forwarding_lock is not None

    def end_forwarding(self) -> None:
        with _lock:
            if self._forwarding_lock is not None:
                self._forwarding_lock.close()
                self._forwarding_lock = None

    def close(self) -> None:
        with _lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._process != os.getpid():
            # Inherited in a fork that Python did not notice. To close it would disturb the parent.
            _inherited.append(self._connection)
            self._connection = None
        if self._connection is not None and _identity(self.path) != self.identity:
            # The file was moved away, and rows that are put into it would not be found.
            self.close()
        if self._connection is None:
            self._connection = _connect(self.path)
            self.identity, self._process = _identity(self.path), os.getpid()
            _opened.add(self)
        return self._connection


_lock: Final = threading.RLock()
"""Held by the thread that uses SQLite, and by a thread that forks. Reentrant, so that a signal
handler that appends in the same thread gets an error, and does not wait for ever."""

_opened: Final[set[SpillFile]] = set()
"""The files that have, or had, a connection."""

_inherited: Final[list[sqlite3.Connection]] = []
"""Connections of a parent process, kept so that they are never closed."""


def _before_fork() -> None:
    """Close all connections before a fork. In a child, SQLite takes the locks of an inherited
    connection for its own, even if the child opens another connection. The child's events would go
    into a log file that other processes have removed.
    """
    _lock.acquire()
    _close_all()


def _after_fork_in_child() -> None:
    # Only the parent forwards. Nothing is ever written under its lock, so the parent keeps the lock
    # when the child closes the inherited connection.
    for opened in _opened:
        opened.end_forwarding()
    _lock.release()


def _close_all() -> None:
    for opened in [*_opened]:  # a copy, because other threads may add to it
        opened.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_lock.release,
        after_in_child=_after_fork_in_child,
    )
atexit.register(_close_all)


def _identity(path: Path) -> Identity:
    """Identity of the file that is at the path at this moment; zeros if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino


def _connect(path: Path) -> sqlite3.Connection:
    make_private(path)
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _turn_to_wal(connection)
        connection.execute("PRAGMA journal_size_limit = 1048576")
        make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _turn_to_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL, with retries: SQLite's busy timeout does not cover this statement when several
    processes open a new file at once.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.Error as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _is_busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _locked(path: Path) -> sqlite3.Connection | None:
    """A lock that dies with its process, on every system. None if the lock is taken."""
    lock = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if _is_busy(error):
            return None
        raise
    return lock
