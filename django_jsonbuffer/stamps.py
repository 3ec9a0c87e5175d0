"""The stamp of an append. It lets an append that is sent again be stored once."""

import os
import time
from datetime import timedelta
from typing import Final, NamedTuple

REMEMBERED: Final = timedelta(days=1)
"""How long a bucket remembers the last append of a producer."""


class Stamp(NamedTuple):
    """Identifies one append. If the append is sent again, the stamp stays the same."""

    producer: str
    sequence: int
    """The number of the append. Each append of a producer has a greater number than the last."""

    nonce: str
    """Differs in each append, so that two copies of a producer have no stamp in common. If it is
    empty, the producer has no copy, and an append with a lower number is a repeat."""


def new_nonce() -> str:
    """A text that no other call returns, not even in a copy of this process.

    A copy may continue with the same random numbers, but not at the same nanosecond.
    """
    return f"{os.urandom(8).hex()}{time.time_ns()}"
