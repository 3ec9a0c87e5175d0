"""The content of the page of one bucket: its state, figures, charts, workers and events."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.http import Http404
from django.utils import timezone

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.figures import Figures, format_count
from django_jsonbuffer.letters import DeadLetter
from django_jsonbuffer.redaction import MOST_BYTES
from django_jsonbuffer.states import read_states
from django_jsonbuffer.store.status import BucketStatus

from .actions import DRAIN_SECONDS
from .charts import History
from .deliveries import describe_deliveries
from .display import Exhibit
from .option_texts import describe_options

EVENTS_SHOWN: Final = 10
LETTERS_SHOWN: Final = 20


def read_details(
    bucket: Bucket, parameters: Mapping[str, str], *, with_events: bool
) -> dict[str, Any]:
    """The context of the page. A bucket that cannot be read has its state and reasons only."""
    [bucket_state] = read_states([bucket])
    details: dict[str, Any] = {
        "bucket_state": bucket_state,
        "has_processor": catalog.has_processor(bucket),
        "drain_seconds": format_count(int(DRAIN_SECONDS)),
    }
    if bucket_state.status is None:
        return details
    details |= _read_history(bucket, bucket_state.status)
    options = catalog.options_of(bucket)
    details |= {
        "status": bucket_state.status,
        "figures": Figures.of(bucket_state.status),
        "newest_letter": bucket.dead.newest(),
        "options": describe_options(options),
        **describe_deliveries(
            bucket,
            lease=options.lease,
            with_messages=with_events and options.redact is None,
        ),
    }
    if with_events:
        details["events"] = _read_events(bucket)
        details |= _read_letters(bucket, after=parameters.get("after") or None)
    return details


def _read_history(bucket: Bucket, status: BucketStatus) -> dict[str, Any]:
    [samples] = catalog.histories([bucket])
    history = History(samples, status)
    return {"backlog": history.backlog(), "throughput": history.throughput()}


def _read_events(bucket: Bucket) -> list[Exhibit]:
    """The oldest pending events."""
    events = catalog.leading_events(bucket, EVENTS_SHOWN, most_bytes=EVENTS_SHOWN * MOST_BYTES)
    return [
        Exhibit.of_event(bucket, event, size=len(event) if is_whole else None)
        for event, is_whole in events
    ]


def _read_letters(bucket: Bucket, *, after: str | None) -> dict[str, Any]:
    """A page of dead letters: the oldest, or those that follow the id `after`."""
    try:
        letters = bucket.dead.page(LETTERS_SHOWN + 1, after=after, most_bytes=MOST_BYTES)
    except ValueError as error:
        raise Http404(str(error)) from error
    return {
        "letters": [_letter_shown(bucket, letter) for letter in letters[:LETTERS_SHOWN]],
        "is_first_page": not after,
        "next_after": letters[LETTERS_SHOWN - 1].id if len(letters) > LETTERS_SHOWN else None,
    }


def _letter_shown(bucket: Bucket, letter: DeadLetter) -> dict[str, Any]:
    return {
        "letter": letter,
        "first_failed": _local_time(letter.first_failed),
        "last_failed": _local_time(letter.last_failed),
        "event": Exhibit.of_letter(bucket, letter),
        "error": Exhibit.of_error(bucket, letter),
        "traceback": Exhibit.of_traceback(bucket, letter),
    }


def _local_time(moment: datetime | None) -> datetime | None:
    """The moment in the current time zone. Templates would convert it with USE_TZ only."""
    return None if moment is None else timezone.localtime(moment).replace(tzinfo=None)
