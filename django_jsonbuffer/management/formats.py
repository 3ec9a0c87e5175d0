"""The formats of ``show_buckets``: for people, for scripts and for a monitor."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from django_jsonbuffer.figures import Figures
from django_jsonbuffer.states import BucketState
from django_jsonbuffer.store.status import BucketStatus

from .prometheus import format_prometheus


def format_table(bucket_states: Sequence[BucketState]) -> str:
    """A table for people: a line for each bucket, and one for each reason for its state."""
    rows = [["bucket", "state", "pending", "oldest", "in/min", "out/min"]]
    rows[0] += ["dead", "in flight", "batches", "bytes", "workers"]
    rows += [
        [bucket_state.bucket.name, bucket_state.state.value, *_cells(bucket_state.status)]
        for bucket_state in bucket_states
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for at, row in enumerate(rows):
        cells = [
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if at:
            lines += [f"  {reason}" for reason in bucket_states[at - 1].reasons]
    return "\n".join(lines).replace("\xa0", " ") + "\n"


def _cells(status: BucketStatus | None) -> list[str]:
    if status is None:
        return ["?"] * 9
    figures = Figures.of(status)
    return [
        figures.pending,
        figures.oldest.words if figures.oldest else "-",
        figures.appended_per_minute or "-",
        figures.processed_per_minute or "-",
        figures.dead,
        figures.in_flight,
        figures.batches,
        figures.bytes,
        figures.workers,
    ]


def format_json(bucket_states: Sequence[BucketState]) -> str:
    """An array for scripts, in one line. An unreadable bucket has no figures of Redis."""
    return json.dumps([_facts(bucket_state) for bucket_state in bucket_states]) + "\n"


def _facts(bucket_state: BucketState) -> dict[str, Any]:
    spilled = bucket_state.spilled
    facts = {
        "bucket": bucket_state.bucket.name,
        "state": bucket_state.state.value,
        "reasons": [*bucket_state.reasons],
        "spilled_on_this_machine": None if spilled is None else spilled._asdict(),
    }
    if (status := bucket_state.status) is None:
        return facts
    return facts | {
        "pending": status.pending,
        "in_flight": status.in_flight,
        "dead": status.dead,
        "batches": {
            "open": status.batches_open,
            "sealed": status.batches_sealed,
            "in_flight": status.batches_in_flight,
        },
        "bytes": status.bytes,
        "oldest_seconds": None if status.oldest is None else status.oldest.total_seconds(),
        "appended_per_minute": status.appended_per_minute,
        "processed_per_minute": status.processed_per_minute,
        "workers": status.workers,
        "paused_seconds": None if status.paused is None else status.paused.total_seconds(),
        "failing_batches": status.failing,
        "outage_seconds": None if status.outage is None else status.outage.total_seconds(),
        **_totals(status),
    }


def _totals(status: BucketStatus) -> dict[str, Any]:
    totals = ("appended", "processed", "buried", "replayed", "lost")
    return {name: getattr(status, name) for name in totals} | {"dropped": status.dropped._asdict()}


FORMATS: Final[Mapping[str, Callable[[Sequence[BucketState]], str]]] = {
    "table": format_table,
    "json": format_json,
    "prometheus": format_prometheus,
}
