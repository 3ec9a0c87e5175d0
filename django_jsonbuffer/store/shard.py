"""A shard: the keys of a bucket, or of one of the parts over which it is spread."""

from collections.abc import Callable
from copy import copy
from typing import Any, Self

from django_jsonbuffer.conf import Configuration

from . import calls
from .clients import clients
from .keys import Identity, bucket_keys, shard_name
from .redis_cluster import is_cluster, owner_name
from .scripts import Script


class Shard:
    """One shard of a bucket in Redis. Most buckets have only shard 0."""

    def __init__(self, name: str, configuration: Configuration, shard: int = 0) -> None:
        self.name = name
        """Name of the bucket."""
        self.cache = configuration.cache
        self.needs_catalog = False
        """Whether workers find the bucket only if it is in the catalog."""
        self.patience_seconds: Callable[[], float] | None = None
        """How long the drain of a shard in a cluster waits until a reply begins, if it does not
        want to wait for the timeout of the client."""
        self._prefix = configuration.prefix
        self._others: dict[int, Self] = {}
        """The other shards that were asked for, by number."""
        self._use(shard)

    def _use(self, shard: int) -> None:
        name = shard_name(self.name, shard)
        self.shard = shard
        """Number of the shard."""
        self.identity = Identity(self.cache, self._prefix, name)
        self.keys = keys = bucket_keys(self._prefix, name)
        self.event_keys = [keys.open, keys.batches, keys.dead, keys.stats, keys.appends]
        """The keys that hold events, and the state of the shard."""
        self._append_keys = (*self.event_keys, keys.attempts, keys.old_appends)
        self._claim_keys = [keys.batches, keys.stats, keys.attempts]

    def of_shard(self, shard: int) -> Self:
        """The same for another shard of the bucket."""
        if shard == self.shard:
            return self
        if (found := self._others.get(shard)) is None:
            found = copy(self)
            found._use(shard)
            found = self._others.setdefault(shard, found)
        return found

    @property
    def node(self) -> str:
        """The node of a cluster that has the shard. Empty if none is known, or if there is one
        server."""
        client = clients[self.cache]
        return owner_name(client, self.keys.open) if is_cluster(client) else ""

    def run(self, script: Script, keys: list[str], *args: bytes | str | int) -> Any:
        """The reply of a script, as bytes even if the client decodes replies."""
        within = None if self.patience_seconds is None else self.patience_seconds()
        return calls.run(self.identity, script, keys, args, within_seconds=within)
