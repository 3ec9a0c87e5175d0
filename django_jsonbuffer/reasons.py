"""The reasons for the state of a bucket: sentences in the visitor's language."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from . import catalog
from .buckets import Bucket
from .escapes import escape_invisible
from .figures import format_count, format_duration
from .store.status import BucketStatus


def reasons_to_stall(bucket: Bucket, status: BucketStatus) -> Iterator[str]:
    if catalog.has_processor(bucket):
        yield _("Nobody drains it: no worker is active. Run drain_buckets.")
    elif catalog.options_of_all([bucket])[0].batch_size is None:
        yield _("Nobody drains it: no other client has taken the events.")
    else:
        yield _("Nobody drains it: no processor is declared.")
    if status.in_flight:
        held = ngettext(
            "%(number)s event is held by a worker that has died.",
            "%(number)s events are held by a worker that has died.",
            status.in_flight,
        )
        yield held % {"number": format_count(status.in_flight)}
    yield from how_long_the_oldest_waits(status)


def reasons_to_be_behind(status: BucketStatus) -> Iterator[str]:
    yield from how_long_the_oldest_waits(status)
    if status.workers:
        workers = ngettext(
            "%(number)s worker drains the bucket. Start more workers.",
            "%(number)s workers drain the bucket. Start more workers.",
            status.workers,
        )
        yield workers % {"number": format_count(status.workers)}


def how_long_the_oldest_waits(status: BucketStatus) -> Iterator[str]:
    if status.oldest is not None:
        waited = _("The oldest event has waited for %(time)s.")
        yield waited % {"time": format_duration(status.oldest)}


def how_long_it_is_paused(status: BucketStatus) -> Iterator[str]:
    if status.paused is not None:
        yield _("The bucket has been paused for %(time)s.") % {
            "time": format_duration(status.paused)
        }


def failures_and_dead_letters(status: BucketStatus) -> Iterator[str]:
    """What needs attention in any state."""
    if status.outage is not None:
        outage = _("Every attempt of the processor has failed for %(time)s. All events are kept.")
        yield outage % {"time": format_duration(status.outage)}
    if status.failing:
        yield from _failures(status)
    if status.dead:
        letters = ngettext(
            "%(number)s dead letter waits for a decision.",
            "%(number)s dead letters wait for a decision.",
            status.dead,
        )
        yield letters % {"number": format_count(status.dead)}


def _failures(status: BucketStatus) -> Iterator[str]:
    batches = ngettext(
        "%(number)s batch has failed and will be retried.",
        "%(number)s batches have failed and will be retried.",
        status.failing,
    )
    yield batches % {"number": format_count(status.failing)}
    if status.error:
        last = _("The oldest batch failed with %(error)s at delivery %(attempt)s.")
    else:
        last = _("A worker died with the oldest batch at delivery %(attempt)s.")
    # Only the class: the message may quote an event, which not everybody may see.
    kind = status.error.partition(":")[0]
    yield last % {"error": escape_invisible(kind), "attempt": format_count(status.attempt)}
