"""The contents of a bucket: look at them, take or discard them, or let no worker claim them."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from . import pending_events
from .async_methods import asynchronous
from .dead_letters import DeadLetters
from .declarations import Definition
from .exceptions import JSONBufferError
from .shards import of_each, stores_of
from .store import late_entries, pending
from .store.coroutines import finish
from .store.errors import PATIENCE
from .store.links import BLOCKING
from .store.status import BucketStatus
from .store.statuses import statuses
from .store.store import Store

T = TypeVar("T")


class Contents:
    """The methods of a bucket that concern what is in it, over all its shards."""

    _definition: Definition

    @property
    def dead(self) -> DeadLetters:
        """The dead letters, to look at, replay or discard."""
        parts = self._definition.parts
        return DeadLetters(parts, partial(stores_of, parts))

    def status(self) -> BucketStatus:
        """Events pending, in flight and dead, batches, bytes and age.

        All are read at one moment. If there are several shards, the figures are sums, and each
        shard is read at a moment of its own.
        """
        current, options, store, _ = self._definition.parts
        name = store.name
        [status] = statuses([name], current, {name: options.shards})
        if isinstance(status, JSONBufferError):
            raise status
        return status

    def pause(self) -> bool:
        """Let no worker claim a batch until :meth:`resume`. Appends go on.

        Workers finish the batches that they hold. Returns False if the bucket was paused before.
        """
        return any(self._of_each_shard(_pause))

    def resume(self) -> bool:
        """Let workers drain the bucket again. Returns False if it was not paused."""
        return any(self._of_each_shard(pending.resume))

    def peek(self, limit: int = 10) -> list[Any]:
        """The oldest pending events, at most `limit` of them. They stay where they are.

        Of several shards, those of shard 0 come first, then those of shard 1, and so on.
        """
        parts = self._definition.parts
        return pending_events.peek(stores_of(parts), parts.encoder.decode, limit)

    def take(self) -> list[Any]:
        """Remove everything pending in one atomic step, and return it, oldest first.

        Of several shards, each is one step. If one of them fails, the error is logged, and the
        events of the others are returned.

        If the caller dies after this, the events are gone. With a processor they would not be.
        Batches that a worker holds are not taken.
        """
        parts = self._definition.parts
        return pending_events.take(stores_of(parts), parts.encoder.decode)

    def purge(self) -> int:
        """Discard everything pending, and return how many events there were.

        Batches that a worker holds and dead letters stay.
        """
        return sum(self._of_each_shard(pending.purge))

    def _of_each_shard(self, function: Callable[[Store], T]) -> list[T]:
        return of_each(stores_of(self._definition.parts), function)

    astatus = asynchronous(status)
    apause = asynchronous(pause)
    aresume = asynchronous(resume)
    apeek = asynchronous(peek)
    atake = asynchronous(take)
    apurge = asynchronous(purge)


def _pause(store: Store) -> bool:
    if store.shard:  # so that it is found if there are fewer shards when the bucket is resumed
        finish(late_entries.write_before_append(store.identity, BLOCKING, patience=PATIENCE))
    return pending.pause(store)
