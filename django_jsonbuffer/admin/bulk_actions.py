"""How each action on several buckets is described, and to which buckets it applies."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.store.status import BucketStatus


class BulkAction(NamedTuple):
    """How an action on several buckets is described."""

    label: Any
    """For its button on the list."""

    button: Callable[[int], str]
    """For its button in the question, which names a number of buckets."""

    question: Any
    """The text of its question, with the number of events or dead letters that it touches."""

    done: Callable[[int], str]
    """For a number of buckets."""

    counts: Callable[[BucketStatus], int]
    """The events or dead letters of a bucket that it touches."""

    applies: Callable[[Bucket, BucketStatus], bool]
    left_out: Any
    """Why it leaves a bucket out."""

    is_about_letters: bool = False
    is_destructive: bool = False


BULK_ACTIONS: Final[Mapping[str, BulkAction]] = {
    "pause": BulkAction(
        label=gettext_lazy("Pause…"),
        button=lambda n: ngettext("Pause %(n)s bucket", "Pause %(n)s buckets", n),
        question=gettext_lazy(
            "Appends continue, and no worker drains these buckets. Pending events: %(count)s."
        ),
        done=lambda n: ngettext("Paused: %(n)s bucket.", "Paused: %(n)s buckets.", n),
        counts=lambda status: status.pending,
        applies=lambda bucket, status: status.paused is None,
        left_out=gettext_lazy("Left out, because they are paused already: %(n)s."),
    ),
    "resume": BulkAction(
        label=gettext_lazy("Resume…"),
        button=lambda n: ngettext("Resume %(n)s bucket", "Resume %(n)s buckets", n),
        question=gettext_lazy("Workers drain these buckets again. Pending events: %(count)s."),
        done=lambda n: ngettext("Resumed: %(n)s bucket.", "Resumed: %(n)s buckets.", n),
        counts=lambda status: status.pending,
        applies=lambda bucket, status: status.paused is not None,
        left_out=gettext_lazy("Left out, because they are not paused: %(n)s."),
    ),
    "drain": BulkAction(
        label=gettext_lazy("Drain…"),
        button=lambda n: ngettext("Drain %(n)s bucket", "Drain %(n)s buckets", n),
        question=gettext_lazy(
            "This site processes the pending events now, for about 10 seconds: %(count)s."
        ),
        done=lambda n: ngettext("Drained: %(n)s bucket.", "Drained: %(n)s buckets.", n),
        counts=lambda status: status.pending,
        applies=lambda bucket, status: (
            catalog.has_processor(bucket) and status.paused is None and status.pending > 0
        ),
        left_out=gettext_lazy(
            "Left out, because they are paused, have nothing pending, or this site declares no "
            "processor for them: %(n)s."
        ),
    ),
    "replay": BulkAction(
        label=pgettext_lazy("dead letters", "Replay…"),
        button=lambda n: ngettext(
            "Replay the dead letters of %(n)s bucket",
            "Replay the dead letters of %(n)s buckets",
            n,
        ),
        question=gettext_lazy(
            "Their events go behind all pending events and are processed again. Dead letters: "
            "%(count)s."
        ),
        done=lambda n: ngettext(
            "Replayed the dead letters of %(n)s bucket.",
            "Replayed the dead letters of %(n)s buckets.",
            n,
        ),
        counts=lambda status: status.dead,
        applies=lambda bucket, status: status.dead > 0,
        left_out=gettext_lazy("Left out, because they have no dead letters: %(n)s."),
        is_about_letters=True,
    ),
    "purge": BulkAction(
        label=gettext_lazy("Purge…"),
        button=lambda n: ngettext("Purge %(n)s bucket", "Purge %(n)s buckets", n),
        question=gettext_lazy(
            "This removes their pending events for ever, and all events that are appended until "
            "you answer. Pending events: %(count)s."
        ),
        done=lambda n: ngettext("Purged: %(n)s bucket.", "Purged: %(n)s buckets.", n),
        counts=lambda status: status.pending,
        applies=lambda bucket, status: status.pending > 0,
        left_out=gettext_lazy("Left out, because they have nothing pending: %(n)s."),
        is_destructive=True,
    ),
}
