"""Batches and processors for the tests of sinks."""

from collections.abc import Sequence
from typing import Any

from django_jsonbuffer import Batch
from django_jsonbuffer.sinks.sink import Sink

ID = "1700000000123-4-a1b2c3"
"""The id of a batch that was sealed on 2023-11-14."""


def a_batch(*events: Any, id: str = ID, bucket: str = "orders", attempt: int = 1) -> Batch:
    return Batch(events, id=id, attempt=attempt, bucket=bucket)


def a_change(number: int, **fields: Any) -> dict[str, Any]:
    """A CloudEvent, as the worker gets it."""
    return {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": "/shop",
        "type": "shop.order.updated",
        "data": {"number": number},
        **fields,
    }


class Recorder:
    """A processor that keeps what it gets, and rejects some of it."""

    def __init__(self, *bad: Any, error: Exception | None = None) -> None:
        self.batches: list[Batch] = []
        self.bad: Sequence[Any] = bad
        self.error = error

    def __call__(self, batch: Batch) -> None:
        self.batches.append(batch)
        if self.error is not None:
            raise self.error
        for place, event in enumerate(batch):
            if event in self.bad:
                batch.reject_at(place, "bad")

    @property
    def events(self) -> list[Any]:
        return [event for batch in self.batches for event in batch]


def processed(sink: Sink, *events: Any) -> dict[int, str]:
    """Let the sink process these events. Returns the reasons of the rejected ones, by place."""
    batch = a_batch(*events)
    sink(batch)
    return {place: str(reason) for place, reason in batch.rejected.items()}
