"""Prepares buckets for tests: old ones, with a history, with dead letters."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.draining.drain import Drain
from django_jsonbuffer.runs import open_drains
from django_jsonbuffer.store.keys import Keys, bucket_keys
from django_jsonbuffer.store.store import Store
from tests.server import Redis


def store_of(name: str) -> Store:
    """The store of a bucket, for the single steps of a worker."""
    return Store(name, configuration())


def drain_of(bucket: Bucket, **options: Any) -> Drain:
    """The drain of the only shard of a bucket."""
    [drain] = open_drains([bucket], **options)
    return drain


def keys_of(name: str) -> Keys:
    return bucket_keys(configuration().prefix, name)


def make_old(plain: Redis, name: str, *, seconds: int = 3600) -> None:
    """Let the open batch be as old as `seconds`."""
    opened = int(time.time() * 1000) - seconds * 1000
    plain.hset(keys_of(name).appends, "opened", opened)


def put_history(plain: Redis, name: str, *, pending: list[int]) -> None:
    """Write a sample a minute, the last of them half a minute ago."""
    now = int(time.time() * 1000)
    samples = [
        f"{now - 30_000 - 60_000 * ago} {number} 0 {1000 - 10 * ago} {900 - 5 * ago}"
        for ago, number in enumerate(reversed(pending))
    ]
    keys = keys_of(name)
    plain.rpush(keys.history, *reversed(samples))
    plain.hset(keys.stats, mapping={"appended": 1010, "processed": 905})
    plain.sadd(f"{configuration().prefix}:buckets", name)


def bury_by_failures(bucket: Bucket, event: Any, processor: Callable[[Batch], object]) -> None:
    """Let the processor fail with an event until it is a dead letter. Others succeed meanwhile.

    The bucket must have a lease of 0, so that it needs no time, and ``max_attempts=1``.
    """
    bucket.append(event)
    bucket.processor(processor)
    bucket.drain()
    bucket.append("another")
    bucket.processor(lambda batch: None if "another" in batch else processor(batch))
    bucket.drain()
    bucket.drain()


def bury(*events: Any, reason: str | BaseException = "no good") -> Bucket:
    """Let these events become dead letters of the bucket `orders`."""
    orders = Bucket("orders")
    orders.extend(events)

    def refuse(batch: Batch) -> None:
        for event in batch:
            batch.reject(event, reason)

    orders.processor(refuse)
    orders.drain()
    orders.processor(lambda batch: None)
    return orders


def release_failed(name: str, *, error: str, backoff: timedelta = timedelta(0)) -> str:
    """Let the oldest batch fail with this error. Returns its id."""
    store, lease = store_of(name), timedelta(minutes=1)
    claim = store.claim("worker", lease=lease, linger=timedelta(0)).claim
    assert claim is not None
    store.release(claim, lease=lease, backoff=backoff, error=error)
    return claim.id
