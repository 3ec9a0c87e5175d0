"""The question that is asked before an action destroys events."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.figures import format_count

from .selection import Selection

_MOST_COUNTED: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """A question, with a button that carries the action out."""

    title: str
    question: str
    button: str
    fields: tuple[tuple[str, str], ...] = ()
    """Hidden fields of the form, which are sent with the answer."""


def _confirm_purge(bucket: Bucket, request: HttpRequest) -> Confirmation | None:
    count = bucket.status().pending
    question = ngettext(
        "This removes %(n)s pending event for ever, and all events that are appended until you "
        "answer.",
        "This removes %(n)s pending events for ever, and all events that are appended until you "
        "answer.",
        count,
    )
    return Confirmation(
        title=_("Purge %(name)s?") % {"name": bucket.name},
        question=question % {"n": format_count(count)},
        button=_("Purge pending events"),
    )


def _confirm_discard(bucket: Bucket, request: HttpRequest) -> Confirmation | None:
    selection = Selection.of(request)
    if not selection:
        return None
    count = _count(bucket, selection)
    question = ngettext(
        "This removes %(n)s dead letter for ever.",
        "This removes %(n)s dead letters for ever.",
        count,
    )
    return Confirmation(
        title=_("Discard dead letters of %(name)s?") % {"name": bucket.name},
        question=question % {"n": format_count(count)},
        button=_("Discard"),
        fields=_fields(selection),
    )


def _count(bucket: Bucket, selection: Selection) -> int:
    if not selection.up_to:
        return len(selection.ids)
    newer = bucket.dead.page(_MOST_COUNTED, after=selection.up_to, most_bytes=1)
    return max(bucket.status().dead - len(newer), 0)


def _fields(selection: Selection) -> tuple[tuple[str, str], ...]:
    if selection.up_to:
        return ("all", "1"), ("newest", selection.up_to)
    return tuple(("letter", id) for id in selection.ids)


CONFIRMATIONS: Final[Mapping[str, Callable[[Bucket, HttpRequest], Confirmation | None]]] = {
    "discard": _confirm_discard,
    "purge": _confirm_purge,
}
"""Makes the question for each action that destroys events. None if no dead letter is selected."""
