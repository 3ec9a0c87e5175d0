"""The state of each bucket, with the reasons for it, as the admin and a monitor see it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from django.utils.translation import pgettext_lazy

from . import catalog
from .appending.spill_size import SpillSize
from .attendance import Attendance, read_dead_workers
from .buckets import Bucket
from .dead_workers import LastHeard
from .escapes import escape_invisible
from .exceptions import JSONBufferError
from .options import Options
from .reasons import (
    failures_and_dead_letters,
    how_long_it_is_paused,
    reasons_to_be_behind,
    reasons_to_stall,
)
from .spilled import describe_spill
from .store.status import BucketStatus


class State(Enum):
    """The states of a bucket, the most urgent first."""

    UNREADABLE = "unreadable"
    """One of its keys holds a value of another type, or this site may not read its keys."""

    STALLED = "stalled"
    """Nobody drains the bucket, although events wait, or a worker that has died holds events."""

    FAILING = "failing"
    """A batch has failed, or its worker has died, and the batch has not succeeded since. Or the
    processor succeeds with nothing."""

    BEHIND = "behind"
    """A worker is active, but events wait too long."""

    NEEDS_DECISION = "needs-decision"
    """There are dead letters, and nothing else is wrong."""

    PAUSED = "paused"
    FLOWING = "flowing"
    EMPTY = "empty"

    @property
    def label(self) -> str:
        return str(_LABELS[self])

    @property
    def urgency(self) -> int:
        """The rank of the state; 0 is the most urgent."""
        return _URGENCIES[self]


_URGENCIES: Final = {state: rank for rank, state in enumerate(State)}

_LABELS: Final = {
    State.UNREADABLE: pgettext_lazy("bucket", "unreadable"),
    State.STALLED: pgettext_lazy("bucket", "stalled"),
    State.FAILING: pgettext_lazy("bucket", "failing"),
    State.BEHIND: pgettext_lazy("bucket", "behind"),
    State.NEEDS_DECISION: pgettext_lazy("bucket", "needs a decision"),
    State.PAUSED: pgettext_lazy("bucket", "paused"),
    State.FLOWING: pgettext_lazy("bucket", "flowing"),
    State.EMPTY: pgettext_lazy("bucket", "empty"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketState:
    """The state of one bucket, with the reasons for it."""

    bucket: Bucket
    status: BucketStatus | None
    """None if the bucket cannot be read."""

    error: JSONBufferError | None
    """Why the bucket cannot be read."""

    state: State
    spilled: SpillSize | None
    """What is spilled on this machine. None if the bucket has no ``spill_dir``, or if the spill
    cannot be read."""

    about_spill: Sequence[str]
    """What needs attention of it."""

    @classmethod
    def of(
        cls,
        bucket: Bucket,
        options: Options,
        outcome: BucketStatus | JSONBufferError,
        dead_workers: LastHeard | None,
    ) -> Self:
        """`dead_workers` is None if it is not known which workers live."""
        spilled, about_spill = describe_spill(bucket) if options.spill_dir else (None, [])
        if isinstance(outcome, JSONBufferError):
            status, error, state = None, outcome, State.UNREADABLE
        else:
            attendance = Attendance.of(bucket.name, options, outcome, dead_workers)
            status, error = outcome, None
            state = _choose_state(outcome, attendance, is_spilled=bool(spilled))
        return cls(
            bucket=bucket,
            status=status,
            error=error,
            state=state,
            spilled=spilled,
            about_spill=about_spill,
        )

    @property
    def reasons(self) -> list[str]:
        """The reasons for the state, and anything else that needs attention: sentences in the
        visitor's language. They are made when they are asked for, since few of thousands are shown.
        """
        if self.status is None:
            found = [escape_invisible(str(self.error))]
        else:
            found = [*_reasons(self.bucket, self.status, self.state)]
        return [*found, *self.about_spill]


def read_states(buckets: Sequence[Bucket]) -> list[BucketState]:
    """The state of each bucket, read in one round trip for 500.

    It takes one more if a bucket without a worker may be stalled. Raises
    :class:`BufferUnavailable` if Redis cannot be reached. If only a node of a cluster cannot be
    reached, its buckets are unreadable.
    """
    options, outcomes = catalog.options_of_all(buckets), catalog.statuses(buckets)
    dead_workers = read_dead_workers(buckets, options, outcomes)
    return [
        BucketState.of(*each, dead_workers) for each in zip(buckets, options, outcomes, strict=True)
    ]


def sorted_by_urgency(
    states: Iterable[BucketState], *, is_reversed: bool = False
) -> list[BucketState]:
    """The most urgent bucket first, or last. Equally urgent buckets are sorted by name."""
    sign = -1 if is_reversed else 1
    return sorted(states, key=lambda each: (sign * each.state.urgency, each.bucket.name))


def is_for_other_clients(bucket: Bucket) -> bool:
    """Whether other clients are meant to take the open batch from Redis themselves."""
    [options] = catalog.options_of_all([bucket])
    return options.batch_size is None


def count_states(states: Iterable[State]) -> dict[State, int]:
    """The number of buckets in each state, the most urgent first, without empty states."""
    all_states = [*states]
    return {state: count for state in State if (count := all_states.count(state))}


def _choose_state(status: BucketStatus, attendance: Attendance, *, is_spilled: bool) -> State:
    if status.paused is not None:
        return State.PAUSED
    if attendance.is_deserted:
        return State.STALLED
    if status.failing or status.outage is not None:
        return State.FAILING
    if attendance.waits_too_long:
        return State.BEHIND
    if status.dead:
        return State.NEEDS_DECISION
    if status.pending or status.in_flight or is_spilled:
        return State.FLOWING
    if status.workers and _has_traffic(status):
        return State.FLOWING
    return State.EMPTY


def _has_traffic(status: BucketStatus) -> bool:
    return bool(status.appended_per_minute or status.processed_per_minute)


def _reasons(bucket: Bucket, status: BucketStatus, state: State) -> Iterator[str]:
    """The reason for the state first."""
    yield from how_long_it_is_paused(status)
    if state == State.STALLED:
        yield from reasons_to_stall(bucket, status)
    if state == State.BEHIND:
        yield from reasons_to_be_behind(status)
    yield from failures_and_dead_letters(status)
