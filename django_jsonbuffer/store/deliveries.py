"""The workers of a bucket, and the batches that were delivered to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from . import nodes
from .claims import batch_id
from .keys import Keys, split_shard
from .replies import are_deliveries
from .scripts import DELIVERIES, MILLISECOND, RETRY_NOW
from .store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A batch that was delivered and is not acknowledged."""

    batch: str
    """Id of the batch."""

    worker: str
    """Name of the worker that holds the batch. Empty if the batch was released."""

    attempt: int
    """The number of the last delivery, from 1. 0 if the batch is a piece of a batch that was split,
    and was not delivered yet."""

    claimed: timedelta | None
    """How long ago the last delivery was. None if that is not known."""

    idle: timedelta
    """How long ago the lease of the batch was last renewed."""

    failures: int
    """How often the processor failed with the batch."""

    deaths: int
    """How many workers let the lease of the batch run out."""

    error: str
    """The last exception. Empty if there was none."""

    @property
    def error_kind(self) -> str:
        """The class of the last exception, without the message, which may quote an event."""
        return self.error.partition(":")[0]

    def retry_in(self, lease: timedelta) -> timedelta:
        """How long the batch still waits for its next attempt, if it was released."""
        return max(lease - self.idle, timedelta(0))


class Deliveries(NamedTuple):
    """The workers of a bucket, and the batches that were delivered to them."""

    workers: Mapping[str, timedelta]
    """By name of the worker: how long ago its last heartbeat was."""

    batches: Sequence[Delivery]
    """The oldest first."""


def read_deliveries(store: Store, limit: int) -> Deliveries:
    """The workers, and the oldest batches that were delivered and are not acknowledged."""
    return _deliveries(store.shard, *store.run(DELIVERIES, _keys(store.keys), limit, 0))


def call_of_held(keys: Keys, limit: int) -> nodes.Call:
    """The command that asks for the batches that workers hold, at most `limit` of each worker."""
    names = _keys(keys)
    return nodes.Call(names[0], ("EVALSHA", DELIVERIES.sha, len(names), *names, limit, 1))


def deliveries_in(shard: str, reply: Any) -> Deliveries | None:
    """The deliveries of a shard, in a reply to `call_of_held`. None if they cannot be read."""
    return _deliveries(split_shard(shard)[1], *reply) if are_deliveries(reply) else None


def _keys(keys: Keys) -> list[str]:
    return [keys.batches, keys.attempts, keys.workers]


def _deliveries(shard: int, heard: list[Any], batches: list[Any]) -> Deliveries:
    return Deliveries(
        {
            name.decode(errors="replace"): ms * MILLISECOND
            for name, ms in zip(heard[::2], heard[1::2], strict=True)
        },
        [_delivery(*batch, shard=shard) for batch in batches],
    )


def retry_now(store: Store, stored_id: str) -> bool:
    """Let a released batch be tried at once. `stored_id` is its id without the number of the shard.

    False if a worker holds the batch, if it was never delivered, or if it is gone.
    """
    keys = [store.keys.batches, store.keys.stats, store.keys.attempts]
    return bool(store.run(RETRY_NOW, keys, stored_id))


def merged(shards: Sequence[Deliveries], limit: int) -> Deliveries:
    """Those of a bucket with these shards."""
    workers: dict[str, timedelta] = {}
    for each in shards:
        for name, heard in each.workers.items():
            workers[name] = min(heard, workers.get(name, heard))
    batches = [batch for each in shards for batch in each.batches]
    batches.sort(key=_position)
    return Deliveries(workers, batches[:limit])


def _position(delivery: Delivery) -> tuple[int, int]:
    time, sequence, *_ = split_shard(delivery.batch)[0].split("-")
    return int(time), int(sequence)


def _delivery(
    id: bytes,
    worker: bytes,
    attempt: int,
    claimed_ms: int,
    idle_ms: int,
    failures: int,
    deaths: int,
    error: bytes,
    token: bytes,
    *,
    shard: int,
) -> Delivery:
    return Delivery(
        batch=batch_id(id, token, shard),
        worker=worker.decode(errors="replace"),
        attempt=attempt,
        claimed=None if claimed_ms < 0 else claimed_ms * MILLISECOND,
        idle=idle_ms * MILLISECOND,
        failures=failures,
        deaths=deaths,
        error=error.decode(errors="replace"),
    )
