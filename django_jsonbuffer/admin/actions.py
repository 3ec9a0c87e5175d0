"""What can be done to a bucket from the admin, and what is to be asked before."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.draining import DrainReport
from django_jsonbuffer.exceptions import InvalidEvent, JSONBufferError, NoProcessor
from django_jsonbuffer.figures import whole

DRAIN_SECONDS: Final = 10.0
"""After which a drain within a request claims no batch any more."""

PERMISSIONS: Final[Mapping[str, str]] = {
    "drain": "drain_bucket",
    "pause": "change_bucket",
    "resume": "change_bucket",
    "replay": "change_bucket",
    "discard": "delete_events",
    "purge": "delete_events",
}
"""What a visitor needs for each action, beside the permission to see the bucket."""


class Outcome(NamedTuple):
    """What an action did."""

    message: str
    """For the visitor, and for the log unless nothing was done."""

    level: int = messages.SUCCESS
    is_logged: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """What is asked before an action destroys something."""

    title: str
    question: str
    button: str
    fields: tuple[tuple[str, str], ...] = ()
    """To be sent with the answer."""


def _drain(bucket: Bucket, request: HttpRequest) -> Outcome:
    deadline = time.monotonic() + DRAIN_SECONDS
    try:
        steps = bucket.drain_steps()
    except NoProcessor as error:
        return Outcome(str(error), messages.ERROR, is_logged=False)
    report = steps.report
    try:
        with steps as drain:
            while drain.step() and time.monotonic() < deadline:
                pass
        status = bucket.status()
    except JSONBufferError as error:
        if not (report.batches or report.failed or report.buried):
            raise
        return Outcome(" ".join([*_told(report), str(error)]), messages.ERROR)
    parts = [*_told(report)]
    if status.paused is not None:
        parts.append(_("The bucket is paused: resume it first."))
    elif status.pending:
        left = ngettext("%(n)s event is pending.", "%(n)s events are pending.", status.pending)
        parts.append(left % {"n": whole(status.pending)})
    is_fine = not (report.failed or report.buried) and status.paused is None
    return Outcome(" ".join(parts), messages.SUCCESS if is_fine else messages.WARNING)


def _told(report: DrainReport) -> Iterator[str]:
    drained = ngettext("Drained: %(n)s event.", "Drained: %(n)s events.", report.processed)
    yield drained % {"n": whole(report.processed)}
    if report.failed:
        failed = ngettext(
            "%(n)s attempt failed: see the log.",
            "%(n)s attempts failed: see the log.",
            report.failed,
        )
        yield failed % {"n": whole(report.failed)}
    if report.buried:
        buried = ngettext(
            "%(n)s event became a dead letter.",
            "%(n)s events became dead letters.",
            report.buried,
        )
        yield buried % {"n": whole(report.buried)}


def _pause(bucket: Bucket, request: HttpRequest) -> Outcome:
    if bucket.pause():
        return Outcome(_("Paused: it takes appends, and is not drained."))
    return Outcome(_("It was paused already."), messages.INFO, is_logged=False)


def _resume(bucket: Bucket, request: HttpRequest) -> Outcome:
    if bucket.resume():
        return Outcome(_("Resumed."))
    return Outcome(_("It was not paused."), messages.INFO, is_logged=False)


def _replay(bucket: Bucket, request: HttpRequest) -> Outcome:
    is_all, ids = "all" in request.POST, request.POST.getlist("letter")
    if not (is_all or ids):
        return _nothing_selected()
    try:
        count = bucket.dead.replay_all() if is_all else bucket.dead.replay(*ids)
    except InvalidEvent as error:
        return Outcome(str(error), messages.ERROR, is_logged=False)
    told = ngettext("Replayed: %(n)s dead letter.", "Replayed: %(n)s dead letters.", count)
    return Outcome(told % {"n": whole(count)}, is_logged=bool(count))


def _discard(bucket: Bucket, request: HttpRequest) -> Outcome:
    up_to, ids = request.POST.get("up_to"), request.POST.getlist("letter")
    if not (up_to or ids):
        return _nothing_selected()
    try:
        count = bucket.dead.discard(*ids) if ids else bucket.dead.discard_all(up_to=up_to)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    told = ngettext("Discarded: %(n)s dead letter.", "Discarded: %(n)s dead letters.", count)
    return Outcome(told % {"n": whole(count)}, is_logged=bool(count))


def _nothing_selected() -> Outcome:
    told = _("Nothing was done: select dead letters first.")
    return Outcome(told, messages.WARNING, is_logged=False)


def _purge(bucket: Bucket, request: HttpRequest) -> Outcome:
    count = bucket.purge()
    told = ngettext("Purged: %(n)s pending event.", "Purged: %(n)s pending events.", count)
    return Outcome(told % {"n": whole(count)}, is_logged=bool(count))


ACTIONS: Final = {
    "drain": _drain,
    "pause": _pause,
    "resume": _resume,
    "replay": _replay,
    "discard": _discard,
    "purge": _purge,
}


def confirmation(bucket: Bucket, action: str, request: HttpRequest) -> Confirmation | None:
    """What to ask before the action. None when it destroys nothing, or was confirmed."""
    if "confirmed" in request.POST:
        return None
    if action == "purge":
        count = bucket.status().pending
        question = ngettext(
            "%(n)s pending event will be gone for ever.",
            "%(n)s pending events will be gone for ever, and what is appended until you answer.",
            count,
        )
        return Confirmation(
            title=_("Purge %(name)s?") % {"name": bucket.name},
            question=question % {"n": whole(count)},
            button=_("Purge what is pending"),
        )
    if action == "discard":
        return _confirmation_of_discard(bucket, request)
    return None


def _confirmation_of_discard(bucket: Bucket, request: HttpRequest) -> Confirmation | None:
    # Those that nobody has seen yet stay: "all" ends with the newest that the page knew of.
    ids, up_to = request.POST.getlist("letter"), request.POST.get("up_to", "")
    if "all" not in request.POST:
        count, sent = len(ids), tuple(("letter", id) for id in ids)
    else:
        count, sent = bucket.status().dead, (("up_to", up_to or bucket.dead.newest() or ""),)
    if not count:
        return None
    question = ngettext(
        "%(n)s dead letter will be gone for ever.",
        "%(n)s dead letters will be gone for ever.",
        count,
    )
    return Confirmation(
        title=_("Discard dead letters of %(name)s?") % {"name": bucket.name},
        question=question % {"n": whole(count)},
        button=_("Discard"),
        fields=sent,
    )
