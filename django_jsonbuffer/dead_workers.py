"""Workers that have died: their heartbeats are still there, because they have not signed off."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from .conf import Configuration
from .exceptions import BufferUnavailable
from .store.keys import bucket_keys, shard_name
from .store.nodes import Call, replies
from .store.registry import ALIVE, Workers
from .store.scripts import MILLISECOND

LastHeard = Mapping[str, timedelta]
"""How long ago a worker that has died was last heard of, by the names of the buckets that have one.
Of several, this is the last one."""

_PATIENCE_SECONDS: Final = 1.0
"""How long to wait for a node of a cluster, because it must not delay the figures of the others."""


def read_last_heard(counts: Mapping[str, int], configuration: Configuration) -> LastHeard | None:
    """Read the heartbeats of these buckets, in one round trip for 500 shards.

    `counts` are the numbers of shards, by name. None if the registry of workers cannot be read: its
    node of a cluster does not answer, or this user of Redis may not read it. Then it is not known
    whether a worker lives that has nothing to do.
    """
    names = [name for name, count in counts.items() for _ in range(count)]
    keys = [
        bucket_keys(configuration.prefix, shard_name(name, shard)).workers
        for name, count in counts.items()
        for shard in range(count)
    ]
    calls = [*Workers.calls(configuration), *(Call(key, ("HVALS", key)) for key in keys)]
    try:
        found = replies(configuration.cache, calls, within_seconds=_PATIENCE_SECONDS)
    except BufferUnavailable:
        return None
    registry, time, *beats = found
    if isinstance(registry, Exception) or not isinstance(time, tuple | list):
        return None
    now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
    heard: dict[str, timedelta] = {}
    for name, its_beats in zip(names, beats, strict=True):
        for ago in _silences(its_beats, now_ms):
            heard[name] = min(ago, heard.get(name, ago))
    return heard


def _silences(beats: Sequence[bytes] | Any, now_ms: int) -> Iterator[timedelta]:
    """How long ago each heartbeat was that is too old for a living worker."""
    for beat in beats if isinstance(beats, list) else ():
        ago_ms = now_ms - int(beat) if beat.isdigit() and len(beat) <= 15 else 0
        if ago_ms >= ALIVE // MILLISECOND:
            yield ago_ms * MILLISECOND
