"""The state of each bucket, with the reasons for it, as the admin and a monitor see it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from . import catalog
from .appending.spill_size import SpillSize
from .buckets import Bucket
from .escapes import escape_invisible
from .exceptions import BufferMisconfigured, JSONBufferError
from .figures import format_count, format_duration
from .options import Options
from .spilled import describe_spill
from .store.status import BucketStatus


class State(Enum):
    """The states of a bucket, the most urgent first."""

    UNREADABLE = "unreadable"
    """One of its keys holds a value of another type, or this site may not read its keys."""

    STALLED = "stalled"
    """Events wait too long, or a dead worker holds events, and no worker is active."""

    FAILING = "failing"
    """A batch has failed, or its worker has died, and the batch has not succeeded since. Or the
    processor succeeds with nothing."""

    BEHIND = "behind"
    """A worker is active, but events wait too long."""

    PAUSED = "paused"
    FLOWING = "flowing"
    EMPTY = "empty"

    @property
    def label(self) -> str:
        return str(_LABELS[self])

    @property
    def urgency(self) -> int:
        """The rank of the state; 0 is the most urgent."""
        return list(State).index(self)


_LABELS: Final = {
    State.UNREADABLE: gettext_lazy("unreadable"),
    State.STALLED: gettext_lazy("stalled"),
    State.FAILING: gettext_lazy("failing"),
    State.BEHIND: gettext_lazy("behind"),
    State.PAUSED: gettext_lazy("paused"),
    State.FLOWING: gettext_lazy("flowing"),
    State.EMPTY: gettext_lazy("empty"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketState:
    """The state of one bucket, with the reasons for it."""

    bucket: Bucket
    status: BucketStatus | None
    """None if the bucket cannot be read."""

    state: State
    reasons: Sequence[str]
    """The reasons for the state, and anything else that needs attention: sentences in the
    visitor's language."""

    spilled: SpillSize | None
    """What is spilled on this machine. None if the bucket has no ``spill_dir``, or if the spill
    cannot be read."""

    @classmethod
    def of(cls, bucket: Bucket, outcome: BucketStatus | JSONBufferError) -> Self:
        spilled, about_spill = describe_spill(bucket)
        if isinstance(outcome, JSONBufferError):
            status, state, reasons = None, State.UNREADABLE, [escape_invisible(str(outcome))]
        else:
            options = _options_of(bucket)
            status, state = outcome, _choose_state(outcome, options, is_spilled=bool(spilled))
            reasons = [*_reasons(bucket, outcome, options, state)]
        reasons += about_spill
        return cls(bucket=bucket, status=status, state=state, reasons=reasons, spilled=spilled)


def read_states(buckets: Sequence[Bucket]) -> list[BucketState]:
    """The state of each bucket, read in one round trip for 500.

    Raises :class:`BufferUnavailable` if Redis cannot be reached. If only a node of a cluster cannot
    be reached, its buckets are unreadable.
    """
    outcomes = catalog.statuses(buckets)
    return [
        BucketState.of(bucket, outcome) for bucket, outcome in zip(buckets, outcomes, strict=True)
    ]


def sorted_by_urgency(
    states: Iterable[BucketState], *, is_reversed: bool = False
) -> list[BucketState]:
    """The most urgent bucket first, or last. Equally urgent buckets are sorted by name."""
    sign = -1 if is_reversed else 1
    return sorted(states, key=lambda each: (sign * each.state.urgency, each.bucket.name))


def is_for_other_clients(bucket: Bucket) -> bool:
    """Whether other clients are meant to take the open batch from Redis themselves."""
    return _options_of(bucket).batch_size is None


def count_states(states: Iterable[State]) -> dict[State, int]:
    """The number of buckets in each state, the most urgent first, without empty states."""
    all_states = [*states]
    return {state: count for state in State if (count := all_states.count(state))}


def _options_of(bucket: Bucket) -> Options:
    try:
        return catalog.options_of(bucket)
    except BufferMisconfigured:
        return Options()  # a system check reports the mistake


def _choose_state(status: BucketStatus, options: Options, *, is_spilled: bool) -> State:
    if status.paused is not None:
        return State.PAUSED
    waits_too_long = _waits_too_long(status, options)
    if (waits_too_long or status.in_flight) and not _is_attended(status, options):
        return State.STALLED
    if status.failing or status.outage is not None:
        return State.FAILING
    if waits_too_long:
        return State.BEHIND
    if status.pending or status.in_flight or is_spilled:
        return State.FLOWING
    if status.workers and _has_traffic(status):
        return State.FLOWING
    return State.EMPTY


def _waits_too_long(status: BucketStatus, options: Options) -> bool:
    # In seconds, because the sum of two timedeltas may be larger than the largest timedelta.
    most = options.linger.total_seconds() + options.behind_after.total_seconds()
    return status.oldest is not None and status.oldest.total_seconds() > most


def _is_attended(status: BucketStatus, options: Options) -> bool:
    """Whether a worker is active, or a worker has written a sample lately.

    A bucket that cron drains has no worker between two runs, but it has a sample of the last run.
    """
    was_sampled_lately = status.sampled is not None and status.sampled <= options.behind_after
    return status.workers > 0 or was_sampled_lately


def _has_traffic(status: BucketStatus) -> bool:
    return bool(status.appended_per_minute or status.processed_per_minute)


def _reasons(bucket: Bucket, status: BucketStatus, options: Options, state: State) -> Iterator[str]:
    if status.paused is not None:
        yield _("Paused for %(time)s.") % {"time": format_duration(status.paused)}
    is_late = state in (State.STALLED, State.BEHIND) and _waits_too_long(status, options)
    if is_late and status.oldest is not None:
        waited = format_duration(status.oldest)
        yield _("The oldest event has waited for %(time)s.") % {"time": waited}
    if state == State.STALLED:
        yield from _reasons_to_stall(bucket, status, options)
    if state == State.BEHIND and status.workers:
        workers = ngettext(
            "%(number)s worker drains the bucket. Start more workers.",
            "%(number)s workers drain the bucket. Start more workers.",
            status.workers,
        )
        yield workers % {"number": format_count(status.workers)}
    if status.outage is not None:
        outage = _("The processor has only failed for %(time)s. All events are kept.")
        yield outage % {"time": format_duration(status.outage)}
    if status.failing:
        yield from _failures(status)
    if status.dead:
        letters = ngettext(
            "%(number)s dead letter waits for a decision.",
            "%(number)s dead letters wait for a decision.",
            status.dead,
        )
        yield letters % {"number": format_count(status.dead)}


def _reasons_to_stall(bucket: Bucket, status: BucketStatus, options: Options) -> Iterator[str]:
    if status.in_flight:
        held = ngettext(
            "%(number)s event is held by a worker that has died.",
            "%(number)s events are held by a worker that has died.",
            status.in_flight,
        )
        yield held % {"number": format_count(status.in_flight)}
    if catalog.has_processor(bucket):
        yield _("No worker is active: run drain_buckets.")
    elif options.batch_size is None:
        yield _("No other client has taken the events.")
    else:
        yield _("No worker drains the bucket, because no processor is declared.")


def _failures(status: BucketStatus) -> Iterator[str]:
    batches = ngettext(
        "%(number)s batch has failed and will be retried.",
        "%(number)s batches have failed and will be retried.",
        status.failing,
    )
    yield batches % {"number": format_count(status.failing)}
    if status.error:
        last = _("The oldest batch failed with %(error)s at delivery %(attempt)s.")
    else:
        last = _("A worker died with the oldest batch at delivery %(attempt)s.")
    # Only the class: the message may quote an event, which not everybody may see.
    kind = status.error.partition(":")[0]
    yield last % {"error": escape_invisible(kind), "attempt": format_count(status.attempt)}
