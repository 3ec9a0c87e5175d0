"""What can go wrong, one class for each thing that a caller can react to.

Each docstring says in which state Redis is afterwards.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from .producers import Stamp


class JSONBufferError(Exception):
    """Base of all errors of this app."""


class BufferMisconfigured(JSONBufferError, ImproperlyConfigured):
    """A setting, a bucket's options or the cache alias is unusable. Redis was not asked."""


class InvalidBucketName(JSONBufferError, ValueError):
    """No bucket can have this name. Redis was not asked."""


class InvalidEvent(JSONBufferError, ValueError):
    """An event could not be read back as it is, or its bucket's schema refuses it.

    Nothing was written, nor was any other event of the same call.
    """


class EventTooLarge(InvalidEvent):
    """An event, or all of one call together, has more bytes than allowed. Nothing was written."""


class BufferUnavailable(JSONBufferError):
    """Redis cannot be reached, or refuses to serve: loading, read-only, busy, no permission.

    Nothing was written by an append that raises this. Anything else may have been carried out, with
    only its reply lost, when the connection broke or timed out; all of it may be repeated.
    """

    may_be_done = False
    """Whether the command may have been carried out all the same."""

    is_unreachable = False
    """Whether no answer came, rather than a refusal."""


class AppendUndecided(BufferUnavailable):
    """The replies to an append were lost until its time was over: all of its events are stored, or
    none. To append them anew may store them twice; :meth:`retry` does not.
    """

    may_be_done = True

    def __init__(self, message: str, *, stamp: "Stamp", retry: Callable[[], None]) -> None:
        super().__init__(message)
        self.stamp = stamp
        self._retry = retry

    def __reduce__(self) -> tuple[Any, ...]:
        # The events stay in their process.
        return partial(AppendUndecided, stamp=self.stamp, retry=_not_here), self.args

    def retry(self) -> None:
        """Send the same append again. However often that is done, within half a day, it is stored
        once.

        Returns when it is stored; raises :class:`AppendUndecided` when that is still not known.
        """
        self._retry()


def _not_here() -> None:
    raise BufferUnavailable(
        "This error is a copy, and the events of its append are not in it. Call retry() of the "
        "original, in the process that raised it."
    )


class BufferOutOfMemory(BufferUnavailable):
    """Redis has no memory left for new events. Nothing was written.

    Draining needs no memory and goes on: start more workers, or raise ``maxmemory``.
    """


class SpillUnavailable(BufferUnavailable):
    """Redis is away, and the file to spill to cannot be written either. Nothing was written."""


class SpillFull(SpillUnavailable):
    """Redis is away, and the bucket has spilled its ``max_spill_bytes``. Nothing was written."""


class KeyOccupied(JSONBufferError):
    """A key of the bucket holds what this app did not put there. Nothing was changed."""


class BucketFull(JSONBufferError):
    """The bucket has reached its ``max_pending`` or ``max_pending_bytes``, or the open batch the
    size of a string in Redis. Nothing was written: all events of a call fit, or none.
    """


class LeaseLost(JSONBufferError):
    """The batch is no longer held under this claim: the lease ran out and another worker has it,
    or had it. Nothing was changed. What the processor did with it may be done once more.
    """


class TransactionLeftOpen(JSONBufferError):
    """A processor returned within a transaction that it had begun. It was rolled back, and the
    batch is kept for another attempt.
    """


class NoProcessor(JSONBufferError):
    """The bucket has no processor to drain into. Nothing was taken from it."""
