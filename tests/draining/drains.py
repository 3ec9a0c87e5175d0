"""Ways to drain a bucket, and what a drain reports."""

import time
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Bucket, DrainReport


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
    claim, _ = bucket._definition.parts.store.claim(
        "dead", lease=timedelta(minutes=5), linger=None, after=None
    )
    assert claim is not None


def impatient(**options: Any) -> Bucket:
    """A bucket whose failed batches can be claimed again at once."""
    return Bucket("orders", lease=timedelta(0), **options)


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
