"""The content of the page of all workers."""

from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jsonbuffer import catalog
from django_jsonbuffer.escapes import escape_invisible
from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.figures import Age, format_count
from django_jsonbuffer.store.registry import ALIVE
from django_jsonbuffer.store.status import BucketStatus
from django_jsonbuffer.store.workers import Worker

MOST_BUCKETS: Final = 500
"""The batches of so many buckets are read, in one round trip."""

_HELD_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A batch that a worker holds."""

    bucket: str
    batch: str
    since: Age | None


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRow:
    """A process that drains buckets."""

    name: str
    machine: str
    heard: Age | None
    is_gone: bool
    """Whether it has died, and still holds batches."""

    serves: str
    holds: list[Held]
    more: int
    """How many further batches it holds."""


def count_workers() -> int | None:
    """The number of workers that watch. None if it cannot be read."""
    try:
        return sum(not _is_gone(worker) for worker in catalog.workers())
    except JSONBufferError:
        return None


def read_workers() -> dict[str, Any]:
    """The context of the page. Takes round trips for the names, for the figures of each 500
    buckets, and for the workers."""
    known, gap = catalog.read_known()
    statuses = catalog.statuses(known)
    busy = [
        bucket
        for bucket, status in zip(known, statuses, strict=True)
        if isinstance(status, BucketStatus) and status.in_flight
    ]
    rows = [_row(worker) for worker in catalog.workers(busy[:MOST_BUCKETS])]
    return {
        "workers": sorted(rows, key=lambda row: (not row.is_gone, not row.holds, row.name)),
        "gap": gap,
        "is_cut": len(busy) > MOST_BUCKETS,
        "unreadable": sum(isinstance(status, JSONBufferError) for status in statuses),
    }


def _row(worker: Worker) -> WorkerRow:
    return WorkerRow(
        name=escape_invisible(worker.name),
        machine=escape_invisible(worker.machine),
        heard=None if worker.heard is None else Age.of(worker.heard),
        is_gone=_is_gone(worker),
        serves=_describe_serves(worker),
        holds=[
            Held(
                bucket=bucket,
                batch=delivery.batch,
                since=None if delivery.claimed is None else Age.of(delivery.claimed),
            )
            for bucket, delivery in worker.holds[:_HELD_SHOWN]
        ],
        more=max(len(worker.holds) - _HELD_SHOWN, 0),
    )


def _is_gone(worker: Worker) -> bool:
    return worker.heard is None or worker.heard > ALIVE


def _describe_serves(worker: Worker) -> str:
    """What it drains. Empty if it does not watch, or has died."""
    if worker.serves_all:
        return _("all buckets")
    if worker.serves is None:
        return ""
    names = ngettext("%(n)s bucket or pattern", "%(n)s buckets and patterns", worker.serves)
    return names % {"n": format_count(worker.serves)}
