"""The content of the page of one bucket: its state, figures, charts, workers and events."""

from collections.abc import Iterable
from typing import Any, Final

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.figures import Figures, format_count, format_moment
from django_jsonbuffer.redaction import MOST_BYTES
from django_jsonbuffer.states import BucketState, read_states
from django_jsonbuffer.store.status import BucketStatus

from .action_log import recent_actions
from .charts import History
from .deliveries import describe_deliveries
from .display import Exhibit
from .drains import DRAIN_SECONDS
from .groups import describe_groups
from .option_texts import describe_options

EVENTS_SHOWN: Final = 10


def read_details(bucket: Bucket, *, with_events: bool) -> dict[str, Any]:
    """The context of the page. A bucket that cannot be read has its state and reasons only."""
    bucket_state = read_state(bucket)
    details: dict[str, Any] = {
        "bucket_state": bucket_state,
        "has_processor": catalog.has_processor(bucket),
        "drain_seconds": format_count(int(DRAIN_SECONDS)),
        "log": [*_describe_log(recent_actions(bucket.name))],
    }
    if bucket_state.status is None:
        return details
    details |= _read_history(bucket, bucket_state.status)
    options = catalog.options_of(bucket)
    shows_messages = with_events and options.redact is None
    details |= {
        "status": bucket_state.status,
        "figures": Figures.of(bucket_state.status),
        "newest_letter": bucket.dead.newest(),
        "options": describe_options(options),
        **describe_deliveries(bucket, lease=options.lease, with_messages=shows_messages),
        "groups": describe_groups(bucket, with_events=with_events),
    }
    if with_events:
        details["events"] = _read_events(bucket)
    return details


def read_state(bucket: Bucket) -> BucketState:
    """The state of one bucket. If only a node of a cluster is down, the bucket is unreadable."""
    try:
        [bucket_state] = read_states([bucket])
    except BufferUnavailable as error:
        if not error.node:
            raise
        [options] = catalog.options_of_all([bucket])
        return BucketState.of(bucket, options, error, None)
    return bucket_state


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


def _describe_log(entries: Iterable[Any]) -> Iterable[dict[str, str]]:
    for entry in entries:
        yield {
            "time": format_moment(entry.action_time),
            "user": str(entry.user),
            "message": entry.get_change_message(),
        }
