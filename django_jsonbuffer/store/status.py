"""The status of a bucket: its figures at one moment."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, NamedTuple, Self

from django_jsonbuffer.exceptions import JSONBufferError

from . import nodes
from .errors import translated
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

    def with_workers(self, registered: int) -> Self:
        """The same with the workers that are registered for the bucket.

        Those of a drain are not registered. They, and those whose heartbeats this status has
        counted, may be the same.
        """
        return replace(self, workers=max(self.workers, registered))

    @property
    def batches_sealed(self) -> int:
        """Batches that are sealed and not claimed."""
        return self.batches - self.batches_open - self.batches_in_flight


def read_status(store: Store) -> BucketStatus:
    """The status of one shard."""
    return _status(store, store.run(STATUS, _keys(store), *UNCOUNTED))


def outcome(store: Store, reply: Any) -> BucketStatus | JSONBufferError:
    """The status of one shard in a reply to `call_of`, or the error if it cannot be read."""
    if isinstance(reply, Exception):
        return translated(reply, store.identity.name)
    try:
        return _status(store, reply)
    except JSONBufferError as error:  # of a script that counts the events
        return error


def call_of(store: Store) -> nodes.Call:
    """The command that asks for the status of one shard."""
    keys = _keys(store)
    return nodes.Call(keys[0], ("EVALSHA", STATUS.sha, len(keys), *keys, *UNCOUNTED))


def _keys(store: Store) -> list[str]:
    keys = store.keys
    return [*store.event_keys, keys.attempts, keys.workers, keys.history, keys.paused]


_RESULTS: Final = (
    *("open", "sealed", "claimed", "batches", "batches_in_flight", "bytes", "dead", "waited_ms"),
    *("workers", "paused_ms", "failing", "attempt", "sampled_ms"),
    *("since_ms", "appended_then", "processed_then"),
    *("appended", "processed", "buried", "replayed", "lost"),
    *("dropped_newest", "dropped_oldest", "dropped_purged", "dropped_discarded"),
    *("dropped_expired", "error", "outage_ms"),
)
"""The results of status.lua, in the order in which its header numbers them."""

_AS_THEY_ARE: Final = (
    *("open", "dead", "batches", "batches_in_flight", "bytes", "workers", "failing", "attempt"),
    *("appended", "processed", "buried", "replayed", "lost"),
)


def _status(store: Store, reply: list[Any]) -> BucketStatus:
    if len(reply) == 1:  # the script leaves it to this process to count the events
        reply = store.run(STATUS, _keys(store), *count_open(store))
    found = dict(zip(_RESULTS, reply, strict=True))
    since_ms = found["since_ms"]
    return BucketStatus(
        **{name: found[name] for name in _AS_THEY_ARE},
        pending=found["open"] + found["sealed"],
        batches_open=int(found["open"] > 0),
        in_flight=found["claimed"],
        oldest=_duration(found["waited_ms"]),
        paused=_duration(found["paused_ms"]),
        error=found["error"].decode(errors="replace"),
        outage=_duration(found["outage_ms"]),
        sampled=_duration(found["sampled_ms"]),
        appended_per_minute=_per_minute(found["appended"] - found["appended_then"], since_ms),
        processed_per_minute=_per_minute(found["processed"] - found["processed_then"], since_ms),
        dropped=Drops(*(found[f"dropped_{reason}"] for reason in Drops._fields)),
    )


def _duration(ms: int) -> timedelta | None:
    return None if ms < 0 else ms * MILLISECOND


def _per_minute(events: int, ms: int) -> float | None:
    """The rate. None if the time is too short, or if the total began again in between."""
    return None if ms < _SHORTEST_MS or events < 0 else events * 60_000 / ms
