"""The errors of this app: one class for each thing that a caller can react to.

Each docstring says in which state Redis is afterwards.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .stamps import Stamp


class JSONBufferError(Exception):
    """The base class of all errors of this app."""


class BufferMisconfigured(JSONBufferError, ImproperlyConfigured):
    """A setting, an option of a bucket or the cache alias is unusable. Redis was not asked."""


class InvalidBucketName(JSONBufferError, ValueError):
    """A bucket cannot have this name. Redis was not asked."""


class InvalidEvent(JSONBufferError, ValueError):
    """An event would not be read back as it is, or the schema of its bucket refuses it.

    Nothing was written: neither this event nor any other event of the same call.
    """


class EventTooLarge(InvalidEvent):
    """One event, or all events of one call together, are larger than allowed.

    Nothing was written.
    """


class BufferUnavailable(JSONBufferError):
    """Redis cannot be reached, or refuses to serve: loading, read-only, busy, no permission.

    An append that raises this has written nothing. Any other call may have been carried out if the
    connection broke or timed out and only the reply was lost. All of them may be repeated.
    """

    may_be_done = False
    """Whether Redis may have carried out the command despite the error."""

    is_unreachable = False
    """Whether Redis did not answer at all. False if it answered with a refusal."""


class AppendUndecided(BufferUnavailable):
    """The replies to an append were lost until ``append_timeout`` was over.

    Redis holds all of its events, or none. Appending them again may store them twice;
    :meth:`retry` does not.
    """

    may_be_done = True

    def __init__(self, message: str, *, stamp: Stamp, retry: Callable[[], None]) -> None:
        super().__init__(message)
        self.stamp = stamp
        self._retry = retry

    def __reduce__(self) -> tuple[Any, ...]:
        # The events stay in the process that appended them.
        return partial(AppendUndecided, stamp=self.stamp, retry=_refuse_to_retry), self.args

    def retry(self) -> None:
        """Send the same append again. Within half a day it is stored once, however often you retry.

        Returns if it is stored. Raises :class:`AppendUndecided` if that is still unknown.
        """
        self._retry()


def _refuse_to_retry() -> None:
    raise BufferUnavailable(
        "This error is a copy, and the events of its append are not in it. Call retry() of the "
        "original, in the process that raised it."
    )


class BufferOutOfMemory(BufferUnavailable):
    """Redis has no memory left for more events. Nothing was written.

    Draining needs no memory and continues: start more workers, or raise ``maxmemory``.
    """


class SpillUnavailable(BufferUnavailable):
    """Redis is unreachable, and the spill file cannot be written either. Nothing was written."""


class SpillFull(SpillUnavailable):
    """Redis is unreachable, and the bucket has spilled ``max_spill_bytes``. Nothing was written."""


class KeyOccupied(JSONBufferError):
    """A key of the bucket holds a value that this app did not put there. Nothing was changed."""


class BucketFull(JSONBufferError):
    """The bucket has reached ``max_pending`` or ``max_pending_bytes``.

    Also raised if the open batch would exceed the size of a string in Redis. Nothing was written:
    either all events of a call fit, or none is stored.
    """


class LeaseLost(JSONBufferError):
    """The batch is no longer held under this claim. Nothing was changed.

    The lease ran out, and another worker has claimed the batch. Its events may be processed a
    second time.
    """


class TransactionLeftOpen(JSONBufferError):
    """A processor returned with a transaction open that it had begun.

    The transaction was rolled back, and the batch is kept for another attempt.
    """


class NoProcessor(JSONBufferError):
    """The bucket has no processor, so it cannot be drained. Nothing was taken from it."""
