"""All known buckets, and what the admin, the commands and the checks read of them."""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from .appending.spill_size import SpillSize, spill_sizes
from .buckets import Bucket
from .conf import configuration, setting
from .declarations import declared
from .exceptions import BufferUnavailable, JSONBufferError
from .options import Options
from .pending_events import peek_raw
from .shards import stores_of
from .spilled_names import spilled_names
from .store import catalog_entries, history, probes
from .store.deliveries import Deliveries, merged, read_deliveries
from .store.history import Sample
from .store.keys import is_valid_name
from .store.patterns import example
from .store.shards import gap_in
from .store.status import BucketStatus
from .store.statuses import statuses as read_statuses
from .store.workers import Worker
from .store.workers import workers as read_workers

logger = logging.getLogger("django_jsonbuffer")


def declared_buckets() -> list[Bucket]:
    """The buckets that are declared or have a processor, sorted by name, without invalid names."""
    return [Bucket(name) for name in declared.names]


def examples_of_patterns() -> list[Bucket]:
    """A bucket for each pattern that has a processor. Nothing of it need be in Redis."""
    return [Bucket(example(pattern)) for pattern in declared.patterns]


def local_buckets() -> list[Bucket]:
    """The buckets that are known without Redis, sorted by name.

    They are declared, or have events in the spill of this machine.
    """
    return [Bucket(name) for name in sorted({*declared.names, *spilled_names()})]


class Known(NamedTuple):
    """The buckets that can be listed."""

    buckets: list[Bucket]
    """The local buckets, and all buckets that were ever appended to, sorted by name."""

    gap: BufferUnavailable | None = None
    """Why only local buckets are listed: the node of a cluster that has the names is down."""


def read_known() -> Known:
    """Read the names. Raises :class:`BufferUnavailable` if Redis is unavailable.

    If only the node of a cluster that has the names is down, this is the gap.
    """
    try:
        found = filter(is_valid_name, catalog_entries.names(configuration()))
    except BufferUnavailable as error:
        if not error.node:
            raise
        return Known(local_buckets(), error)
    return Known([Bucket(name) for name in sorted({*declared.names, *spilled_names(), *found})])


def known_buckets() -> list[Bucket]:
    """The buckets of :func:`read_known`. A gap is logged."""
    buckets, gap = read_known()
    if gap is not None:
        logger.warning("Only declared buckets are known. %s", gap)
    return buckets


def read_with_processor() -> Known:
    """The buckets that have a processor, as :func:`read_known` lists them.

    Asks Redis only if a pattern has one: it may match buckets that were only appended to.
    """
    buckets, gap = read_known() if declared.patterns else Known(declared_buckets())
    return Known([bucket for bucket in buckets if has_processor(bucket)], gap)


def may_be_drained(name: str) -> bool:
    """Whether it is the name of a bucket that is declared or has a processor."""
    return is_valid_name(name) and (
        name in declared.names or declared.find_processor(name) is not None
    )


def shards_gap() -> JSONBufferError | None:
    """Why the last call could not read which shards there are. None if it could.

    Then it knew the shards of the option alone, so figures may be too low.
    """
    return gap_in(configuration())


async def probe(buckets: Sequence[Bucket], *, within_seconds: float) -> dict[str, Exception | None]:
    """For each node that has some of the buckets: None if it accepts appends. See :mod:`.probes`.

    The error is that which an append would raise, if Redis is away, full or refuses the user.
    """
    stores = [
        bucket._definition.parts.store.of_shard(shard)
        for bucket in buckets
        for shard in range(shards_of(bucket))
    ]
    return await probes.probe(stores, within_seconds=within_seconds)


def statuses(buckets: Sequence[Bucket]) -> list[BucketStatus | JSONBufferError]:
    """The status of each bucket, or the error if it cannot be read, in one round trip for 500."""
    return read_statuses([bucket.name for bucket in buckets], configuration(), _counts(buckets))


def histories(buckets: Sequence[Bucket]) -> list[list[Sample]]:
    """The samples of each bucket, oldest first, in one round trip for 500."""
    names = [bucket.name for bucket in buckets]
    return history.histories(names, configuration(), _counts(buckets))


def _counts(buckets: Sequence[Bucket]) -> dict[str, int]:
    """The number of shards of each bucket that has several."""
    every = zip(buckets, options_of_all(buckets), strict=True)
    return {bucket.name: options.shards for bucket, options in every if options.shards > 1}


def shards_of(bucket: Bucket) -> int:
    """The option `shards`. 1 if the options are invalid, which a check reports."""
    [options] = options_of_all([bucket])
    return options.shards


def node_of(bucket: Bucket) -> str:
    """The node of a cluster that has the first shard. Empty if none is known, or there is none."""
    return bucket._definition.parts.store.node


def options_of(bucket: Bucket) -> Options:
    """The options of the bucket, from its declaration and the settings."""
    return bucket._definition.options


def options_of_all(buckets: Iterable[Bucket]) -> list[Options]:
    """The options of each bucket. The defaults if they are invalid, which a check reports."""
    current, read = setting(), configuration()
    found = []
    for bucket in buckets:
        try:
            found.append(bucket._definition.options_under(current, read))
        except JSONBufferError:
            found.append(Options())
    return found


def durabilities(buckets: Iterable[Bucket]) -> set[str]:
    """The values of the option `durability`. Buckets with invalid options count as having none."""
    found = set()
    for bucket in buckets:
        with suppress(JSONBufferError):
            found.add(options_of(bucket).durability)
    return {value for value in found if value is not None}


def spilled(bucket: Bucket) -> SpillSize | None:
    """What the bucket has in the spill of this machine; None if it has no ``spill_dir``.

    Does not ask Redis. Raises :class:`SpillUnavailable` if the file cannot be read.
    """
    folder = options_of(bucket).spill_dir
    if not folder:
        return None
    sizes = spill_sizes(folder, bucket.key).values()
    return SpillSize(sum(size.appends for size in sizes), sum(size.bytes for size in sizes))


def has_processor(bucket: Bucket) -> bool:
    return declared.find_processor(bucket.name) is not None


def deliveries(bucket: Bucket, limit: int = 100) -> Deliveries:
    """The workers, and the oldest batches that they hold or have released."""
    stores = stores_of(bucket._definition.parts)
    return merged([read_deliveries(store, limit) for store in stores], limit)


def workers(buckets: Sequence[Bucket] = ()) -> list[Worker]:
    """The workers that watch, and all that hold batches of these buckets, sorted by name.

    Takes one round trip for 500 buckets.
    """
    names = [bucket.name for bucket in buckets]
    return read_workers(names, configuration(), _counts(buckets))


def leading_events(bucket: Bucket, limit: int, *, most_bytes: int) -> list[tuple[bytes, bool]]:
    """The oldest pending events as JSON, and whether each is whole. The events stay."""
    return peek_raw(stores_of(bucket._definition.parts), limit, most_bytes=most_bytes)


def redacted(bucket: Bucket, raw: bytes) -> bytes:
    """An event as JSON after the option ``redact``. Raises each exception of that function."""
    _, options, _, encoder = bucket._definition.parts
    (event,) = encoder.decode(b"[%b]" % raw)
    return encoder.encode(options.redact(event) if options.redact else event)
