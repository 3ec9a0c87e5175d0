"""What the failure of a batch tells about an outage.

Some exceptions mean an outage. Otherwise single events are the proof: if several of them fail in a
row and nothing succeeds, the fault is not theirs.
"""

import random
from datetime import timedelta
from typing import Final, NamedTuple

from django.db import InterfaceError, OperationalError

from django_jsonbuffer.exceptions import BufferUnavailable, DestinationUnavailable
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.claims import Claim, Reason
from django_jsonbuffer.summaries import looks_like

FIRST_BACKOFF: Final = timedelta(seconds=1)

ROW_TO_PROBE: Final = 3
"""Batches that fail in a row before workers try single events instead: the probes."""

PROBES: Final = 5
"""Single events that fail in a row before an outage is assumed."""

MOST_PROBES: Final = 50
"""Single events that are taken from their batches as probes. After so many an outage is beyond
doubt, and the probes are halves of batches that have failed twice."""

WEIGHT: Final = 20
"""How much a failure tells about an outage. claim.lua knows this number too."""

WEIGHT_OF_AN_EXCEPTION: Final = 2 * WEIGHT
"""Of an exception that means an outage. So an outage is assumed when it comes three times in a row,
the last time with a single event."""

WEIGHT_OF_ANOTHER_ERROR: Final = WEIGHT // 2
"""Of an event that fails with another error than before, or than the batch that it was a piece of,
although others have succeeded. So where many events are bad, twice as many must fail in a row."""

WEIGHT_OF_A_SUSPECT: Final = WEIGHT // 20
"""Of a suspect: it fails with the same error as before, although others have succeeded. An outage
may have the error of a bad event. It is noticed after 100 single events that fail in a row. So many
bad events in a row are rare."""

OUTAGE_ERRORS: Final = (
    OperationalError,
    InterfaceError,
    ConnectionError,
    TimeoutError,
    BufferUnavailable,
    DestinationUnavailable,
)


class Evidence(NamedTuple):
    """What one failure tells about an outage."""

    weight: int
    """How much it tells. 0 for nothing."""

    reason: Reason
    """Why the batch is released, if it is not halved: whether this failure is an attempt, or the
    batch waits for the end of an outage."""

    is_by_exception: bool
    """Whether its exception is of a class that means an outage."""

    do_all_wait: bool
    """Whether all workers of the bucket wait."""

    @classmethod
    def of(cls, claim: Claim, error: BaseException, summary: str, options: Options) -> "Evidence":
        """`summary` is that of the error, as the log has it."""
        is_by_exception = isinstance(error, (*OUTAGE_ERRORS, *options.outage_errors))
        is_like_before = looks_like(claim.error, summary)
        means_outage = is_by_exception and not claim.others_succeeded
        weight = _weight(claim, is_by_exception=is_by_exception, is_like_before=is_like_before)
        is_alone = claim.count == 1 or means_outage
        failed, alone = claim.row.failed + weight, claim.row.alone + (weight if is_alone else 0)
        is_proven = failed >= WEIGHT * ROW_TO_PROBE and alone >= WEIGHT * PROBES
        # A destination that asks to wait says nothing about the events.
        is_asked_to_wait = is_by_exception and bool(retry_after(error))
        do_all_wait = is_proven or claim.row.tries > 0 or is_asked_to_wait
        # Few events are no proof, but it is an outage for them.
        has_waited = claim.count == 1 and claim.attempt >= PROBES and not claim.others_succeeded
        if means_outage or do_all_wait or has_waited:
            reason = Reason.OUTAGE
        else:
            reason = _reason(claim, is_by_exception=is_by_exception, is_like_before=is_like_before)
        return cls(weight, reason, is_by_exception, do_all_wait)


def _reason(claim: Claim, *, is_by_exception: bool, is_like_before: bool) -> Reason:
    """Whether the failure of a single event is an attempt. The docs have this as a table."""
    if not claim.others_succeeded:
        return Reason.RETRY
    if is_like_before:
        return Reason.DOUBTFUL if is_by_exception else Reason.FAILURE
    return Reason.DOUBTFUL if claim.has_changed else Reason.CHANGED


def _weight(claim: Claim, *, is_by_exception: bool, is_like_before: bool) -> int:
    """A batch counts once. Between two successes of others, it counts once more if its error is
    another one, or if its exception means an outage.
    """
    fails_again = claim.has_failed and claim.attempt - claim.deaths > 1
    if claim.others_succeeded and not is_like_before:
        return WEIGHT_OF_ANOTHER_ERROR
    if claim.others_succeeded:
        return 0 if fails_again and not is_by_exception else WEIGHT_OF_A_SUSPECT
    if fails_again:
        return 0
    return WEIGHT_OF_AN_EXCEPTION if is_by_exception else WEIGHT


def size_of_probe(claim: Claim) -> int:
    """How many events of the batch a worker tries next. 0 for all, which is no probe.

    It is one event when several batches have failed in a row. It is also one event when a batch has
    failed twice with an exception that means an outage: perhaps there is none, and one of its
    events makes the processor raise it. After many probes, a batch is tried whole. If it has failed
    twice, its halves are tried, because there may be good events in them.
    """
    row = claim.row
    if claim.count == 1:
        return 0
    if row.alone >= WEIGHT * MOST_PROBES:
        return claim.count // 2 if claim.attempt > 2 else 0
    return int(row.failed >= WEIGHT * ROW_TO_PROBE or (row.is_by_exception and claim.attempt > 2))


def is_probe_last(claim: Claim) -> bool:
    """Whether the next probe is the end of its batch, and not the beginning.

    Bad events often lie side by side. So the probes come from both ends in turn.
    """
    return claim.row.alone % (2 * WEIGHT) >= WEIGHT


def retry_after(error: BaseException) -> timedelta:
    """How long the destination of the events asks to wait. Zero if it does not.

    An exception says so in an attribute `retry_after`, as :class:`DestinationUnavailable` does.
    """
    asked = getattr(error, "retry_after", None)
    return max(asked, timedelta(0)) if isinstance(asked, timedelta) else timedelta(0)


def backoff_after(attempts: int, *, most: timedelta) -> timedelta:
    """The backoff doubles with each attempt. Its jitter keeps workers from retrying in step, with
    each other and with a service that is away at regular times.
    """
    return min(FIRST_BACKOFF * 2.0 ** min(attempts - 1, 16), most) * random.uniform(0.5, 1)
