"""Drains a bucket within a request, and says what that did."""

import time
from collections.abc import Iterator
from contextvars import Context
from typing import Final, NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.draining.drain import Drain
from django_jsonbuffer.draining.report import DrainReport
from django_jsonbuffer.draining.turns import Turns
from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.figures import format_count
from django_jsonbuffer.store.status import BucketStatus

DRAIN_SECONDS: Final = 10.0
"""A drain within a request claims no further batch after that time. It finishes the batch in hand,
so the request may take longer."""


class Drained(NamedTuple):
    """The result of a drain within a request."""

    processed: int
    message: str
    is_fine: bool
    """Whether nothing failed, and the bucket is not paused."""

    is_about_nothing: bool = False
    """Whether there was nothing to process."""

    has_ended_early: bool = False
    """Whether Redis refused something halfway. The message says what."""

    is_unfinished: bool = False
    """Whether the time was over before all events were processed."""


def drain_for_a_while(bucket: Bucket, *, until: float | None = None) -> Drained:
    """Process what is pending, for at most :data:`DRAIN_SECONDS` or until the time of
    ``time.monotonic()``.

    Raises :class:`NoProcessor`, and the error of Redis if nothing was done.
    """
    drain = bucket.drain_steps()
    report = drain.report
    if until is None:
        until = time.monotonic() + DRAIN_SECONDS
    try:
        # In an empty context, as in a worker: without the request's language, time zone and actor.
        # And without its gathered() block, in which the appends of the processor would wait until
        # after the ack of their batch.
        is_late = Context().run(_drain, drain, until)
        status = bucket.status()
    except JSONBufferError as error:
        if not (report.batches or report.failed or report.buried):
            raise
        message = " ".join([*_describe_report(report), str(error)])
        return Drained(report.processed, message, is_fine=False, has_ended_early=True)
    message = " ".join([*_describe_report(report), *_describe_rest(status)])
    is_fine = not (report.failed or report.buried) and status.paused is None
    is_unfinished = is_late and status.pending > 0 and status.paused is None
    did_something = report.batches or report.failed or report.buried
    return Drained(
        report.processed,
        message,
        is_fine=is_fine,
        is_about_nothing=not did_something,
        is_unfinished=is_unfinished,
    )


def _drain(drain: Drain | Turns, until: float) -> bool:
    """Returns whether the time has ended it."""
    with drain:
        while drain.step():
            if time.monotonic() >= until:
                return True
    return False


def _describe_report(report: DrainReport) -> Iterator[str]:
    drained = ngettext("Drained: %(n)s event.", "Drained: %(n)s events.", report.processed)
    yield drained % {"n": format_count(report.processed)}
    if report.repeated:
        repeated = ngettext(
            "%(n)s event was repeated: it has a receipt, so it was not processed again.",
            "%(n)s events were repeated: they have receipts, so they were not processed again.",
            report.repeated,
        )
        yield repeated % {"n": format_count(report.repeated)}
    if report.failed:
        failed = ngettext(
            "%(n)s failure: see the log.",
            "%(n)s failures: see the log.",
            report.failed,
        )
        yield failed % {"n": format_count(report.failed)}
    if report.buried:
        buried = ngettext(
            "%(n)s event became a dead letter.",
            "%(n)s events became dead letters.",
            report.buried,
        )
        yield buried % {"n": format_count(report.buried)}


def _describe_rest(status: BucketStatus) -> Iterator[str]:
    if status.paused is not None:
        yield _("The bucket is paused: resume it first.")
    elif status.pending:
        left = ngettext("%(n)s event is pending.", "%(n)s events are pending.", status.pending)
        yield left % {"n": format_count(status.pending)}
