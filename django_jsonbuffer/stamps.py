"""The stamp of an append. It lets an append that is sent again be stored once."""

from datetime import timedelta
from typing import Final, NamedTuple

REMEMBERED: Final = timedelta(days=1)
"""How long a bucket remembers the last append of a producer."""


class Stamp(NamedTuple):
    """Identifies one append. If the append is sent again, the stamp stays the same."""

    producer: str
    sequence: int
    """The number of the append. Each append of a producer has a greater number than the last."""
