"""Where a tracer sees appends and batches. ``contrib.opentelemetry`` installs one.

Without one, each append looks at :data:`tracer`, finds None, and sends nothing for it.
"""

import logging
from collections.abc import Callable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TypeVar

from .store.traces import Traces
from .summaries import summary_of

T = TypeVar("T")

logger = logging.getLogger("django_jsonbuffer")


class Delivery(Protocol):
    """What a tracer may know about a :class:`~django_jsonbuffer.Batch`."""

    id: str
    attempt: int
    bucket: str

    @property
    def rejected(self) -> Sized: ...
    def __len__(self) -> int: ...


class Tracer(Protocol):
    """Surrounds each append and each call of a processor with a context manager.

    An exception that passes through is the failure of the append or of the processor.
    """

    def appending(self, bucket: str, count: int) -> AbstractContextManager[str]:
        """Surrounds an append of `count` events, until they are stored or held back.

        Enters with the context that is kept beside the events: 32 hexadecimal digits of the trace,
        a dash, and 16 of the span. Or with an empty text to keep none.
        """

    def processing(
        self, batch: Delivery, traces: Traces, *, with_messages: bool
    ) -> AbstractContextManager[object]:
        """Surrounds a call of the processor. `traces` has the contexts of the batch's appends.

        `with_messages` is False if no message of an exception may be shown, because it may quote
        events.
        """


tracer: Tracer | None = None
"""The tracer of this process."""


def appending(by: Tracer, bucket: str, count: int) -> AbstractContextManager[str]:
    """What surrounds an append. See :meth:`Tracer.appending`."""
    return _guarded(lambda: by.appending(bucket, count), "")


def processing(
    batch: Delivery, traces: Traces, *, with_messages: bool
) -> AbstractContextManager[object]:
    """What surrounds a call of the processor. Nothing happens without a tracer."""
    by = tracer
    if by is None:
        return nullcontext()
    return _guarded(lambda: by.processing(batch, traces, with_messages=with_messages), None)


@contextmanager
def _guarded(make: Callable[[], AbstractContextManager[T]], otherwise: T) -> Iterator[T]:
    """Enter and leave a context manager of the tracer, whose own errors are logged and not raised.

    Otherwise an event that is stored would be appended again, and a batch that is processed would
    come again. `otherwise` is the value if the context manager cannot be entered.
    """
    try:
        manager = make()
        entered = manager.__enter__()
    except Exception as error:  # noqa: BLE001  (a tracer may raise anything)
        _log(error)
        yield otherwise
        return
    try:
        yield entered
    except BaseException as error:
        _leave(manager, error)
        raise
    _leave(manager, None)


def _leave(manager: AbstractContextManager[object], error: BaseException | None) -> None:
    try:
        if error is None:
            manager.__exit__(None, None, None)
        else:
            manager.__exit__(type(error), error, error.__traceback__)
    except Exception as other:  # noqa: BLE001  (a tracer may raise anything)
        if other is not error:
            _log(other)


def _log(error: Exception) -> None:
    summary = summary_of(error, with_message=False)  # the message may quote an event
    logger.error("The tracer failed with %s. The events go their way without it.", summary)
