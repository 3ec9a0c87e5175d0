"""What identifies one append, so that a repeat of it is stored once."""

from datetime import timedelta
from typing import Final, NamedTuple

REMEMBERED: Final = timedelta(days=1)
"""How long a bucket remembers the last append of a producer."""


class Stamp(NamedTuple):
    """Identifies one append. A repeat of it has the same stamp."""

    producer: str
    sequence: int
    """Of two appends of one producer to one bucket, the later has the greater number."""
