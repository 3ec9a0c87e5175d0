"""Takes events in: encodes them, and hands them to :mod:`.routing`."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from django_jsonbuffer.declarations import Parts
from django_jsonbuffer.django_internals.sync_callers import is_called_by_sync_code
from django_jsonbuffer.encoding import encode_events, is_single_event
from django_jsonbuffer.exceptions import InvalidEvent

from . import routing
from .sharding import OrderingKey, shard_of


class How(NamedTuple):
    """How to append: see :meth:`Bucket.append`."""

    using: str | None
    now: bool
    ordering_key: OrderingKey


def append(parts: Parts, events: Iterable[Any], how: How) -> None:
    _, options, store, _ = parts
    shard = shard_of(how.ordering_key, options.shards)
    if encoded := _encoded(parts, events):
        routing.append(store, options, encoded, using=how.using, now=how.now, shard=shard)


async def aappend(parts: Parts, events: Iterable[Any], how: How) -> None:
    """Like :func:`append`. Uses no thread, except in two cases.

    If sync code waits for this coroutine, its thread appends, because a transaction may be open
    there. If the schema or the encoder needs the database, a thread encodes the events.
    """
    if is_called_by_sync_code():
        await sync_to_async(append)(parts, events, how)
        return
    _, options, store, _ = parts
    shard = shard_of(how.ordering_key, options.shards)
    try:
        encoded = _encoded(parts, events)
    except InvalidEvent as error:
        if not isinstance(error.__cause__, SynchronousOnlyOperation):
            raise
        encoded = await sync_to_async(_encoded)(parts, events)
    if encoded:
        await routing.aappend(store, options, encoded, using=how.using, now=how.now, shard=shard)


def several(events: Iterable[Any]) -> list[Any]:
    """The events of ``extend()``. Raises :class:`InvalidEvent` if it is a single one."""
    if is_single_event(events):
        raise InvalidEvent("extend() takes several events. For a single one use append().")
    return [*events]


def _encoded(parts: Parts, events: Iterable[Any]) -> list[bytes]:
    _, options, store, encoder = parts
    return encode_events(events, encoder=encoder, options=options, bucket=store.name)
