"""The limits for a monitor: ``show_buckets`` fails if a bucket crosses one."""

from collections.abc import Iterator
from typing import NamedTuple

from django_jsonbuffer.states import BucketState


class Limits(NamedTuple):
    """The most that a bucket may have; None for no limit."""

    pending: int | None
    age_seconds: float | None
    dead: int | None

    def describe_crossed(self, bucket_state: BucketState) -> Iterator[str]:
        """A sentence for each limit that the bucket crosses."""
        status, name = bucket_state.status, bucket_state.bucket.name
        if status is None:
            return
        if self.pending is not None and status.pending > self.pending:
            yield f"{name}: {status.pending:,} pending, more than {self.pending:,}."
        waited = 0 if status.oldest is None else status.oldest.total_seconds()
        if self.age_seconds is not None and waited > self.age_seconds:
            yield (
                f"{name}: the oldest event is {waited:,.0f} s old, more than "
                f"{self.age_seconds:,g} s."
            )
        if self.dead is not None and status.dead > self.dead:
            yield f"{name}: {status.dead:,} dead letters, more than {self.dead:,}."
