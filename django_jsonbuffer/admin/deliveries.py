"""The workers of a bucket with the batch that each holds, and the batches that will be retried."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.escapes import escape_invisible
from django_jsonbuffer.figures import Age
from django_jsonbuffer.store.deliveries import Deliveries, Delivery
from django_jsonbuffer.store.workers import process_of

DELIVERIES_SHOWN: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRow:
    """A worker of the bucket, with one of the batches that it holds."""

    name: str
    last_seen: Age | None
    batch: Delivery | None
    held_for: Age | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FailingRow:
    """A batch that was released, and waits for its next attempt."""

    batch: Delivery
    error: str
    retry_in: Age | None
    """None if a worker may take it at once."""


def describe_deliveries(bucket: Bucket, *, lease: timedelta, with_messages: bool) -> dict[str, Any]:
    """A row for each worker, and one for each released batch.

    Without `with_messages`, only the class of an error is shown, because its message may quote an
    event.
    """
    deliveries = catalog.deliveries(bucket, DELIVERIES_SHOWN)
    return {
        "workers": [*_workers(deliveries)],
        "failing": [
            _failing(batch, lease=lease, with_messages=with_messages)
            for batch in deliveries.batches
            if not batch.worker and (batch.error or batch.deaths)
        ],
    }


def _workers(deliveries: Deliveries) -> Iterator[WorkerRow]:
    """Those that hold batches come first. A process has a name for each shard, and a row for each
    batch that it holds."""
    seen: dict[str, timedelta] = {}
    for name, ago in deliveries.workers.items():
        process = process_of(name)
        seen[process] = min(ago, seen.get(process, ago))
    holders = set()
    for batch in deliveries.batches:
        if batch.worker:
            holders.add(process := process_of(batch.worker))
            yield _worker(process, seen.get(process), batch)
    for process in sorted(seen.keys() - holders):
        yield _worker(process, seen[process], None)


def _worker(process: str, last_seen: timedelta | None, batch: Delivery | None) -> WorkerRow:
    held_for = batch.claimed if batch else None
    return WorkerRow(
        name=escape_invisible(process),
        last_seen=None if last_seen is None else Age.of(last_seen),
        batch=batch,
        held_for=None if held_for is None else Age.of(held_for),
    )


def _failing(batch: Delivery, *, lease: timedelta, with_messages: bool) -> FailingRow:
    waits = batch.retry_in(lease)
    return FailingRow(
        batch=batch,
        error=escape_invisible(batch.error if with_messages else batch.error_kind),
        retry_in=Age.of(waits) if waits else None,
    )
