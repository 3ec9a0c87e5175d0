"""Ways to drain a bucket, and what a drain reports."""

import time
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Batch, Bucket, DrainReport
from tests.server import Redis


def report(**figures: int) -> DrainReport:
    return DrainReport(**figures)


def drain_until(bucket: Bucket, *, processed: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if bucket.drain().processed == processed:
            return
        time.sleep(0.05)
    pytest.fail("the batch did not come again")


def claim_and_die(bucket: Bucket) -> None:
    """Leave a batch claimed, as a worker does that is killed."""
    bucket._definition.parts.store.seal()
    store = bucket._definition.parts.store
    assert store.claim("dead", lease=timedelta(minutes=5), linger=None).claim is not None


def impatient(**options: Any) -> Bucket:
    """A bucket whose failed batches can be claimed again at once."""
    return Bucket("orders", lease=timedelta(0), **options)


def refuse(
    bucket: Bucket, *bad: Any, error: type[BaseException] = ValueError, message: str = "no"
) -> list[Any]:
    """Give the bucket a processor that fails if a batch has a bad event. Returns what it got."""
    got: list[Any] = []

    def store(batch: Batch) -> None:
        if not set(bad).isdisjoint(batch):
            raise error(message)
        got.extend(batch)

    bucket.processor(store)
    return got


def refuse_all(bucket: Bucket, *, error: type[BaseException] = ValueError) -> None:
    """Give the bucket a processor that always fails."""

    def store(batch: Batch) -> None:
        raise error("no")

    bucket.processor(store)


def let_outage_last(plain: Redis, bucket: Bucket, *, seconds: int) -> None:
    """Let the outage of the bucket have begun so long ago."""
    stats = f"{bucket.key}:stats"
    failed, alone, since, *rest = plain.hget(stats, "outage").decode().split("/")
    fields = [failed, alone, str(int(since) - 1000 * seconds), *rest]
    plain.hset(stats, "outage", "/".join(fields))


def drain_all(bucket: Bucket) -> DrainReport:
    """Drain until nothing is left, as a watching worker does in the end."""
    total = report()
    for _ in range(200):
        found = bucket.drain()
        total.processed += found.processed
        total.batches += found.batches
        total.failed += found.failed
        total.buried += found.buried
        if not bucket.status().batches:
            return total
    pytest.fail("something is left for ever")
