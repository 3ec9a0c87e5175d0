"""All shards of a bucket that may hold events, those beyond the option ``shards`` too."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from .appending.spill_size import spilled_shards
from .declarations import Parts
from .exceptions import BufferUnavailable, SpillUnavailable
from .store.keys import split_key
from .store.shards import UsedShards
from .store.store import Store

T = TypeVar("T")


def stores_of(parts: Parts, used: UsedShards | None = None) -> list[Store]:
    """The stores of all shards. `used` spares the round trip in which they are read.

    If the node of a cluster that knows the shards is down, a warning is logged, and these are the
    shards of the option. Raises :class:`BufferUnavailable` if Redis is unavailable.
    """
    if used is None:
        used = UsedShards.read(parts.configuration)
    store = parts.store
    count = max(parts.options.shards, used.count(store.name), _spilled_shards(parts))
    return [store.of_shard(shard) for shard in range(count)]


def _spilled_shards(parts: Parts) -> int:
    """How many shards there are at least, because so many have events in the spill."""
    if not (folder := parts.options.spill_dir):
        return 0
    place = split_key(parts.store.keys.open)
    with suppress(SpillUnavailable):  # whoever forwards the events reports it
        found = [spilled.shard for spilled in spilled_shards(folder) if spilled[:2] == place]
        return max(found, default=0) + 1
    return 0


def of_each(stores: Sequence[Store], function: Callable[[Store], T]) -> list[T]:
    """What the function returns for each shard.

    In a cluster, a node that is unavailable stops only its own shards. Its error is raised after
    the others.
    """
    found, away = list[T](), dict[str, BufferUnavailable]()
    for store in stores:
        if store.node in away:
            continue
        try:
            found.append(function(store))
        except BufferUnavailable as error:
            if not error.node:
                raise
            away[error.node] = error
    if away:
        first = next(iter(away.values()))
        if found:
            first.args = (f"{first} It was done for the other shards of the bucket.",)
        raise first
    return found
