"""What the failure of a batch tells about an outage.

Some exceptions mean an outage. Otherwise single events are the proof: if several of them fail in a
row and nothing succeeds, the fault is not theirs.
"""

import random
from datetime import timedelta
from typing import Final, NamedTuple

from django.db import InterfaceError, OperationalError

from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.claims import Claim

from .descriptions import has_kind

FIRST_BACKOFF: Final = timedelta(seconds=1)

ROW_TO_PROBE: Final = 3
"""Batches that fail in a row before workers try single events instead: the probes."""

PROBES: Final = 5
"""Single events that fail in a row before an outage is assumed."""

MOST_PROBES: Final = 50
"""Single events that are taken from their batches as probes. After so many an outage is beyond
doubt, and the probes are halves of batches that have failed twice."""

WEIGHT_OF_AN_EXCEPTION: Final = 3
"""How many probes an exception that means an outage stands for. So an outage is assumed when it
hits two batches in a row: a single batch may itself be the reason for the exception."""

OUTAGE_ERRORS: Final = (
    OperationalError,
    InterfaceError,
    ConnectionError,
    TimeoutError,
    BufferUnavailable,
)


class Evidence(NamedTuple):
    """What one failure tells about an outage."""

    weight: int
    """How many failures it stands for. 0 if it tells nothing."""

    is_by_exception: bool
    """Whether its exception means an outage."""

    is_outage: bool
    """Whether the batch waits for the end of an outage."""

    do_all_wait: bool
    """Whether all workers of the bucket wait."""

    @classmethod
    def of(cls, claim: Claim, error: BaseException, options: Options) -> "Evidence":
        is_by_exception = not claim.others_succeeded and isinstance(
            error, (*OUTAGE_ERRORS, *options.outage_errors)
        )
        weight = _weight(claim, error, is_by_exception=is_by_exception)
        is_alone = claim.count == 1 or is_by_exception
        failed, alone = claim.row.failed + weight, claim.row.alone + (weight if is_alone else 0)
        is_proven = failed >= ROW_TO_PROBE and alone >= PROBES
        do_all_wait = is_proven or claim.row.tries > 0
        # Few events are no proof, but it is an outage for them.
        has_waited = claim.count == 1 and claim.attempt >= PROBES and not claim.others_succeeded
        is_outage = is_by_exception or do_all_wait or has_waited
        return cls(weight, is_by_exception, is_outage, do_all_wait)


def _weight(claim: Claim, error: BaseException, *, is_by_exception: bool) -> int:
    """A batch counts once. It does not count if it is a piece of a batch that failed with the same
    class of exception, and others have succeeded since: then the fault is its own.
    """
    if claim.attempt > 1 or (claim.others_succeeded and has_kind(claim.error, error)):
        return 0
    return WEIGHT_OF_AN_EXCEPTION if is_by_exception else 1


def size_of_probe(claim: Claim) -> int:
    """How many events of the batch a worker tries next. 0 for all, which is no probe.

    While it is in doubt whether there is an outage, one event is enough. Later, or after exceptions
    that mean an outage, batches stay whole, unless they have failed twice: then each half is tried,
    because one event of each batch may be at fault.
    """
    row = claim.row
    if claim.count == 1:
        return 0
    if row.is_by_exception or row.alone >= MOST_PROBES:
        return claim.count // 2 if claim.attempt > 2 else 0
    return 1 if row.failed >= ROW_TO_PROBE else 0


def backoff_after(attempts: int, *, most: timedelta) -> timedelta:
    """The backoff doubles with each attempt. Its jitter keeps workers from retrying in step, with
    each other and with a service that is away at regular times.
    """
    return min(FIRST_BACKOFF * 2.0 ** min(attempts - 1, 16), most) * random.uniform(0.5, 1)
