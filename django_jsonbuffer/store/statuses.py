"""The statuses of many buckets. That of a bucket is the sum of its shards."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError

from .errors import not_redis
from .registry import Workers
from .replies import shape_of
from .scripts import STATUS
from .shards import ONE_EACH, Reply, ask_all
from .status import BucketStatus, Drops, call_of, outcome

_SUMS: Final = (
    *("pending", "open", "in_flight", "dead", "bytes", "failing"),
    *("batches", "batches_open", "batches_in_flight"),
    *("appended", "processed", "buried", "replayed", "lost"),
)
_LARGEST: Final = ("oldest", "workers", "paused", "outage")


def statuses(
    names: Sequence[str], configuration: Configuration, counts: Mapping[str, int] = ONE_EACH
) -> list[BucketStatus | JSONBufferError]:
    """The status of each bucket, or the error if one of its shards cannot be read.

    `counts` are the numbers of shards that are known, by name. This takes one round trip for 500
    shards, one more if there are others, and more for each long open batch of another client.
    Raises :class:`BufferUnavailable` if Redis is unreachable, or refuses all.
    """
    also = Workers.calls(configuration)
    found, (entries, time) = ask_all(
        names, configuration, counts, call_of, script=STATUS, also=also
    )
    outcomes = [*map(_outcome, found)]
    refusals = [each for each in outcomes if isinstance(each, BufferUnavailable)]
    # If only some buckets fail, this user of Redis may not read the keys of these buckets.
    if refusals and not any(isinstance(each, BucketStatus) for each in outcomes):
        raise refusals[0]
    workers = Workers(entries, time)
    return [
        each.with_workers(workers.count(name)) if isinstance(each, BucketStatus) else each
        for name, each in zip(names, outcomes, strict=True)
    ]


def _outcome(shards: Sequence[Reply]) -> BucketStatus | JSONBufferError:
    read: list[BucketStatus] = []
    for store, reply in shards:
        if not isinstance(reply, Exception) and shape_of(reply) not in STATUS.replies:
            raise not_redis()
        if isinstance(status := outcome(store, reply), JSONBufferError):
            return status
        read.append(status)
    return total(read)


def total(shards: Sequence[BucketStatus]) -> BucketStatus:
    """The status of a bucket with these shards."""
    if len(shards) == 1:
        return shards[0]
    figures: dict[str, Any] = {
        **{name: sum(getattr(each, name) for each in shards) for name in _SUMS},
        **{name: _largest(getattr(each, name) for each in shards) for name in _LARGEST},
    }
    return replace(
        max(shards, key=lambda each: each.attempt),  # it has the attempt and the error
        **figures,
        sampled=min((each.sampled for each in shards if each.sampled is not None), default=None),
        appended_per_minute=_sum(each.appended_per_minute for each in shards),
        processed_per_minute=_sum(each.processed_per_minute for each in shards),
        dropped=Drops(*map(sum, zip(*(each.dropped for each in shards), strict=True))),
    )


def _largest(values: Iterable[Any]) -> Any:
    return max((value for value in values if value is not None), default=None)


def _sum(rates: Iterable[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None
