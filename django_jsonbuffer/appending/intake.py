"""Takes events in: encodes them, and hands them to :mod:`.routing`."""

from collections.abc import Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from django_jsonbuffer.declarations import Parts
from django_jsonbuffer.django_internals.sync_callers import is_called_by_sync_code
from django_jsonbuffer.encoding import encode_events
from django_jsonbuffer.exceptions import InvalidEvent

from . import routing


def append(parts: Parts, events: Iterable[Any], *, using: str | None, now: bool) -> None:
    if encoded := _encoded(parts, events):
        routing.append(parts.store, parts.options, encoded, using=using, now=now)


async def aappend(parts: Parts, events: Iterable[Any], *, using: str | None, now: bool) -> None:
    """Like :func:`append`. Uses no thread, except in two cases.

    If sync code waits for this coroutine, its thread appends, because a transaction may be open
    there. If the schema or the encoder needs the database, a thread encodes the events.
    """
    if is_called_by_sync_code():
        await sync_to_async(append)(parts, events, using=using, now=now)
        return
    try:
        encoded = _encoded(parts, events)
    except InvalidEvent as error:
        if not isinstance(error.__cause__, SynchronousOnlyOperation):
            raise
        encoded = await sync_to_async(_encoded)(parts, events)
    if encoded:
        await routing.aappend(parts.store, parts.options, encoded, using=using, now=now)


def _encoded(parts: Parts, events: Iterable[Any]) -> list[bytes]:
    _, options, store, encoder = parts
    return encode_events(events, encoder=encoder, options=options, bucket=store.name)
