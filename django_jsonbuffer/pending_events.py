"""Peek and take: pending events as Python values."""

import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import Any

from .exceptions import BufferUnavailable, JSONBufferError
from .json_arrays import leading_events
from .store import pending
from .store.store import Store

logger = logging.getLogger("django_jsonbuffer")

Decode = Callable[[bytes], list[Any]]


def peek(stores: Sequence[Store], decode: Decode, limit: int) -> list[Any]:
    """The oldest pending events, at most `limit` of them, shard by shard."""
    found: list[Any] = []
    for store in stores:
        if (left := limit - len(found)) < 1:
            break
        events, _ = _decoded(pending.peek(store, left), decode)
        found += events[:left]
    return found


def peek_raw(stores: Sequence[Store], limit: int, *, most_bytes: int) -> list[tuple[bytes, bool]]:
    """The oldest pending events as JSON, shard by shard, and whether each is whole."""
    arrays = (
        array for store in stores for array in pending.peek(store, limit, most_bytes=most_bytes)
    )
    return [*islice(chain.from_iterable(map(leading_events, arrays)), limit)]


def take(stores: Sequence[Store], decode: Decode) -> list[Any]:
    """Remove everything pending and return it, oldest first, shard by shard.

    Values that are not JSON arrays of events become dead letters. A shard that fails does not stop
    the others. The caller must get the events that were taken, so its error is raised only if there
    are none, and logged otherwise.
    """
    taken, errors = list[Any](), list[JSONBufferError]()
    away = set[str]()
    for store in stores:
        if store.node in away:
            continue
        try:
            taken += _take(store, decode)
        except JSONBufferError as error:
            errors.append(error)
            if isinstance(error, BufferUnavailable):
                if not error.node:
                    break
                away.add(error.node)
    if errors and not taken:
        raise errors[0]
    for failure in errors:
        text = "Bucket %s: not all of its events were taken. %s"
        logger.error(text, stores[0].name, failure, extra={"bucket": stores[0].name})
    return taken


def _take(store: Store, decode: Decode) -> list[Any]:
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
