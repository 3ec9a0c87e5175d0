"""Leases and pauses that a test does not wait for."""

from datetime import timedelta
from typing import Any, Final

from redis.exceptions import ResponseError

from django_jsonbuffer.store.errors import ask
from django_jsonbuffer.store.scripts import MILLISECOND
from django_jsonbuffer.store.store import Store

_GROUP: Final = "drain"
_NOBODY: Final = "released"
"""The consumer group, and the consumer that holds released batches: see ``shared/group.lua``."""

_IDLE_MS: Final = timedelta(days=100) // MILLISECOND
"""An idle time that is longer than any lease, and shorter than that of a piece of a batch that was
split, which must stay: see ``shared/group.lua``."""

_MOST: Final = 1_000_000
_RETRY: Final = 4
"""Place in the field ``outage``: see ``shared/outage.lua``."""


def end_backoffs(store: Store) -> None:
    """Let the batches be claimable at once that wait for their next attempt."""

    def end(client: Any) -> None:
        _let_idle(client, store, is_held=False)
        parts = _text(client.hget(store.keys.stats, "outage") or "").split("/")
        if len(parts) > _RETRY and parts[_RETRY] != "0":
            parts[_RETRY] = "1"
            client.hset(store.keys.stats, "outage", "/".join(parts))

    ask(store.cache, end, store.name)


def end_leases(store: Store) -> None:
    """Let the leases of all workers run out, as if they had died long ago."""

    def end(client: Any) -> None:
        _let_idle(client, store, is_held=True)
        seconds, microseconds = client.time()
        # The heartbeats of other workers prove that the clock was not set: ``shared/doubt.lua``.
        client.hset(store.keys.stats, "clock", seconds * 1000 + microseconds // 1000)
        client.hdel(store.keys.stats, "resumed")

    ask(store.cache, end, store.name)


def give_away(store: Store, batch: str) -> None:
    """Let another worker hold the batch, whose lease has run out."""

    def give(client: Any) -> None:
        id = batch.rpartition("-")[0]
        client.xclaim(store.keys.batches, _GROUP, "late", 0, [id], idle=_IDLE_MS, justid=True)

    ask(store.cache, give, store.name)


def _let_idle(client: Any, store: Store, *, is_held: bool) -> None:
    """Let batches be idle for as long as a lease: those that workers hold, or the released ones."""
    key = store.keys.batches
    try:
        deliveries = client.xpending_range(key, _GROUP, "-", "+", _MOST)
    except ResponseError as error:
        if not str(error).startswith("NOGROUP"):
            raise
        return
    for delivery in deliveries:
        holder, id = _text(delivery["consumer"]), delivery["message_id"]
        if (holder != _NOBODY) is is_held and delivery["time_since_delivered"] < _IDLE_MS:
            client.xclaim(key, _GROUP, holder, 0, [id], idle=_IDLE_MS, justid=True)


def _text(value: bytes | str) -> str:
    """The value as a text: the client of the site may decode replies, or not."""
    return value.decode() if isinstance(value, bytes) else value
