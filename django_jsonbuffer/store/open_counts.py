"""Counts the events of a long open batch that another client has changed.

A script would block the server for about 3 µs for each event. So a status counts them in its own
process, and stores the count for the scripts that follow.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.json_arrays import count_events

from .errors import ask, not_redis
from .redis_internals import AS_BYTES
from .scripts import NOTE_COUNT
from .store import Store

_PART: Final = 1024 * 1024
"""Bytes that one command reads. Redis needs less than a millisecond for so many."""

_TAIL: Final = 64


class OpenCount(NamedTuple):
    """What an open batch holds. The arguments of status.lua."""

    events: int
    """-1 if nobody has counted them."""

    length: int
    """Bytes of the array."""


UNCOUNTED: Final = OpenCount(-1, 0)


def count_open(store: Store) -> OpenCount:
    """Count the events of the open batch, and store the count if this Redis user may write.

    A value that is not a JSON array of events has none. If another client replaces the open batch
    meanwhile, the count may be that of neither value, and is not stored.
    """
    value = b"".join(_parts(store))
    array = value.strip(b" \t\r\n")
    count = count_events(array)
    if not count:
        return OpenCount(0, 0)
    if array == value:
        with suppress(JSONBufferError):
            keys = [store.keys.open, store.keys.stats, store.keys.appends]
            store.run(NOTE_COUNT, keys, count, len(array), array[-_TAIL:])
    return OpenCount(count, len(array))


def _parts(store: Store) -> Iterator[bytes]:
    """The open batch in parts. Stays whole if another client appends to it meanwhile."""
    start, size = 0, _PART
    while size == _PART:
        part = ask(store.cache, partial(_part, store.keys.open, start), store.name)
        if type(part) is not bytes:
            raise not_redis(store.name)
        yield part
        size = len(part)
        start += size


def _part(key: str, start: int, client: Any) -> Any:
    return client.execute_command("GETRANGE", key, start, start + _PART - 1, **AS_BYTES)
