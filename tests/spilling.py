"""Puts events into a spill, and receives those that it forwards."""

from collections.abc import Sequence

from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.exceptions import BufferUnavailable, StampOvertaken
from django_jsonbuffer.stamps import Stamp

ORDERS = "jsonbuffer:{orders}"
OTHERS = "jsonbuffer:{others}"
PLENTY = 10**9


class Receiver:
    """Stores each append once, by its stamp, as the script does."""

    def __init__(self, *, fails_after: int | None = None) -> None:
        self.events: list[bytes] = []
        self.stamps: list[Stamp] = []
        self.last: dict[str, Stamp] = {}
        self.fails_after = fails_after

    def __call__(self, events: Sequence[bytes], stamp: Stamp) -> None:
        if self.fails_after == len(self.stamps):
            raise BufferUnavailable("away")
        self.stamps.append(stamp)
        last = self.last.get(stamp.producer)
        if last is None or stamp.sequence > last.sequence:
            self.last[stamp.producer] = stamp
            self.events += events
        elif stamp.nonce and stamp != last:
            raise StampOvertaken


def put(spilled: Spill, *events: bytes, bucket: str = ORDERS, stamp: Stamp | None = None) -> None:
    spilled.put(bucket, events, stamp=stamp, max_bytes=PLENTY)
