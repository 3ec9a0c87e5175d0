"""The statuses of many buckets. That of a bucket is the sum of its shards."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Final

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError

from .clients import clients
from .errors import not_redis, translated
from .keys import bucket_keys, split_shard
from .nodes import Call, replies
from .open_counts import UNCOUNTED
from .redis_cluster import is_cluster
from .registry import Workers
from .replies import shape_of
from .scripts import STATUS, STATUSES, Script
from .shards import ONE_EACH, Reply, ask_all
from .status import BucketStatus, Drops, keys_of, read_status, status_of, unused_status
from .store import Store

_TOGETHER: Final = 100
"""Most shards in one call of the script, which takes a few milliseconds at most."""

_PORTION: Final = 500
"""Most buckets of one round trip, so that no reply is too long."""

_THREADS: Final = 2

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
    buckets, one more if there are other shards, and more for each long open batch of another
    client. Raises :class:`BufferUnavailable` if Redis is unreachable, or refuses all.
    """
    portions = [names[start : start + _PORTION] for start in range(0, len(names), _PORTION)]
    read = partial(_read, configuration, counts)
    if len(portions) > 1:
        # While one thread waits for Redis, another one makes objects of the replies.
        with ThreadPoolExecutor(_THREADS) as threads:
            outcomes = [*chain.from_iterable(threads.map(read, portions))]
    else:
        outcomes = read(names)
    refusals = [each for each in outcomes if isinstance(each, BufferUnavailable)]
    # If only some buckets fail, this user of Redis may not read the keys of these buckets.
    if refusals and not any(isinstance(each, BucketStatus) for each in outcomes):
        raise refusals[0]
    return outcomes


def _read(
    configuration: Configuration, counts: Mapping[str, int], names: Sequence[str]
) -> list[BucketStatus | JSONBufferError]:
    also = Workers.calls(configuration)
    found, (entries, time) = ask_all(
        names, configuration, counts, partial(_ask, configuration), also=also
    )
    workers = Workers(entries, time)
    return [
        _outcome(shards, configuration, workers.count(name))
        for name, shards in zip(names, found, strict=True)
    ]


def _ask(configuration: Configuration, shards: Sequence[str], also: Sequence[Call]) -> list[Any]:
    """The replies for the shards, and to the commands `also`."""
    keys = [keys_of(bucket_keys(configuration.prefix, shard)) for shard in shards]
    if is_cluster(clients[configuration.cache]):  # a script has the keys of one slot
        return _ask_each(configuration, keys, also)
    groups = [keys[start : start + _TOGETHER] for start in range(0, len(keys), _TOGETHER)]
    calls = [_call(STATUSES, [key for each in group for key in each]) for group in groups]
    found = replies(configuration.cache, [*calls, *also], script=STATUSES)
    answers: list[Any] = []
    for group, reply in zip(groups, found, strict=False):
        is_answered = type(reply) is list and len(reply) == len(group)
        # An error of one is an error of all.
        answers += reply if is_answered else _ask_each(configuration, group, ())
    return answers + found[len(groups) :]


def _ask_each(
    configuration: Configuration, keys: Sequence[Sequence[str]], also: Sequence[Call]
) -> list[Any]:
    calls = [_call(STATUS, each, *UNCOUNTED) for each in keys]
    return replies(configuration.cache, [*calls, *also], script=STATUS)


def _call(script: Script, keys: Sequence[str], *args: int) -> Call:
    return Call(keys[0], ("EVALSHA", script.sha, len(keys), *keys, *args))


def _outcome(
    shards: Sequence[Reply], configuration: Configuration, registered: int
) -> BucketStatus | JSONBufferError:
    read: list[BucketStatus] = []
    for name, reply in shards:
        if isinstance(reply, Exception):
            return translated(reply, name)
        if not reply:
            read.append(unused_status(registered))
        elif shape_of(reply) not in STATUS.replies:
            raise not_redis()
        elif len(reply) > 1:
            read.append(status_of(reply, registered=registered))
        else:  # the script leaves it to this process to count the events
            bucket, shard = split_shard(name)
            try:
                status = read_status(Store(bucket, configuration, shard))
            except JSONBufferError as error:
                return error
            read.append(replace(status, workers=max(status.workers, registered)))
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
