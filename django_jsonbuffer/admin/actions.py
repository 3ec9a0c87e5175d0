"""The actions on a bucket, with the permission that each needs."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from django.contrib import messages
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jsonbuffer import operations
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.exceptions import InvalidEvent, NoProcessor
from django_jsonbuffer.figures import format_count

from .drains import drain_for_a_while
from .groups import find_group
from .selection import Selection

PERMISSIONS: Final[Mapping[str, str]] = {
    "drain": "drain_bucket",
    "pause": "change_bucket",
    "resume": "change_bucket",
    "retry": "change_bucket",
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
    events: int = 0
    """The events or dead letters that the action was about."""

    is_unfinished: bool = False
    """Whether the time was over before the action was done with all events."""


def _drain(bucket: Bucket, selection: Selection, until: float | None) -> Outcome:
    try:
        drained = drain_for_a_while(bucket, until=until)
    except NoProcessor as error:
        return Outcome(str(error), messages.ERROR, is_logged=False)
    level = messages.SUCCESS if drained.is_fine else messages.WARNING
    if drained.has_ended_early:
        level = messages.ERROR
    return Outcome(
        drained.message,
        level,
        is_logged=not drained.is_about_nothing,
        events=drained.processed,
        is_unfinished=drained.is_unfinished,
    )


def _pause(bucket: Bucket, selection: Selection, until: float | None) -> Outcome:
    return describe_pause(is_changed=bucket.pause(), is_paused=True)


def _resume(bucket: Bucket, selection: Selection, until: float | None) -> Outcome:
    return describe_pause(is_changed=bucket.resume(), is_paused=False)


def describe_pause(*, is_changed: bool, is_paused: bool) -> Outcome:
    """The outcome of pausing or resuming a bucket."""
    if is_changed:
        paused = _("Paused: appends continue, and no worker drains the bucket.")
        return Outcome(paused if is_paused else _("Resumed."))
    message = _("It was paused already.") if is_paused else _("It was not paused.")
    return Outcome(message, messages.INFO, is_logged=False)


def _retry(bucket: Bucket, selection: Selection, until: float | None) -> Outcome:
    if operations.retry_now(bucket, selection.batch):
        message = _("Batch %(id)s can be tried at once: the next free worker takes it.")
        return Outcome(message % {"id": selection.batch})
    message = _("Nothing was done: the batch is not waiting any more.")
    return Outcome(message, messages.INFO, is_logged=False)


def _replay(bucket: Bucket, selection: Selection, until: float | None) -> Outcome:
    if not selection:
        return refuse_empty_selection()
    try:
        if selection.up_to:
            count = _with_all(bucket.dead.replay_all, bucket, selection)
        else:
            count = bucket.dead.replay(*selection.ids)
    except InvalidEvent as error:
        return Outcome(str(error), messages.ERROR, is_logged=False)
    message = ngettext("Replayed: %(n)s dead letter.", "Replayed: %(n)s dead letters.", count)
    return _counted(message, count)


def _discard(bucket: Bucket, selection: Selection, until: float | None) -> Outcome:
    if not selection:
        return refuse_empty_selection()
    if selection.up_to:
        count = _with_all(bucket.dead.discard_all, bucket, selection)
    else:
        count = bucket.dead.discard(*selection.ids)
    message = ngettext("Discarded: %(n)s dead letter.", "Discarded: %(n)s dead letters.", count)
    return _counted(message, count)


def _with_all(act: Callable[..., int], bucket: Bucket, selection: Selection) -> int:
    """Do it with all dead letters, or with all of a group. Returns with how many."""
    if selection.group is None:
        return act(up_to=selection.up_to)
    group = find_group(bucket, selection.group)
    return act(up_to=selection.up_to, group=group.name) if group else 0


def _purge(bucket: Bucket, selection: Selection, until: float | None) -> Outcome:
    count = bucket.purge()
    message = ngettext("Purged: %(n)s pending event.", "Purged: %(n)s pending events.", count)
    return _counted(message, count)


def _counted(message: str, count: int) -> Outcome:
    return Outcome(message % {"n": format_count(count)}, is_logged=bool(count), events=count)


def refuse_empty_selection() -> Outcome:
    message = _("Nothing was done: select dead letters first.")
    return Outcome(message, messages.WARNING, is_logged=False)


ACTIONS: Final[Mapping[str, Callable[[Bucket, Selection, float | None], Outcome]]] = {
    "drain": _drain,
    "pause": _pause,
    "resume": _resume,
    "retry": _retry,
    "replay": _replay,
    "discard": _discard,
    "purge": _purge,
}
"""Each takes the bucket, what is selected, and when a drain is to end (``time.monotonic()``)."""
