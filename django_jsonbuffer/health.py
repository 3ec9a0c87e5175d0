"""How a bucket does, in one word and with what made it so, for those who look."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from . import buckets
from .buckets import Bucket
from .exceptions import BufferMisconfigured, JSONBufferError
from .figures import in_words, whole
from .options import Options
from .store import BucketStatus


class State(Enum):
    """The word for how a bucket does, the most urgent first."""

    UNREADABLE = "unreadable"
    """Something else lies at one of its keys."""

    STALLED = "stalled"
    """Events wait, or are held by a worker that is gone, and nobody drains."""

    FAILING = "failing"
    """A batch has failed, or killed its worker, and has not succeeded since."""

    BEHIND = "behind"
    """Somebody drains, and yet events wait too long."""

    PAUSED = "paused"
    FLOWING = "flowing"
    EMPTY = "empty"

    @property
    def label(self) -> str:
        return str(_LABELS[self])

    @property
    def urgency(self) -> int:
        """Less is more urgent."""
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
class Health:
    """How one bucket does."""

    bucket: Bucket
    status: BucketStatus | None
    """None when it cannot be read."""

    state: State
    reasons: Sequence[str]
    """What made it so, and what else wants a look: sentences in the language in force."""

    @classmethod
    def of(cls, bucket: Bucket, outcome: BucketStatus | JSONBufferError) -> Self:
        if isinstance(outcome, JSONBufferError):
            return cls(bucket=bucket, status=None, state=State.UNREADABLE, reasons=[str(outcome)])
        options = _options(bucket)
        state = _state(outcome, options)
        reasons = [*_reasons(bucket, outcome, options, state)]
        return cls(bucket=bucket, status=outcome, state=state, reasons=reasons)


def health(of: Sequence[Bucket]) -> list[Health]:
    """How each bucket does, read in one round trip for all.

    Raises :class:`BufferUnavailable` when Redis is away.
    """
    return [
        Health.of(bucket, outcome) for bucket, outcome in zip(of, buckets.statuses(of), strict=True)
    ]


def is_for_other_clients(bucket: Bucket) -> bool:
    """Whether its events are meant to be taken from Redis as they lie there."""
    return _options(bucket).batch_size is None


def _options(bucket: Bucket) -> Options:
    try:
        return bucket.options
    except BufferMisconfigured:
        return Options()  # a system check tells what is wrong with them


def _state(status: BucketStatus, options: Options) -> State:
    if status.paused is not None:
        return State.PAUSED
    waits_too_long = _waits_too_long(status, options)
    if (waits_too_long or status.in_flight) and not _is_attended(status, options):
        return State.STALLED
    if status.failing:
        return State.FAILING
    if waits_too_long:
        return State.BEHIND
    if status.pending or status.in_flight or (status.workers and _moves(status)):
        return State.FLOWING
    return State.EMPTY


def _waits_too_long(status: BucketStatus, options: Options) -> bool:
    # In seconds, since two timedeltas may have a sum that is none.
    most = options.linger.total_seconds() + options.behind_after.total_seconds()
    return status.oldest is not None and status.oldest.total_seconds() > most


def _is_attended(status: BucketStatus, options: Options) -> bool:
    """One that is drained by cron has no worker in between, but one that has noted how it stood."""
    noted_lately = status.sampled is not None and status.sampled <= options.behind_after
    return status.workers > 0 or noted_lately


def _moves(status: BucketStatus) -> bool:
    return bool(status.appended_per_minute or status.processed_per_minute)


def _reasons(bucket: Bucket, status: BucketStatus, options: Options, state: State) -> Iterator[str]:
    if status.paused is not None:
        yield _("Paused for %(time)s.") % {"time": in_words(status.paused)}
    is_late = state in (State.STALLED, State.BEHIND) and _waits_too_long(status, options)
    if is_late and status.oldest is not None:
        yield _("The oldest event has waited for %(time)s.") % {"time": in_words(status.oldest)}
    if state == State.STALLED and status.in_flight:
        held = ngettext(
            "%(number)s event is held by a worker that is gone.",
            "%(number)s events are held by a worker that is gone.",
            status.in_flight,
        )
        yield held % {"number": whole(status.in_flight)}
    if state == State.STALLED:
        if bucket.has_processor:
            yield _("No worker was heard of: run drain_buckets.")
        elif options.batch_size is None:
            yield _("No other client has taken it.")
        else:
            yield _("Nobody drains it: no processor is declared.")
    if state == State.BEHIND and status.workers:
        workers = ngettext(
            "%(number)s worker drains it: start more.",
            "%(number)s workers drain it: start more.",
            status.workers,
        )
        yield workers % {"number": whole(status.workers)}
    if status.failing:
        yield from _failures(status)
    if status.dead:
        letters = ngettext(
            "%(number)s dead letter waits for a decision.",
            "%(number)s dead letters wait for a decision.",
            status.dead,
        )
        yield letters % {"number": whole(status.dead)}


def _failures(status: BucketStatus) -> Iterator[str]:
    batches = ngettext(
        "%(number)s batch has failed and comes again.",
        "%(number)s batches have failed and come again.",
        status.failing,
    )
    yield batches % {"number": whole(status.failing)}
    if status.error:
        last = _("The oldest failed with %(error)s at attempt %(attempt)s.")
    else:
        last = _("A worker died with the oldest at attempt %(attempt)s.")
    yield last % {"error": status.error, "attempt": whole(status.attempt)}


def counted(states: Iterable[State]) -> dict[State, int]:
    """How many buckets are in each state, the most urgent first; only those that there are."""
    all_states = [*states]
    return {state: n for state in State if (n := all_states.count(state))}
