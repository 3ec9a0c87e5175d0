"""A batch in the hands of a worker."""

from dataclasses import dataclass
from typing import NamedTuple


def position(id: str) -> tuple[int, int]:
    """The place of a batch or a dead letter in its stream, to compare two ids.

    A stream id is the server's milliseconds, a dash, and a sequence number.
    """
    time, _, sequence = id.partition("-")
    return int(time), int(sequence)


@dataclass(frozen=True, slots=True)
class Claim:
    """A batch that one worker holds under a lease."""

    id: str
    """The stream id: the same on every delivery of the batch, and never used again."""

    worker: str
    """Name of the worker."""

    attempt: int
    """The number of this delivery, from 1. Id, worker and attempt identify the claim, so that a
    command that arrives after the claim has ended does nothing."""

    count: int
    """Events in the batch."""

    array: bytes
    """The JSON array of the events, byte for byte as they were appended."""

    failures: int
    """How often the processor failed with the batch. Halves start with the number of the batch."""

    deaths: int
    """How many workers let the lease of the batch run out."""

    outages: int
    """Outages of the batch, without those between which no other events were processed."""


class Burial(NamedTuple):
    """An event of a claimed batch that cannot be processed."""

    start: int
    """Position in the bytes of the batch at which the event starts."""

    end: int
    """Position behind the last byte of the event."""

    error: str
    """What is wrong with the event."""

    traceback: str = ""
