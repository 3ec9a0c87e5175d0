"""Where a load on a cluster goes: to several buckets, or to the shards of one."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar, Final, Self

from redis.crc import key_slot

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.draining.stop import Stop
from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.management.commands.drain_buckets import Command
from django_jsonbuffer.management.selection import Selection
from django_jsonbuffer.store.keys import shard_name
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import SLOTS, names_on
from tests.faults.loads import Event, Target
from tests.test_embedded_redis import wait_until
from tests.test_shards import key_of

PRIMARIES: Final = 3
APPEND_TIMEOUT: Final = timedelta(seconds=0.5)


class Buckets:
    """Buckets on each of three primaries. In the end, their events are taken."""

    anywhere: tuple[Target, ...] = ()
    """The target that any shard belongs to, if there is one."""

    twice = 0
    """Events that were processed again."""

    def __init__(
        self,
        nodes: Sequence[EmbeddedRedis],
        configure: Callable[..., None],
        *,
        per_node: int = 1,
        durability: str | None = None,
    ) -> None:
        options: dict[str, Any] = {"append_timeout": APPEND_TIMEOUT, "batch_size": None}
        names = names_on([*nodes[:PRIMARIES]], per_node=per_node)
        self.targets = [
            [Target(name, Bucket(name, durability=durability, **options)) for name in on_node]
            for on_node in names
        ]
        """By node, so many on each."""

    def key(self, target: Target) -> str:
        """A key in the slot of a target."""
        return target.bucket.key

    def events(self, *, may_roll_back: bool = False) -> list[Event]:
        """The events of all targets, each as often as it is stored.

        If a server may have lost its last writes, an event that was sealed before may be sealed
        again, into another batch. Then each event is returned once.
        """
        buckets = {target.bucket for on_node in self.targets for target in on_node}
        return [event for bucket in buckets for event in bucket.take()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class Shards(Buckets):
    """One bucket. Its targets are shards on each of three primaries, and any shard."""

    options: ClassVar[dict[str, Any]] = {"batch_size": None}

    def __init__(
        self,
        nodes: Sequence[EmbeddedRedis],
        configure: Callable[..., None],
        *,
        per_node: int = 2,
        durability: str | None = None,
    ) -> None:
        self.shards = PRIMARIES * per_node
        self.name = next(name for n in range(100_000) if self._is_even(name := f"sharded-{n}"))
        options = {**self.options, "append_timeout": APPEND_TIMEOUT, "durability": durability}
        configure(BUCKETS={self.name: {**options, "shards": self.shards}})
        self.bucket = Bucket(self.name)
        self._numbers: dict[str, int] = {}
        self.targets = [[] for _ in range(PRIMARIES)]
        for number in range(self.shards):
            target = Target(f"#{number}", self.bucket, key_of(number, shards=self.shards))
            self.targets[self._node_of(self.name, number)].append(target)
            self._numbers[target.name] = number
        self.anywhere = (Target("any", self.bucket, goes_anywhere=True),)

    def _is_even(self, name: str) -> bool:
        """Whether each node has equally many shards of a bucket with this name."""
        counts = Counter(self._node_of(name, number) for number in range(self.shards))
        return [*counts.values()] == [self.shards // PRIMARIES] * PRIMARIES

    @staticmethod
    def _node_of(name: str, shard: int) -> int:
        return key_slot(shard_name(name, shard).encode()) * PRIMARIES // SLOTS

    def key(self, target: Target) -> str:
        shard = shard_name(self.name, self._numbers[target.name])
        return target.bucket.key.replace(f"{{{self.name}}}", f"{{{shard}}}")


def place_of(batch: str) -> tuple[int, int]:
    """The place of a batch in the stream of its shard."""
    time, sequence, _ = batch.split("-")
    return int(time), int(sequence)


class Drained(Shards):
    """The bucket is drained under load, again and again, by one thread."""

    options: ClassVar[dict[str, Any]] = {
        "batch_size": 50,
        "linger": timedelta(seconds=0.05),
        "lease": timedelta(seconds=10),
    }

    def __enter__(self) -> Self:
        self._deliveries: defaultdict[tuple[Any, ...], list[str]] = defaultdict(list)
        """The ids of the batches in which each event came, in the order of the first ones."""
        self._stop = Stop()
        self.bucket.processor(self._process)
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            if exc_info == (None, None, None):
                wait_until(self._is_empty, seconds=60)
        finally:
            self._stop.set()
            self._thread.join()

    def events(self, *, may_roll_back: bool = False) -> list[Event]:
        """Those that were processed."""
        if may_roll_back:
            return [*self._in_order()]
        return [event for event in self._in_order() for _ in {*self._deliveries[event]}]

    def _in_order(self) -> list[tuple[Any, ...]]:
        """The events of each shard as they are stored.

        They may be processed in another order: if a node hangs, the drain ends and may leave a
        batch behind, of which it does not know, and the next drain goes on with later ones.
        """
        return sorted(self._deliveries, key=lambda event: place_of(self._deliveries[event][0]))

    @property
    def twice(self) -> int:  # type: ignore[override]
        return sum(len(ids) > 1 for ids in self._deliveries.values())

    def _process(self, batch: Batch) -> None:
        for event in batch:
            self._deliveries[tuple(event)].append(batch.id)

    def _is_empty(self) -> bool:
        with suppress(JSONBufferError):
            return not self.bucket.status().batches
        return False

    def _work(self) -> None:
        while not self._stop.is_set:
            with suppress(JSONBufferError):
                self.bucket.drain()
            time.sleep(0.05)


class Watched(Drained):
    """The bucket is drained by a watching worker."""

    def _in_order(self) -> list[tuple[Any, ...]]:
        """The events as they were first processed. If the worker does not learn of a batch that it
        has claimed, it finds this batch before later ones."""
        return [*self._deliveries]

    def _work(self) -> None:
        options = {"watch": True, "verbosity": 0, "interval": 0.2}
        limits = {"max_seconds": None, "max_batches": None}
        with Command()._rounds(Selection([self.name]), self._stop, options | limits) as rounds:
            for _ in rounds:
                pass
