"""The figures of all buckets of the list together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from django.template.defaultfilters import filesizeformat

from django_jsonbuffer.figures import Age, format_count
from django_jsonbuffer.states import BucketState


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The figures of the readable buckets together."""

    pending: str
    oldest: Age | None
    oldest_in: str
    """The bucket with the oldest pending event."""

    dead: str
    has_dead: bool
    workers: str
    """All workers that are active, whatever they drain. Empty if this is not known."""

    is_deserted: bool
    """Whether events wait, and no worker is active."""

    spilled: str
    """What is spilled on this machine. Empty if nothing is."""

    is_partial: bool
    """Whether some buckets cannot be read."""

    @classmethod
    def of(cls, found: Sequence[BucketState], *, workers: int | None) -> Self:
        readable = [(each.bucket.name, each.status) for each in found if each.status is not None]
        ages = [(status.oldest, name) for name, status in readable if status.oldest is not None]
        oldest, oldest_in = max(ages, default=(None, ""))
        dead = sum(status.dead for _name, status in readable)
        pending = sum(status.pending for _name, status in readable)
        of_buckets = max((status.workers for _name, status in readable), default=0)
        spilled = sum(each.spilled.bytes for each in found if each.spilled)
        return cls(
            pending=format_count(pending),
            oldest=None if oldest is None else Age.of(oldest),
            oldest_in=oldest_in,
            dead=format_count(dead),
            has_dead=dead > 0,
            workers="" if workers is None else format_count(max(workers, of_buckets)),
            is_deserted=pending > 0 and workers == of_buckets == 0,
            spilled=filesizeformat(spilled) if spilled else "",
            is_partial=len(readable) < len(found),
        )
