"""A batch in the hands of a worker."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Final, NamedTuple, Self

from .keys import shard_name, split_shard
from .origins import NO_ORIGINS, Origins
from .scripts import MILLISECOND
from .traces import NO_TRACES, Traces


def position(id: str) -> tuple[int, int]:
    """The place of a batch or a dead letter in its stream, to compare two ids.

    A stream id is the server's milliseconds, a dash, and a sequence number.
    """
    time, _, sequence = id.partition("-")
    return int(time), int(sequence)


def batch_id(stream_id: bytes, token: bytes, shard: int = 0) -> str:
    """The id of a batch, as processors know it: its id in the stream, a dash, and its token.

    The number of the shard follows. So batches of two shards never have one id.
    """
    id = stream_id.decode()
    return shard_name(f"{id}-{token.decode()}" if token else id, shard)


class Row(NamedTuple):
    """The failures of a bucket in a row, since the last success of its processor."""

    failed: int
    """The sum of their weights: how much each failure tells about an outage."""

    alone: int
    """The weight of the single events, and of exceptions that mean an outage."""

    is_by_exception: bool
    """Whether the last try in the outage failed with an exception that means an outage."""

    tries: int
    """Tries that failed since the outage began. 0 if there is none."""


NO_ROW: Final = Row(0, 0, False, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A batch that one worker holds under a lease."""

    id: str
    """The same on every delivery of the batch, and never used again."""

    stream_id: str
    """The id in the stream. It may come again if the server loses its last writes."""

    worker: str
    """Name of the worker."""

    attempt: int
    """The number of this delivery, from 1. Id, worker and attempt identify the claim, so that a
    command that arrives after the claim has ended does nothing."""

    count: int
    """Events in the batch."""

    array: bytes
    """The JSON array of the events, byte for byte as they were appended."""

    failures: int = 0
    """How often the processor failed with the event alone while others succeeded."""

    deaths: int = 0
    """How many workers let the lease of the batch run out."""

    has_failed: bool = False
    """Whether the batch, or one that it is a piece of, has failed, or a worker has died with it."""

    others_succeeded: bool = False
    """Whether the processor has succeeded with other batches since this one first failed. Or since
    its last failure that may be due to an outage."""

    has_changed: bool = False
    """Whether its error has changed since the last failure that was counted, and others have
    succeeded since it last failed."""

    origins: Origins = NO_ORIGINS
    """What identifies the events."""

    traces: Traces = NO_TRACES
    """Which appends the events come from, as far as these were traced."""

    error: str = ""
    """The error of the last failure. Empty if there was none."""

    row: Row = NO_ROW
    """The failures in a row before this claim."""

    @classmethod
    def of(cls, worker: str, reply: list[Any], *, shard: int = 0) -> Self:
        """The claim that the script reports."""
        stream_id, token, attempt, count, array, failures, deaths, *rest = reply
        suspicion, error, failed, alone, by, tries, origins, traces = rest
        id, known = batch_id(stream_id, token), Origins.read(origins.decode(errors="replace"))
        return cls(
            id=shard_name(id, shard),
            stream_id=stream_id.decode(),
            worker=worker,
            attempt=attempt,
            count=count,
            array=array,
            failures=failures,
            deaths=deaths,
            has_failed=suspicion > 0,
            others_succeeded=suspicion > 1,
            has_changed=suspicion > 2,
            origins=known if known.count == count else Origins.of_batch(id, count),
            traces=Traces.read(traces.decode(errors="replace")),
            error=error.decode(errors="replace"),
            row=Row(failed, alone, bool(by), tries),
        )

    @property
    def stored_id(self) -> str:
        """The id as the scripts know it: without the number of the shard."""
        return split_shard(self.id)[0]


class Found(NamedTuple):
    """What a worker found that asked for a batch."""

    claim: Claim | None
    """None if no batch can be claimed at this moment."""

    foreign: int
    """Foreign values that became dead letters."""

    wait: timedelta | None = None
    """When the next call may find a batch, as far as Redis knows. 0 if there are more batches."""

    reason: str = ""
    """Why nothing was claimed. ``"outage"``: the pause of an outage is not over. ``"doubt"``: a
    lease has run out, but its worker may live, because the clock of Redis may have been set.
    ``"held"``: workers hold batches, or a backoff is not over. ``"open"``: an open batch lingers.
    ``"paused"``: the bucket is paused. Empty: there is no batch."""


class Reason(Enum):
    """Why a batch is released."""

    FAILURE = "failure"
    """The processor failed with the event alone, while others succeeded: an attempt."""

    DOUBTFUL = "doubtful"
    """An attempt too, but the error may be that of an outage. Others must succeed before the next
    failure is one."""

    RETRY = "retry"
    """The processor failed, but that is no attempt."""

    CHANGED = "changed"
    """The processor failed with another error than before, which may be that of an outage. That is
    no attempt. But once others have succeeded, the next failure is one, whatever its error is."""

    OUTAGE = "outage"
    """The processor failed in an outage. Workers wait before they try again."""

    DEATH = "death"
    """The processor did not return in time."""

    @property
    def is_attempt(self) -> bool:
        return self in (Reason.FAILURE, Reason.DOUBTFUL)


class Outage(NamedTuple):
    """The outage of a bucket, as the release of a batch finds it."""

    duration: timedelta
    is_to_be_logged: bool
    """Whether no worker has logged an outage of the bucket for a minute. Or this one for an hour,
    while the workers do not wait."""

    is_logged: bool
    """Whether a worker has logged this outage before."""


class Burial(NamedTuple):
    """An event of a claimed batch that cannot be processed."""

    start: int
    """Position in the bytes of the batch at which the event starts."""

    end: int
    """Position behind the last byte of the event."""

    error: str
    """What is wrong with the event."""

    traceback: str = ""

    place: int = 0
    """Place of the event in the batch, counted from 0."""


def duration_of(reply: list[int]) -> timedelta | None:
    """How long an outage was that has ended, in the reply of a script; None if there was none."""
    (outage_ms,) = reply
    return None if outage_ms < 0 else outage_ms * MILLISECOND
