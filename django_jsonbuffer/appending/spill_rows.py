"""The rows of the spill: each is one append. All SQL for them is here.

A row needs a stamp, so that it is stored once, however often it is sent. The column ``nonce`` says
where its stamp comes from:

- A nonce: the append was sent to Redis before it was spilled, and is undecided. It keeps its stamp.
- NULL: the append was never sent. When it is forwarded, it gets its stamp, together with the rows
  behind it. These rows share a producer, so that Redis need not remember one for each row. Its name
  follows from the rows. So two copies of the file give the same rows the same stamps, and never
  different rows one stamp.
- Empty: the append has the stamp of a group, or comes from an older version of this app. If Redis
  has a greater number of its producer, the append was sent before.
"""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from django_jsonbuffer.stamps import Stamp, new_nonce

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS appends (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket TEXT NOT NULL, producer TEXT NOT NULL, sequence INTEGER NOT NULL, events BLOB NOT NULL,
    nonce TEXT DEFAULT ''
);
CREATE INDEX IF NOT EXISTS appends_of_bucket ON appends (bucket, id);
CREATE TABLE IF NOT EXISTS sizes (bucket TEXT PRIMARY KEY, bytes INTEGER NOT NULL);
"""


_GROUP: Final = 100
"""Rows that share a producer."""


class Row(NamedTuple):
    """One append of a bucket, as the file has it."""

    id: int
    producer: str
    sequence: int
    nonce: str | None
    packed: bytes

    @property
    def stamp(self) -> Stamp | None:
        """None if the row has no stamp yet."""
        return None if self.nonce is None else Stamp(self.producer, self.sequence, self.nonce)


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an older version up to date."""
    connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}")
    if not any(column[1] == "nonce" for column in connection.execute("PRAGMA table_info(appends)")):
        connection.execute("ALTER TABLE appends ADD COLUMN nonce TEXT DEFAULT ''")
    connection.execute("COMMIT")


def bytes_of(connection: sqlite3.Connection, key: str) -> int | None:
    """Bytes of the bucket's rows. None if it has no rows."""
    found = connection.execute("SELECT bytes FROM sizes WHERE bucket = ?", [key]).fetchone()
    return found[0] if found else None


def insert(
    connection: sqlite3.Connection, key: str, packed: bytes, stamp: Stamp | None, *, size: int
) -> None:
    """Add a row. `stamp` is that of an undecided append. `size` is the new size of the bucket."""
    connection.execute("INSERT OR REPLACE INTO sizes VALUES (?, ?)", [key, size])
    # Without a stamp, the producer names the row. An older version of this app that shares the file
    # takes both columns for a stamp, so they are one.
    producer, sequence, nonce = stamp or (new_nonce(), 1, None)
    connection.execute(
        "INSERT INTO appends (bucket, producer, sequence, nonce, events) VALUES (?, ?, ?, ?, ?)",
        [key, producer, sequence, nonce, packed],
    )


def stamp_group(connection: sqlite3.Connection, key: str) -> None:
    """Give stamps to the oldest rows of the bucket that have none."""
    rows = connection.execute(
        "SELECT id, producer FROM appends WHERE bucket = ? AND nonce IS NULL ORDER BY id LIMIT ?",
        [key, _GROUP],
    ).fetchall()
    text = "".join(producer for _, producer in rows)
    producer = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:16]
    connection.execute(
        "UPDATE appends SET producer = ?, sequence = id, nonce = '' "
        "WHERE bucket = ? AND nonce IS NULL AND id <= ?",
        [producer, key, rows[-1][0] if rows else 0],
    )


def stamp_again(connection: sqlite3.Connection, id: int) -> None:
    """Give a row the stamp of a new producer."""
    connection.execute(
        "UPDATE appends SET producer = ?, nonce = '' WHERE id = ?", [new_nonce(), id]
    )


def first_behind(connection: sqlite3.Connection, key: str, id: int) -> Row | None:
    """The first row of the bucket behind this id, or None."""
    row = connection.execute(
        "SELECT id, producer, sequence, nonce, events FROM appends "
        "WHERE bucket = ? AND id > ? ORDER BY id LIMIT 1",
        [key, id],
    ).fetchone()
    return None if row is None else Row._make(row)


def remove(connection: sqlite3.Connection, key: str, last: int) -> bool:
    """Remove the rows of the bucket up to this id. True if the bucket has no rows afterwards."""
    connection.execute(
        "UPDATE sizes SET bytes = bytes - (SELECT coalesce(sum(length(events)), 0) "
        "FROM appends WHERE bucket = :key AND id <= :last) WHERE bucket = :key",
        {"key": key, "last": last},
    )
    connection.execute("DELETE FROM appends WHERE bucket = ? AND id <= ?", [key, last])
    emptied = connection.execute("DELETE FROM sizes WHERE bucket = ? AND bytes <= 0", [key])
    return emptied.rowcount > 0


def pack(events: Sequence[bytes]) -> bytes:
    """Events as one text. Their lengths come first, because an event may contain any byte."""
    return json.dumps([len(event) for event in events]).encode() + b"\n" + b"".join(events)


def unpack(packed: bytes) -> list[bytes]:
    """The events of a row. Raises ``TypeError`` or ``ValueError`` if the row is damaged."""
    head, _, rest = packed.partition(b"\n")
    lengths, events, start = json.loads(head), [], 0
    if sum(lengths) != len(rest):
        raise ValueError(f"The lengths do not add up to the {len(rest)} bytes of the events.")
    for length in lengths:
        events.append(rest[start : start + length])
        start += length
    return events
