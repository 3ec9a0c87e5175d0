"""Runs: an engine such as Celery drains all buckets, for a limited time."""

from contextlib import ExitStack
from typing import Final

from .buckets import Bucket
from .declarations import declared
from .draining.report import DrainReport
from .draining.rounds import Rounds
from .draining.stop import Stop
from .exceptions import NoProcessor

MAX_SECONDS: Final = 50
"""How long a run of an engine claims batches, by default."""


def names_with_processor() -> list[str]:
    """The names of all buckets that have a processor, sorted. Raises :class:`NoProcessor`."""
    if not declared.processors:
        raise NoProcessor(
            "No bucket has a processor. Declare one with @bucket.processor in a buckets.py of an "
            "installed app."
        )
    return sorted(declared.processors)


def drain_all(
    *names: str, max_seconds: float | None = None, skip_busy: bool = False
) -> dict[str, DrainReport]:
    """Process the pending events of all buckets, as ``manage.py drain_buckets`` does.

    `names` are the buckets to drain, by default all that have a processor. They take turns, batch
    by batch. After `max_seconds` no further batch is claimed. The batch in hand is finished, so the
    call may take longer. With `skip_busy`, a bucket that has a living worker is left alone.

    Returns the report of each bucket. Exceptions of a processor are logged and counted, not raised.
    Raises :class:`NoProcessor`, and :class:`BufferUnavailable` if Redis is unavailable. If a bucket
    cannot be read for another reason, its error is raised after the others are drained. Do not call
    it within ``atomic()``: see :meth:`Bucket.drain`.
    """
    stop = Stop()
    with ExitStack() as stack:
        drains = [
            # After a timeout, the run ends as soon as the processor that hangs returns.
            stack.enter_context(Bucket(name).drain_steps(on_timeout=stop.set, skip_busy=skip_busy))
            for name in dict.fromkeys(names or names_with_processor())
        ]
        rounds = Rounds(drains, watch=False, max_seconds=max_seconds, stop=stop)
        for _ in rounds:
            pass
    for error in rounds.broken.values():
        raise error
    return {drain.bucket: drain.report for drain in drains}
