"""The question that is asked before an action: what it will touch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.figures import format_count
from django_jsonbuffer.states import BucketState

from .groups import find_group, title_of
from .selection import Selection

_MOST_COUNTED: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Touched:
    """A bucket that the action will touch."""

    bucket_state: BucketState
    count: str
    """The number of its events or dead letters that the action touches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """A question, with a button that carries the action out."""

    title: str
    question: str
    button: str
    is_destructive: bool
    fields: tuple[tuple[str, str], ...] = ()
    """Hidden fields of the form, which are sent with the answer."""

    notes: Sequence[str] = ()
    touched: Sequence[Touched] = ()
    """Of several buckets, the first."""

    touched_heading: str = ""
    more: str = ""
    """How many further buckets the action will touch."""


def _confirm_purge(
    bucket: Bucket, selection: Selection, *, with_events: bool
) -> Confirmation | None:
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
        is_destructive=True,
        notes=[_("Batches that a worker holds and dead letters stay.")],
    )


def _question_of_discard(count: int) -> str:
    return ngettext(
        "This removes %(n)s dead letter for ever.",
        "This removes %(n)s dead letters for ever.",
        count,
    )


def _confirm_discard(
    bucket: Bucket, selection: Selection, *, with_events: bool
) -> Confirmation | None:
    return _confirm_letters(
        bucket,
        selection,
        with_events=with_events,
        title=_("Discard dead letters of %(name)s?"),
        question=_question_of_discard,
        button=_("Discard"),
        is_destructive=True,
    )


def _question_of_replay(count: int) -> str:
    return ngettext(
        "The event of %(n)s dead letter goes behind all pending events and is processed again.",
        "The events of %(n)s dead letters go behind all pending events and are processed again.",
        count,
    )


def _confirm_replay(
    bucket: Bucket, selection: Selection, *, with_events: bool
) -> Confirmation | None:
    return _confirm_letters(
        bucket,
        selection,
        with_events=with_events,
        title=_("Replay dead letters of %(name)s?"),
        question=_question_of_replay,
        button=pgettext("dead letters", "Replay"),
        is_destructive=False,
    )


def _confirm_letters(
    bucket: Bucket,
    selection: Selection,
    *,
    with_events: bool,
    title: str,
    question: Callable[[int], str],
    button: str,
    is_destructive: bool,
) -> Confirmation | None:
    """The question about the selected dead letters. None if none is selected."""
    if not selection:
        return None
    count, notes = _letters(bucket, selection, with_events=with_events)
    return Confirmation(
        title=title % {"name": bucket.name},
        question=question(count) % {"n": format_count(count)},
        button=button,
        is_destructive=is_destructive,
        fields=selection.fields,
        notes=notes,
    )


def _letters(bucket: Bucket, selection: Selection, *, with_events: bool) -> tuple[int, list[str]]:
    """How many letters are selected, and what is to be said about them."""
    if not selection.up_to:
        return len(bucket.dead.in_bulk(selection.ids, most_bytes=1)), []
    later = _("Dead letters that came after you opened the page stay.")
    if selection.group is None:
        newer = bucket.dead.page(_MOST_COUNTED, after=selection.up_to, most_bytes=1)
        return max(bucket.status().dead - len(newer), 0), [later]
    group = find_group(bucket, selection.group)
    if group is None:
        return 0, []
    newer = bucket.dead.find(
        _MOST_COUNTED, after=selection.up_to, group=group.name, most_bytes=1
    ).letters
    shows_messages = with_events and catalog.options_of(bucket).redact is None
    title = title_of(group, with_messages=shows_messages)
    about = _("All have the error: %(error)s") % {"error": title}
    return max(group.count - len(newer), 0), [about, later]


CONFIRMATIONS: Final[Mapping[str, Callable[..., Confirmation | None]]] = {
    "replay": _confirm_replay,
    "discard": _confirm_discard,
    "purge": _confirm_purge,
}
"""Makes the question for each action that is asked for. None if no dead letter is selected.

Each takes the bucket, what is selected, and whether the visitor may see events."""
