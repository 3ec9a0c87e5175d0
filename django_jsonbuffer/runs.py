"""Runs: an engine such as Celery drains all buckets, for a limited time."""

from collections.abc import Iterable
from typing import Any, Final

from . import catalog
from .buckets import Bucket
from .conf import configuration
from .declarations import declared
from .draining.drain import Drain
from .draining.reachability import Reachability
from .draining.report import DrainReport
from .draining.rounds import Rounds
from .draining.stop import Stop
from .draining.turns import drains_of
from .exceptions import BufferUnavailable, JSONBufferError, NoProcessor
from .shards import stores_of
from .store.keys import split_shard
from .store.registry import Workers
from .store.shards import UsedShards

MAX_SECONDS: Final = 50
"""How long a run of an engine claims batches, by default."""


def read_served() -> catalog.Known:
    """The buckets that have a processor. Raises :class:`NoProcessor` if no code declares one.

    If a pattern has one, this reads the catalog, and raises :class:`BufferUnavailable` if Redis is
    unavailable.
    """
    if not declared.processors:
        raise NoProcessor(
            "No bucket has a processor. Declare one with @bucket.processor in a buckets.py of an "
            "installed app."
        )
    return catalog.read_with_processor()


def open_drains(buckets: Iterable[Bucket], **options: Any) -> list[Drain]:
    """A drain for each shard of the buckets. Those of one bucket have one report.

    Raises :class:`NoProcessor`, and :class:`BufferUnavailable` if Redis is unavailable.
    """
    used = UsedShards.read(configuration())
    found: list[Drain] = []
    for bucket in buckets:
        parts, processor = bucket._definition.parts, declared.processor_of(bucket.name)
        found += drains_of(parts, processor, stores_of(parts, used), **options)
    return found


def open_drain(name: str, report: DrainReport, **options: Any) -> Drain:
    """The drain of a shard with this name. Raises :class:`NoProcessor`."""
    bucket, shard = split_shard(name)
    parts, processor = Bucket(bucket)._definition.parts, declared.processor_of(bucket)
    return Drain(parts, processor, shard=shard, report=report, **options)


def drain_all(
    *names: str, max_seconds: float | None = None, skip_busy: bool = False
) -> dict[str, DrainReport]:
    """Process the pending events of all buckets, as ``manage.py drain_buckets`` does.

    `names` are the buckets to drain, by default all that have a processor. They take turns, batch
    by batch. After `max_seconds` no further batch is claimed. The batch in hand is finished, so the
    call may take longer. With `skip_busy`, a bucket that has a living worker is left alone.

    Returns the report of each bucket. Exceptions of a processor are logged and counted, not raised.
    Raises :class:`NoProcessor`, and :class:`BufferUnavailable` if Redis is unavailable. If a bucket
    cannot be read for another reason, its error is raised after the others are drained. So is the
    error of the node of a cluster that knows all buckets, or all shards. Do not call it within
    ``atomic()``: see :meth:`Bucket.drain`.
    """
    stop = Stop()
    named = [Bucket(name) for name in dict.fromkeys(names)]
    buckets, gap = catalog.Known(named) if names else read_served()
    # After a timeout, the run ends as soon as the processor that hangs returns.
    drains = open_drains(buckets, on_timeout=stop.set, skip_busy=skip_busy)
    workers = Workers.read(configuration()) if skip_busy else None
    busy = [drain for drain in drains if workers and workers.count(drain.bucket)]
    gaps = [error for error in (gap, catalog.shards_gap()) if error is not None]
    failures: list[JSONBufferError] = []
    for drain in busy:
        try:
            drain.forwarding.forward()  # the living worker may be on another machine
        except BufferUnavailable as error:
            if not error.node:
                raise
            failures.append(error)
    idle = [drain for drain in drains if drain not in busy]
    reachability = Reachability.of(configuration(), stop.wake)
    with Rounds(idle, stop=stop, reachability=reachability, max_seconds=max_seconds) as rounds:
        for _ in rounds:
            pass
    if failures := [*failures, *rounds.broken.values(), *gaps]:
        raise failures[0]
    return {drain.bucket: drain.report for drain in drains}
