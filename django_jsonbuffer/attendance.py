"""Whether somebody drains a bucket, and whether its events wait too long."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from .buckets import Bucket
from .conf import configuration
from .dead_workers import LastHeard, read_last_heard
from .exceptions import JSONBufferError
from .options import Options
from .store.registry import ALIVE
from .store.status import BucketStatus

_SLACK: Final = timedelta(seconds=10)
"""How much later than `behind_after` the next run of cron may come. Two runs are not exactly a
minute apart, and the second one takes no sample if it comes a little early."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attendance:
    """How long the events of a bucket have waited, and whether somebody drains them."""

    waits_too_long: bool
    """Longer than `linger` and `behind_after` together."""

    is_deserted: bool
    """Nobody drains the bucket, although events wait, or a worker that has died holds events."""

    @classmethod
    def of(
        cls, name: str, options: Options, status: BucketStatus, dead_workers: LastHeard | None
    ) -> Self:
        """`dead_workers` is None if it is not known which workers live."""
        if status.oldest is None and not status.in_flight:
            return cls(waits_too_long=False, is_deserted=False)
        waits_too_long = _waits_too_long(status, options)
        if dead_workers is None:
            waits, died = waits_too_long, None
        else:
            waits, died = _waits(status, options), dead_workers.get(name)
        is_attended = _is_attended(status, options, died)
        is_deserted = (waits or status.in_flight > 0) and not is_attended
        return cls(waits_too_long=waits_too_long, is_deserted=is_deserted)


def read_dead_workers(
    buckets: Sequence[Bucket],
    options: Sequence[Options],
    outcomes: Sequence[BucketStatus | JSONBufferError],
) -> LastHeard | None:
    """The workers that have died, of the buckets where that decides whether somebody drains them.
    None if it is not known which workers live.

    Asks Redis only if a bucket may be deserted.
    """
    counts: dict[str, int] = {}
    is_any_deserted = False
    for bucket, its, status in zip(buckets, options, outcomes, strict=True):
        if isinstance(status, BucketStatus) and _may_be_deserted(status, its):
            is_any_deserted = True
            if _was_sampled_lately(status, its):
                counts[bucket.name] = its.shards
    return read_last_heard(counts, configuration()) if is_any_deserted else {}


def _may_be_deserted(status: BucketStatus, options: Options) -> bool:
    if status.workers or status.paused is not None:
        return False
    return status.in_flight > 0 or (status.oldest is not None and _waits(status, options))


def _waits(status: BucketStatus, options: Options) -> bool:
    """Whether an event has waited so long that a worker would have taken it.

    Another client takes the open batch when it likes.
    """
    if options.batch_size is None:
        return _waits_too_long(status, options)
    return status.oldest is not None and status.oldest > options.linger


def _waits_too_long(status: BucketStatus, options: Options) -> bool:
    # In seconds, because the sum of two timedeltas may be larger than the largest timedelta.
    most = options.linger.total_seconds() + options.behind_after.total_seconds()
    return status.oldest is not None and status.oldest.total_seconds() > most


def _is_attended(status: BucketStatus, options: Options, died: timedelta | None) -> bool:
    """Whether a worker is active, or a run has written a sample lately.

    A bucket that cron drains has no worker between two runs, but it has a sample of the last run.
    If a worker has died, `died` is how long ago it was last heard of. A sample that it may have
    written itself proves nothing.
    """
    if status.workers > 0:
        return True
    if status.sampled is None or not _was_sampled_lately(status, options):
        return False
    return died is None or status.sampled < died - ALIVE


def _was_sampled_lately(status: BucketStatus, options: Options) -> bool:
    return status.sampled is not None and status.sampled - options.behind_after <= _SLACK
