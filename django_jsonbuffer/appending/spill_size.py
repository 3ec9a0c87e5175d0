"""How much is spilled on this machine, for those who only look."""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django_jsonbuffer.exceptions import SpillUnavailable
from django_jsonbuffer.store.keys import split_key, split_shard, start_of_other_shards

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
    """What the shard with this key of the open batch has. See :func:`spill_sizes`."""
    return spill_sizes(folder, key).get(key, SpillSize())


def spill_sizes(folder: str | os.PathLike[str], key: str) -> dict[str, SpillSize]:
    """What each shard of a bucket has, by the key of its open batch. `key` is that of shard 0.

    Does not wait for other processes. Shards that have nothing are left out.

    Raises :class:`SpillUnavailable` if the file cannot be read at this moment. A missing file has
    no events.
    """
    others = start_of_other_shards(key)
    found = _rows(
        folder,
        "SELECT bucket, (SELECT count(*) FROM appends WHERE appends.bucket = sizes.bucket), bytes "
        "FROM sizes WHERE bucket = ? OR substr(bucket, 1, length(?)) = ?",
        (key, others, others),
    )
    return {its_key: SpillSize(*its) for its_key, *its in found}


class SpilledShard(NamedTuple):
    """A shard of a bucket that has something in the spill of this machine."""

    start: str
    """What precedes the name in the keys of the bucket."""

    bucket: str
    shard: int


def spilled_shards(folder: str | os.PathLike[str]) -> list[SpilledShard]:
    """All that have something. Raises :class:`SpillUnavailable` as :func:`spill_sizes` does."""
    places = [split_key(key) for (key,) in _rows(folder, "SELECT bucket FROM sizes")]
    return [SpilledShard(start, *split_shard(name)) for start, name in places]


def _rows(
    folder: str | os.PathLike[str], query: str, values: Sequence[str] = ()
) -> list[tuple[Any, ...]]:
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
            return _rows_of(connection, query, values)
    except FileNotFoundError:
        return []
    except (sqlite3.Error, OSError) as error:
        raise _unreadable(path, error) from error
    finally:
        _lock.release()


def _rows_of(
    connection: "sqlite3.Connection", query: str, values: Sequence[str]
) -> list[tuple[Any, ...]]:
    # The file has no tables if the process that created it has died, or has not gone on yet.
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sizes'").fetchone():
        return []
    return connection.execute(query, values).fetchall()


def _unreadable(path: Path, reason: object) -> SpillUnavailable:
    return SpillUnavailable(f"{path} cannot be read: {reason}.")
