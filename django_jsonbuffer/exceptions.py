"""The errors of this app: one class for each thing that a caller can react to.

Each docstring says in which state Redis is afterwards.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .stamps import Stamp


class JSONBufferError(Exception):
    """The base class of all errors of this app."""


class BufferMisconfigured(JSONBufferError, ImproperlyConfigured):
    """A setting, an option of a bucket or cache alias is unusable. Nothing was sent to Redis.

    One exception: if Redis can never confirm the `durability` of a bucket, the append is stored.
    """


class InvalidBucketName(JSONBufferError, ValueError):
    """A bucket cannot have this name. Nothing was sent to Redis."""


class InvalidEvent(JSONBufferError, ValueError):
    """An event cannot be stored as JSON, or the schema of its bucket refuses it.

    Nothing was written: neither this event nor any other event of the same append.
    """


class EventTooLarge(InvalidEvent):
    """One event, or all events of one append together, are larger than allowed.

    Nothing was written.
    """


class BufferUnavailable(JSONBufferError):
    """Redis cannot be reached, or refuses to serve: loading, read-only, busy, no permission.

    An append that raises this has written nothing, unless the error is an :class:`AppendUndecided`.
    If ``retry()`` of an :class:`AppendUndecided` raises this, the append may be stored: look for
    its events before you append them again.

    Any other method may have done its work: if the connection broke or timed out, perhaps only the
    reply was lost. Every other method may be called again.
    """

    may_be_done = False
    """Whether Redis may have carried out the command despite the error."""

    may_be_repeated = True
    """Whether an append may be sent again. False if Redis stopped its script in the middle: then it
    may be stored without its stamp, and Redis would store it again."""

    is_unreachable = False
    """Whether Redis did not answer at all. False if it answered with a refusal."""

    was_asked = True
    """Whether Redis was asked. False if all connections of this process were in use."""

    node = ""
    """Host and port of the node that the error is about. Empty if Redis is not a cluster."""


class StampOvertaken(JSONBufferError):
    """Another append of the same producer has the sequence number of this append, or a later one.

    A copy of this process sent it. Nothing was written. No caller of an append gets this error: the
    append is sent again by a new producer.
    """


class AppendUndecided(BufferUnavailable):
    """It is not known whether an append was stored: its replies were lost for ``append_timeout``.
    Or no replica, or not the disk, has confirmed it, as the `durability` of its bucket demands. Or
    Redis, before 7.0, stopped its script in the middle: the Redis user may not run a command. Or
    another thread sends it, and has had no answer for ten seconds longer than ``append_timeout``.

    Redis holds all events of the append, or none. A second append of the same events may store them
    twice. :meth:`retry` does not.
    """

    may_be_done = True

    def __init__(
        self,
        message: str,
        *,
        stamp: Stamp | None = None,
        retry: Callable[[], None],
        aretry: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(message)
        self.stamp = stamp
        self._retry = retry
        self._aretry = aretry

    def __reduce__(self) -> tuple[Any, ...]:
        # The events stay in the process that appended them.
        copy = partial(
            AppendUndecided, stamp=self.stamp, retry=_refuse_to_retry, aretry=_arefuse_to_retry
        )
        return copy, self.args

    def retry(self) -> None:
        """Send the same append again. However often you call this, the append is stored once.

        Returns if the append is stored. Raises :class:`AppendUndecided` if that is still unknown.
        After half a day it sends nothing and raises :class:`BufferUnavailable`. It does the same if
        Redis stopped the script in the middle, or if a copy of this process has used the producer.
        The append may be stored all the same: look for its events before you append them again.

        With group commit, appends of several callers may share one call to Redis. Then each caller
        has an error of its own. As soon as the `retry` of one of them has succeeded, that of the
        others returns without another call. While another thread sends the append, this sends
        nothing, and says only what the other thread has got.
        """
        self._retry()

    async def aretry(self) -> None:
        """Like :meth:`retry`, in async code."""
        await self._aretry()


def _refuse_to_retry() -> None:
    raise BufferUnavailable(
        "This error is a copy, and the events of its append are not in it. The append may be "
        "stored. Call retry() of the original, in the process that raised it."
    )


async def _arefuse_to_retry() -> None:
    _refuse_to_retry()


class BufferOutOfMemory(BufferUnavailable):
    """Redis has no memory left for more events. Nothing was written.

    Draining needs no memory and continues: start more workers, or raise ``maxmemory``.
    """


class SpillUnavailable(BufferUnavailable):
    """Redis is unavailable, and the spill file cannot be used either. Nothing was written."""


class SpillFull(SpillUnavailable):
    """Redis is unavailable, and the spill of the bucket has no room. Nothing was written.

    With the events of the append, the spill would have more than ``max_spill_bytes``.
    """


class KeyOccupied(JSONBufferError):
    """A key of the bucket has a value of another type. Nothing was changed."""


class BucketFull(JSONBufferError):
    """The bucket has reached ``max_pending`` or ``max_pending_bytes``.

    Also raised if the open batch would be longer than the 512 MiB of the longest string in Redis.
    Nothing was written: if not all events of an append fit, none is stored.
    """


class LeaseLost(JSONBufferError):
    """The worker no longer holds the batch. Nothing was changed.

    Its lease ran out, and another worker claimed the batch, or the batch is gone. The events of the
    batch may be processed a second time.
    """


class TransactionLeftOpen(JSONBufferError):
    """A processor began a transaction, and returned without ending it.

    The transaction was rolled back, and the batch is kept for another attempt.
    """


class ReceiptTaken(JSONBufferError):
    """While a worker processed a batch, another worker has processed events of the same batch.

    The transaction of the processor was rolled back. The batch comes again at once, and then only
    the events without a receipt are processed.
    """


class NoProcessor(JSONBufferError):
    """The bucket has no processor, so it cannot be drained. Nothing was taken from it."""


class DestinationUnavailable(JSONBufferError):
    """The place where a processor sends events is unreachable, overloaded or broken.

    A processor may raise it, too. It means an outage: the worker keeps the batch, and tries it
    again after a backoff. If `retry_after` is given, no worker of the bucket tries sooner than
    that, or than the lease if that is shorter. No event is then suspected, even if others have
    succeeded.
    """

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """How long the destination asks everybody to wait. None if it does not say."""


class DestinationRefused(JSONBufferError):
    """The place where a processor sends events refuses it: a wrong address or secret, for example.

    The batch is kept for another attempt.
    """


class EventsRefused(DestinationRefused):
    """The place where a processor sends events refuses events: at least one of them is bad.

    A sink rejects the bad events. It raises this error only if not one event is accepted. The batch
    is then kept for another attempt.
    """
