"""How much is spilled on this machine, for those who only look."""

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from django_jsonbuffer.exceptions import SpillUnavailable

if TYPE_CHECKING:
    import sqlite3

_WAIT_SECONDS: Final = 0.5
"""How long to wait for another thread of this process that uses the file."""


class SpillSize(NamedTuple):
    """What one bucket has in the spill of this machine. It is false if that is nothing."""

    appends: int = 0
    bytes: int = 0

    def __bool__(self) -> bool:
        return self.appends > 0


def spill_size(folder: str | os.PathLike[str], key: str) -> SpillSize:
    """The size of the bucket with this key of the open batch. Does not wait for other processes.

    Raises :class:`SpillUnavailable` if the file cannot be read at this moment. A missing file has
    no events.
    """
    # Only projects that spill import SQLite.
    import sqlite3

    from .spill_access import FILE
    from .spill_file import _lock

    path = Path(folder).absolute() / FILE
    # No thread may fork while the connection is open: see `_before_fork`.
    if not _lock.acquire(timeout=_WAIT_SECONDS):
        raise _unreadable(path, "another thread uses it")
    try:
        os.stat(path)
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0)
        with closing(connection):
            return _size(connection, key)
    except FileNotFoundError:
        return SpillSize()
    except (sqlite3.Error, OSError) as error:
        raise _unreadable(path, error) from error
    finally:
        _lock.release()


def _size(connection: "sqlite3.Connection", key: str) -> SpillSize:
    # The file has no tables if the process that created it has died, or has not gone on yet.
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sizes'").fetchone():
        return SpillSize()
    found = connection.execute("SELECT bytes FROM sizes WHERE bucket = ?", [key]).fetchone()
    if found is None:
        return SpillSize()
    [appends] = connection.execute(
        "SELECT count(*) FROM appends WHERE bucket = ?", [key]
    ).fetchone()
    return SpillSize(appends, found[0])


def _unreadable(path: Path, reason: object) -> SpillUnavailable:
    return SpillUnavailable(f"{path} cannot be read: {reason}.")
