"""Peek, take and purge the pending events of a bucket. Pause and resume the bucket."""

from collections.abc import Sequence
from typing import Final

from . import reports
from .links import Link
from .scripts import LOSE, PAUSE, PEEK, RESUME, SET_ASIDE, TAKE
from .store import Store

_PURGE_BATCHES: Final = 100
"""Batches that one call of a purge discards, so that no call blocks the server for long."""


def peek(store: Store, limit: int, *, most_bytes: int = 0) -> list[bytes]:
    """JSON arrays, oldest first, with at least `limit` pending events if there are so many.

    With `most_bytes`, at most so many bytes in total, so the last array may be cut off.
    """
    keys = [store.keys.open, store.keys.batches, store.keys.appends]
    return store.run(PEEK, keys, limit, most_bytes)  # type: ignore[no-any-return]


def take(store: Store) -> list[bytes]:
    """Remove all that is pending, and return it as JSON arrays, oldest first."""
    _, arrays, _ = _take(store, counter="processed", returns=True, limit=0)
    return arrays


def purge(store: Store) -> int:
    """Remove all that is pending, and return how many events there were.

    This takes several calls to Redis, and each call is atomic.
    """
    total, is_limited = 0, True
    while is_limited:
        count, _, is_limited = _take(store, counter="purged", returns=False, limit=_PURGE_BATCHES)
        total += count
    return total


def _take(
    store: Store, *, counter: str, returns: bool, limit: int
) -> tuple[int, list[bytes], bool]:
    foreign, count, is_limited, arrays = store.run(
        TAKE, [*store.event_keys, store.keys.attempts], counter, int(returns), limit
    )
    reports.of_foreign(store.name, foreign)
    return count, arrays, bool(is_limited)


def set_aside(store: Store, values: Sequence[bytes], *, error: str) -> None:
    """Keep values that were taken and cannot be read, as dead letters."""
    store.run(SET_ASIDE, [store.keys.dead, store.keys.stats], error, *values)
    reports.of_foreign(store.name, len(values))


async def count_lost(store: Store, count: int, link: Link) -> None:
    """Count events that were lost before they reached Redis."""
    await link.run_once(store.identity, LOSE, (store.keys.stats,), [b"%d" % count])


def pause(store: Store) -> bool:
    """Let no worker claim a batch. False if the bucket was paused before."""
    return bool(store.run(PAUSE, [store.keys.paused]))


def resume(store: Store) -> bool:
    """Let workers claim batches again. False if the bucket was not paused."""
    return bool(store.run(RESUME, [store.keys.paused]))
