"""The actions on a bucket, with the permission that each needs."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from typing import Final, NamedTuple

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.draining.drain import Drain
from django_jsonbuffer.draining.report import DrainReport
from django_jsonbuffer.draining.turns import Turns
from django_jsonbuffer.exceptions import InvalidEvent, JSONBufferError, NoProcessor
from django_jsonbuffer.figures import format_count
from django_jsonbuffer.store.status import BucketStatus

from .selection import Selection

DRAIN_SECONDS: Final = 10.0
"""A drain within a request claims no further batch after that time. It finishes the batch in hand,
so the request may take longer."""

PERMISSIONS: Final[Mapping[str, str]] = {
    "drain": "drain_bucket",
    "pause": "change_bucket",
    "resume": "change_bucket",
    "replay": "change_bucket",
    "discard": "delete_events",
    "purge": "delete_events",
}
"""The permission that each action needs, apart from the permission to see the bucket."""


class Outcome(NamedTuple):
    """The result of an action, as a message."""

    message: str
    """For the visitor and, unless nothing was done, for the admin's log."""

    level: int = messages.SUCCESS
    is_logged: bool = True


def _drain(bucket: Bucket, request: HttpRequest) -> Outcome:
    try:
        drain = bucket.drain_steps()
    except NoProcessor as error:
        return Outcome(str(error), messages.ERROR, is_logged=False)
    report = drain.report
    try:
        # In an empty context, as in a worker: without the request's language, time zone and actor.
        # And without its gathered() block, in which the appends of the processor would wait until
        # after the ack of their batch.
        Context().run(_drain_for_a_while, drain)
        status = bucket.status()
    except JSONBufferError as error:
        if not (report.batches or report.failed or report.buried):
            raise
        return Outcome(" ".join([*_describe_report(report), str(error)]), messages.ERROR)
    sentences = [*_describe_report(report), *_describe_rest(status)]
    is_fine = not (report.failed or report.buried) and status.paused is None
    return Outcome(" ".join(sentences), messages.SUCCESS if is_fine else messages.WARNING)


def _drain_for_a_while(drain: Drain | Turns) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    with drain:
        while drain.step() and time.monotonic() < deadline:
            pass


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


def _pause(bucket: Bucket, request: HttpRequest) -> Outcome:
    if bucket.pause():
        return Outcome(_("Paused: appends continue, and no worker drains the bucket."))
    return Outcome(_("It was paused already."), messages.INFO, is_logged=False)


def _resume(bucket: Bucket, request: HttpRequest) -> Outcome:
    if bucket.resume():
        return Outcome(_("Resumed."))
    return Outcome(_("It was not paused."), messages.INFO, is_logged=False)


def _replay(bucket: Bucket, request: HttpRequest) -> Outcome:
    selection = Selection.of(request)
    if not selection:
        return refuse_empty_selection()
    try:
        if selection.up_to:
            count = bucket.dead.replay_all(up_to=selection.up_to)
        else:
            count = bucket.dead.replay(*selection.ids)
    except InvalidEvent as error:
        return Outcome(str(error), messages.ERROR, is_logged=False)
    message = ngettext("Replayed: %(n)s dead letter.", "Replayed: %(n)s dead letters.", count)
    return Outcome(message % {"n": format_count(count)}, is_logged=bool(count))


def _discard(bucket: Bucket, request: HttpRequest) -> Outcome:
    selection = Selection.of(request)
    if not selection:
        return refuse_empty_selection()
    if selection.up_to:
        count = bucket.dead.discard_all(up_to=selection.up_to)
    else:
        count = bucket.dead.discard(*selection.ids)
    message = ngettext("Discarded: %(n)s dead letter.", "Discarded: %(n)s dead letters.", count)
    return Outcome(message % {"n": format_count(count)}, is_logged=bool(count))


def _purge(bucket: Bucket, request: HttpRequest) -> Outcome:
    count = bucket.purge()
    message = ngettext("Purged: %(n)s pending event.", "Purged: %(n)s pending events.", count)
    return Outcome(message % {"n": format_count(count)}, is_logged=bool(count))


def refuse_empty_selection() -> Outcome:
    message = _("Nothing was done: select dead letters first.")
    return Outcome(message, messages.WARNING, is_logged=False)


ACTIONS: Final[Mapping[str, Callable[[Bucket, HttpRequest], Outcome]]] = {
    "drain": _drain,
    "pause": _pause,
    "resume": _resume,
    "replay": _replay,
    "discard": _discard,
    "purge": _purge,
}
