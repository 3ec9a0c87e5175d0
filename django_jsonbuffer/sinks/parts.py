"""Hands a part of a batch on to another processor."""

from collections.abc import Callable, Sequence

from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.draining.processor_transactions import finish

Processor = Callable[[Batch], object]


def hand_on(
    batch: Batch,
    places: Sequence[int],
    processor: Processor,
    *,
    id: str | None = None,
    others_processed: bool = False,
) -> bool:
    """Let another processor process the events at these places, and note what it rejects.

    Returns whether it has processed an event. `id` becomes the id of the part. A part that is
    processed beside other parts of the batch needs an id of its own, because processors use the id
    to recognize a batch that comes again. `others_processed` says that another part was processed:
    then the part may be rejected as a whole.
    """
    if not places:
        return False
    events = [batch[place] for place in places]
    part = Batch(events, id=id or batch.id, attempt=batch.attempt, bucket=batch.bucket)
    part.others_processed = others_processed or batch.others_processed
    finish(processor(part))
    for place, reason in part.rejected.items():
        batch.reject_at(places[place], reason)
    return len(part.rejected) < len(part)


def accepted(batch: Batch) -> list[int]:
    """The places of the events that were not rejected yet."""
    return [place for place in range(len(batch)) if place not in batch.rejected]
