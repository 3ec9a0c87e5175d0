"""What can go wrong, one class for each thing that a caller can react to.

Each docstring says in which state Redis is afterwards.
"""

from django.core.exceptions import ImproperlyConfigured


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

    When it refused, nothing was changed. When the connection broke or timed out, the command may
    have been carried out, with only its reply lost: whoever then appends again may append twice.
    """


class BufferOutOfMemory(BufferUnavailable):
    """Redis has no memory left for new events. Nothing was written.

    Draining needs no memory and goes on: start more workers, or raise ``maxmemory``.
    """


class KeyOccupied(JSONBufferError):
    """A key of the bucket holds what this app did not put there. Nothing was changed."""


class BucketFull(JSONBufferError):
    """The open batch cannot take more. Nothing was written: all events of a call fit, or none."""


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
