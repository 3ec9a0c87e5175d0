"""Peek and take: pending events as Python values."""

import logging
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Any

from .exceptions import JSONBufferError
from .json_arrays import leading_events
from .store import pending
from .store.store import Store

logger = logging.getLogger("django_jsonbuffer")

Decode = Callable[[bytes], list[Any]]


def peek(store: Store, decode: Decode, limit: int) -> list[Any]:
    """The oldest pending events, at most `limit` of them."""
    if limit < 1:
        return []
    events, _ = _decoded(pending.peek(store, limit), decode)
    return events[:limit]


def peek_raw(store: Store, limit: int, *, most_bytes: int) -> list[tuple[bytes, bool]]:
    """The oldest pending events as JSON, and whether each is whole."""
    arrays = pending.peek(store, limit, most_bytes=most_bytes)
    return [*islice(chain.from_iterable(map(leading_events, arrays)), limit)]


def take(store: Store, decode: Decode) -> list[Any]:
    """Remove everything pending and return it, oldest first.

    Values that are not JSON arrays of events become dead letters.
    """
    events, unreadable = _decoded(pending.take(store), decode)
    if unreadable:
        try:
            error = "The batch was not a JSON array of events."
            pending.set_aside(store, unreadable, error=error)
        except JSONBufferError as failure:
            # The caller must get the events that were taken, even if the other values are lost. No
            # traceback, because it would include an exception that the caller was handling.
            logger.error(
                "Bucket %s: values that are not JSON arrays of events were taken and are lost: %d. "
                "%s",
                store.name,
                len(unreadable),
                failure,
                extra={"bucket": store.name},
            )
    return events


def _decoded(arrays: Iterable[bytes], decode: Decode) -> tuple[list[Any], list[bytes]]:
    """The events, and the arrays that cannot be decoded, because another client wrote them."""
    events: list[Any] = []
    unreadable: list[bytes] = []
    for array in arrays:
        try:
            events += decode(array)
        except Exception:  # noqa: BLE001  (the project's own encoder may raise anything)
            unreadable.append(array)
    return events, unreadable
