"""What operators do with buckets, beside the methods of a bucket."""

from collections.abc import Sequence

from .buckets import Bucket
from .catalog import shards_of
from .conf import configuration
from .exceptions import JSONBufferError
from .store import deliveries, nodes, pauses
from .store.errors import translated
from .store.keys import registry_key, split_shard


def set_paused(buckets: Sequence[Bucket], *, is_paused: bool) -> list[bool | JSONBufferError]:
    """Pause or resume the buckets, in one round trip for 500, and more for each with shards.

    Says of each whether it was changed, or why it was not. Raises :class:`BufferUnavailable` if
    Redis cannot be reached: then some may be changed.
    """
    whole = [bucket for bucket in buckets if shards_of(bucket) == 1]
    names = [bucket.name for bucket in whole]
    found = dict(
        zip(names, pauses.set_paused(names, configuration(), is_paused=is_paused), strict=True)
    )
    for bucket in buckets:
        if bucket.name not in found:  # to pause a shard, it has to be in the catalog
            try:
                found[bucket.name] = bucket.pause() if is_paused else bucket.resume()
            except JSONBufferError as error:
                found[bucket.name] = error
    return [found[bucket.name] for bucket in buckets]


def retry_now(bucket: Bucket, batch: str) -> bool:
    """Let a released batch be tried at once, whatever is left of its backoff and of an outage's
    pause.

    `batch` is :attr:`Delivery.batch`. Its failures stay. Returns False if a worker holds the batch,
    if it was never delivered, or if it is gone: then nothing was changed. If the bucket is paused,
    the batch is tried once it is resumed.
    """
    stored_id, shard = split_shard(batch)
    if shard < 0:
        return False
    return deliveries.retry_now(bucket._definition.parts.store.of_shard(shard), stored_id)


def latest_letter_id() -> str:
    """An id that is behind all dead letters that were buried up to this moment.

    By the clock of one node of a cluster. Raises :class:`BufferUnavailable`.
    """
    read = configuration()
    key = registry_key(read.prefix)
    [time] = nodes.replies(read.cache, [nodes.Call(key, ("TIME",))])
    if isinstance(time, Exception):
        raise translated(time)
    return f"{int(time[0]) * 1000 + int(time[1]) // 1000}-{2**64 - 1}"
