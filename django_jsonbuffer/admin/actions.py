"""What can be done to a bucket from the admin, and what is to be asked before."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.dead_letters import is_id
from django_jsonbuffer.draining import Drain, DrainReport
from django_jsonbuffer.exceptions import InvalidEvent, JSONBufferError, NoProcessor
from django_jsonbuffer.figures import whole

DRAIN_SECONDS: Final = 10.0
"""After which a drain within a request claims no batch any more."""

_MOST_COUNTED: Final = 1000

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
    try:
        steps = bucket.drain_steps()
    except NoProcessor as error:
        return Outcome(str(error), messages.ERROR, is_logged=False)
    report = steps.report
    try:
        # A worker knows nothing of the request: of its language and time zone, of who made it, nor
        # of a gathering, with whose appends a processor would be acknowledged before they are made.
        Context().run(_drain_for_a_while, steps)
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


def _drain_for_a_while(steps: Drain) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    with steps as drain:
        while drain.step() and time.monotonic() < deadline:
            pass


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
    selected = Selected.of(request)
    if not selected:
        return nothing_selected()
    try:
        if selected.up_to:
            count = bucket.dead.replay_all(up_to=selected.up_to)
        else:
            count = bucket.dead.replay(*selected.ids)
    except InvalidEvent as error:
        return Outcome(str(error), messages.ERROR, is_logged=False)
    told = ngettext("Replayed: %(n)s dead letter.", "Replayed: %(n)s dead letters.", count)
    return Outcome(told % {"n": whole(count)}, is_logged=bool(count))


def _discard(bucket: Bucket, request: HttpRequest) -> Outcome:
    selected = Selected.of(request)
    if not selected:
        return nothing_selected()
    if selected.up_to:
        count = bucket.dead.discard_all(up_to=selected.up_to)
    else:
        count = bucket.dead.discard(*selected.ids)
    told = ngettext("Discarded: %(n)s dead letter.", "Discarded: %(n)s dead letters.", count)
    return Outcome(told % {"n": whole(count)}, is_logged=bool(count))


def _purge(bucket: Bucket, request: HttpRequest) -> Outcome:
    count = bucket.purge()
    told = ngettext("Purged: %(n)s pending event.", "Purged: %(n)s pending events.", count)
    return Outcome(told % {"n": whole(count)}, is_logged=bool(count))


class Selected(NamedTuple):
    """The dead letters that the form of the page names."""

    ids: list[str]
    up_to: str
    """The newest that the page knew of, when all up to there are meant: those that nobody has seen
    yet stay."""

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        if "all" not in request.POST:
            return cls(request.POST.getlist("letter"), "")
        up_to = request.POST.get("newest", "")
        if not is_id(up_to):
            raise BadRequest(f"{up_to!r} is no id of a dead letter.")
        return cls([], up_to)

    def __bool__(self) -> bool:
        return bool(self.ids or self.up_to)


def nothing_selected() -> Outcome:
    told = _("Nothing was done: select dead letters first.")
    return Outcome(told, messages.WARNING, is_logged=False)


ACTIONS: Final[Mapping[str, Callable[[Bucket, HttpRequest], Outcome]]] = {
    "drain": _drain,
    "pause": _pause,
    "resume": _resume,
    "replay": _replay,
    "discard": _discard,
    "purge": _purge,
}


def _confirm_purge(bucket: Bucket, request: HttpRequest) -> Confirmation | None:
    count = bucket.status().pending
    question = ngettext(
        "%(n)s pending event will be gone for ever, and what is appended until you answer.",
        "%(n)s pending events will be gone for ever, and what is appended until you answer.",
        count,
    )
    return Confirmation(
        title=_("Purge %(name)s?") % {"name": bucket.name},
        question=question % {"n": whole(count)},
        button=_("Purge what is pending"),
    )


def _confirm_discard(bucket: Bucket, request: HttpRequest) -> Confirmation | None:
    selected = Selected.of(request)
    if not selected:
        return None
    sent: tuple[tuple[str, str], ...]
    if selected.up_to:
        sent = (("all", "1"), ("newest", selected.up_to))
        newer = bucket.dead.page(_MOST_COUNTED, after=selected.up_to, most_bytes=1)
        count = max(bucket.status().dead - len(newer), 0)
    else:
        sent = tuple(("letter", id) for id in selected.ids)
        count = len(selected.ids)
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


QUESTIONS: Final[Mapping[str, Callable[[Bucket, HttpRequest], Confirmation | None]]] = {
    "discard": _confirm_discard,
    "purge": _confirm_purge,
}
"""What destroys, and what to ask before. None when there is nothing to destroy."""
