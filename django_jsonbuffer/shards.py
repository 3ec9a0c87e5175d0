"""All shards of a bucket that may hold events, those beyond the option ``shards`` too.

Also the buckets of which only the spill of this machine knows.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from .appending.spill_size import spilled_shards
from .conf import active_isolation, configuration
from .declarations import Definition, Parts, declared
from .exceptions import BufferUnavailable, JSONBufferError, SpillUnavailable
from .store.keys import is_valid_name, split_key
from .store.shards import UsedShards
from .store.store import Store

T = TypeVar("T")

logger = logging.getLogger("django_jsonbuffer")


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
        raise next(iter(away.values()))
    return found


def spilled_names() -> set[str]:
    """The names of all buckets that have events in a spill of this machine.

    No other place knows the name of a bucket that only a pattern declares, if its first append was
    spilled. Whoever forwards the events reports a spill that cannot be read: here it has no names.
    """
    found = set[str]()
    for folder in _spill_folders():
        with suppress(SpillUnavailable):
            places = {spilled[:2] for spilled in spilled_shards(folder)}
            found |= {name for start, name in places if _spills(name, start, folder)}
    return found


def _spill_folders() -> set[Any]:
    """The folders that the declarations and the setting name."""
    given: list[Mapping[str, Any]] = [bucket.given_options for bucket, _ in declared.buckets]
    given += configuration().buckets.values()
    found = [options.get("spill_dir") for options in given]
    folders = {folder for folder in found if isinstance(folder, str | os.PathLike)}
    if folders and (isolated := active_isolation()) is not None:
        return {isolated.spill_dir}
    return folders


def _spills(name: str, start: str, folder: object) -> bool:
    """Whether the bucket forwards what is there. Another site may use the folder, too."""
    if not is_valid_name(name):
        return False
    with suppress(JSONBufferError):  # wrong options: a system check reports them
        parts = Definition(name, {}).parts
        return parts.options.spill_dir == folder and (start, name) == split_key(
            parts.store.keys.open
        )
    return False
