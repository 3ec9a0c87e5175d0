"""The batches that will be retried, for ``show_buckets --verbosity 2``."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from django_jsonbuffer import catalog
from django_jsonbuffer.escapes import escape_invisible
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.figures import format_duration
from django_jsonbuffer.states import BucketState
from django_jsonbuffer.store.deliveries import Delivery


def describe_retries(bucket_states: Iterable[BucketState]) -> Iterator[str]:
    """A line for each batch that has failed and that no worker holds.

    Asks Redis once for each bucket with failing batches, for the oldest hundred of its batches.
    """
    for bucket_state in bucket_states:
        bucket, status = bucket_state.bucket, bucket_state.status
        if status is None or not status.failing:
            continue
        try:
            lease, deliveries = catalog.options_of(bucket).lease, catalog.deliveries(bucket)
        except BufferMisconfigured:
            continue  # a system check reports the mistake
        for delivery in deliveries.batches:
            if not delivery.worker and (delivery.failures or delivery.deaths or delivery.error):
                yield f"{bucket.name}: {_describe(delivery, lease)}"


def _describe(delivery: Delivery, lease: timedelta) -> str:
    retry_in = delivery.retry_in(lease)
    is_soon = retry_in < timedelta(seconds=1)
    retry = "can be retried now" if is_soon else f"will be retried in {format_duration(retry_in)}"
    error = escape_invisible(delivery.error) or "its worker died"
    failed = (
        f"failed at delivery {delivery.attempt}"
        if delivery.attempt
        else "is a part of one that failed"
    )
    return f"batch {delivery.batch} {failed}, and {retry}: {error}".replace("\xa0", " ")
