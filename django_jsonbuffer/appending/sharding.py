"""Which shard an append goes to."""

import os
import secrets
from typing import Final
from zlib import crc32

from django_jsonbuffer.exceptions import InvalidEvent
from django_jsonbuffer.store.breakers import breaker_of
from django_jsonbuffer.store.store import Store

OrderingKey = str | bytes | int | None

STAY: Final = 1000
"""After so many events, a process goes on to the next shard, so that all get alike. If it did that
with each append, there would be little to send together by group commit."""


class Turn:
    """Which shard has its turn in this process. Only events without a key heed it."""

    def __init__(self) -> None:
        self._events = secrets.randbelow(1000) * STAY  # so that processes do not choose alike

    @property
    def number(self) -> int:
        """Its remainder is the shard."""
        return self._events // STAY + os.getpid()  # the children of a process have other ids

    def note(self, events: int) -> None:
        """Note that so many events go to the shard. If two threads do it at the same time, one of
        the numbers may be missing, which does no harm."""
        self._events += events

    def leave(self) -> None:
        """Go on to the next shard, because this one is full."""
        self._events += STAY


TURN: Final = Turn()


def shard_of(key: OrderingKey, shards: int) -> int | None:
    """The shard of the events with this key, out of so many. None if there is no key.

    A number and its text are the same key. Raises :class:`InvalidEvent` if it is of another type.
    """
    if key is None:
        return None
    if not isinstance(key, str | bytes | int) or isinstance(key, bool):
        raise InvalidEvent(
            f"ordering_key must be a str, bytes or an int, not a {type(key).__qualname__}. Give "
            "the id of the object that the event is about."
        )
    if isinstance(key, str):
        key = str.__str__(key)  # a member of a str Enum has another text
    text = key if isinstance(key, bytes) else str(key).encode(errors="surrogatepass")
    return crc32(text) % shards


def next_shard(store: Store, shards: int) -> int:
    """The shard of events without a key, out of so many: that whose turn it is in this process.

    Shards of a node that was unreachable or refused an append a moment ago are passed over.
    """
    first = TURN.number
    for place in range(first, first + shards):
        shard = place % shards
        if not breaker_of(store.cache, store.of_shard(shard).keys.open).refuses:
            return shard
    return first % shards
