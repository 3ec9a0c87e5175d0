"""The status of a bucket: its figures at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Final, NamedTuple

from .keys import Keys
from .open_counts import UNCOUNTED, count_open
from .scripts import MILLISECOND, STATUS
from .store import Store

_SHORTEST_MS: Final = 30_000
"""Shortest time over which a rate is calculated. Over a shorter time, the rate would jump."""


class Drops(NamedTuple):
    """Numbers of events that were dropped, by reason."""

    newest: int = 0
    """By ``overflow="drop_newest"``: events of the append that found the bucket full."""

    oldest: int = 0
    """By ``overflow="drop_oldest"``: the oldest pending events."""

    purged: int = 0
    """By a purge of the pending events."""

    discarded: int = 0
    """Dead letters that were discarded."""

    expired: int = 0
    """Dead letters that expired, by ``max_dead`` or ``dead_after``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketStatus:
    """The figures of a bucket at one moment, read in one round trip.

    It takes more round trips if another client has changed a long open batch, since this process
    then counts its events.
    """

    pending: int
    """Events that wait: open, or sealed and not claimed."""

    open: int
    """Pending events in the open batch."""

    in_flight: int
    """Events that a worker has claimed and not yet acknowledged. If their worker died, they stay
    here until the lease has run out and another worker claims them."""

    dead: int
    """Dead letters."""

    batches: int
    """All batches: the open batch, the sealed batches and the batches in flight."""

    batches_open: int
    """Open batches with events. Each shard has at most one."""

    batches_in_flight: int

    bytes: int
    """Bytes of JSON in these batches."""

    oldest: timedelta | None
    """How long the oldest pending event has waited; None if no event waits."""

    workers: int
    """Workers that drain the bucket: they were heard of within the last 30 seconds."""

    paused: timedelta | None
    """For how long the bucket has been paused; None if it is not paused."""

    failing: int
    """Batches that have failed and not succeeded since. Only the oldest 100 batches that workers
    hold or have released are counted."""

    attempt: int
    """The number of the last attempt of the oldest failing batch; 0 if no batch fails."""

    error: str
    """The last error of that batch. Empty if its worker died."""

    outage: timedelta | None
    """How long the processor has only failed; None if there is no outage."""

    sampled: timedelta | None
    """How long ago a worker last took a sample. None if there is no sample."""

    appended_per_minute: float | None
    """Average over the last one or two minutes, or over a longer time if no worker took a sample.
    None if the rate is not known."""

    processed_per_minute: float | None

    appended: int
    """All events that were appended so far."""

    processed: int
    """All events that were processed so far, or taken by ``take()``."""

    buried: int
    """All events that became dead letters so far."""

    replayed: int
    """All dead letters that were replayed so far."""

    lost: int
    """All events so far that could not be handed to Redis and whose callers got no error. A process
    reports its lost events after its next successful append to the bucket. If the reply to this
    report is lost, the process reports them again, and they are counted twice."""

    dropped: "Drops"
    """All events that were dropped so far, by reason."""

    @property
    def batches_sealed(self) -> int:
        """Batches that are sealed and not claimed."""
        return self.batches - self.batches_open - self.batches_in_flight


def read_status(store: Store) -> BucketStatus:
    """The status of one shard."""
    keys = keys_of(store.keys)
    reply = store.run(STATUS, keys, *UNCOUNTED)
    if len(reply) == 1:  # the script leaves it to this process to count the events
        reply = store.run(STATUS, keys, *count_open(store))
    return status_of(reply)


def keys_of(keys: Keys) -> list[str]:
    """The keys of a shard that the scripts `status` and `statuses` read."""
    return [
        *(keys.open, keys.batches, keys.dead, keys.stats, keys.appends),
        *(keys.attempts, keys.workers, keys.history, keys.paused),
    ]


def status_of(reply: Sequence[Any], *, registered: int = 0) -> BucketStatus:
    """The status in a reply of the script, which numbers the results in its header.

    `registered` workers are registered for the bucket. Those of a drain are not registered. They,
    and those whose heartbeats the script has counted, may be the same.
    """
    opened, sealed, claimed, batches, batches_in_flight, held_bytes, dead, waited_ms = reply[:8]
    workers, paused_ms, failing, attempt, sampled_ms = reply[8:13]
    since_ms, appended_then, processed_then = reply[13:16]
    appended, processed, buried, replayed, lost = reply[16:21]
    error, outage_ms = reply[26:]
    return BucketStatus(
        pending=opened + sealed,
        open=opened,
        in_flight=claimed,
        dead=dead,
        batches=batches,
        batches_open=1 if opened else 0,
        batches_in_flight=batches_in_flight,
        bytes=held_bytes,
        oldest=_duration(waited_ms),
        workers=max(workers, registered),
        paused=_duration(paused_ms),
        failing=failing,
        attempt=attempt,
        error=error.decode(errors="replace"),
        outage=_duration(outage_ms),
        sampled=_duration(sampled_ms),
        appended_per_minute=_per_minute(appended - appended_then, since_ms),
        processed_per_minute=_per_minute(processed - processed_then, since_ms),
        appended=appended,
        processed=processed,
        buried=buried,
        replayed=replayed,
        lost=lost,
        dropped=Drops(*reply[21:26]),
    )


@cache
def unused_status(registered: int) -> BucketStatus:
    """The status of a bucket that has no key in Redis, with so many registered workers."""
    nothing = (*[0] * 7, -1, 0, -1, 0, 0, -1, -1, -1, -1, *[0] * 10, b"", -1)
    return status_of(nothing, registered=registered)


def _duration(ms: int) -> timedelta | None:
    return None if ms < 0 else ms * MILLISECOND


def _per_minute(events: int, ms: int) -> float | None:
    """The rate. None if the time is too short, or if the total began again in between."""
    return None if ms < _SHORTEST_MS or events < 0 else events * 60_000 / ms
