"""Which shards have events in the spills of this machine, for a worker that watches."""

import os
import time
from collections.abc import Iterator

from django_jsonbuffer.appending.spill_size import spilled_shards
from django_jsonbuffer.exceptions import SpillUnavailable
from django_jsonbuffer.store.keys import shard_name, split_key

from .drain import Drain


class Spills:
    """The spills of the buckets that a worker serves. It is false if none of them spills."""

    def __init__(self, *, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._looks_at = 0.0
        self._buckets: dict[str | os.PathLike[str], set[tuple[str, str]]] = {}
        """For each folder, the buckets that spill there: what precedes the name in their keys, and
        the name."""

    def __bool__(self) -> bool:
        return bool(self._buckets)

    def add(self, drain: Drain) -> None:
        if (folder := drain.options.spill_dir) is not None:
            start, _ = split_key(drain.key)
            self._buckets.setdefault(folder, set()).add((start, drain.bucket))

    def look(self) -> Iterator[str]:
        """If it is time to look again: the names of all shards that have events there.

        Of a folder that cannot be read, the name of one bucket, whose drain reports it.
        """
        if (now := time.monotonic()) < self._looks_at:
            return
        self._looks_at = now + self._every_seconds
        for folder, buckets in self._buckets.items():
            try:
                found = spilled_shards(folder)
            except SpillUnavailable:
                yield next(bucket for _, bucket in buckets)
                continue
            for start, bucket, shard in found:
                if (start, bucket) in buckets:
                    yield shard_name(bucket, shard)
