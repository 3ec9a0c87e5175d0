"""A cluster under load: a primary dies, a shard hangs, slots move.

Callers of other shards see no error. Confirmed events are stored once, in the order of their calls,
except for those that a failover loses, because the replica did not have them yet.
"""

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable
from django_jsonbuffer.store.breakers import breakers
from django_jsonbuffer.store.clients import clients
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, cluster, hung, kill, move_slot, names_on, url_of
from tests.faults.appending import PATIENCE_SECONDS
from tests.faults.scale import report, scale
from tests.test_embedded_redis import client_of, wait_until

ARGS: Final = ("--cluster-require-full-coverage", "no", "--cluster-node-timeout")

LONG_SECONDS: Final = 20
"""A timeout that no call needs on a busy machine."""

HANGS_SECONDS: Final = scale(full=8, short=3)
"""A timeout for calls to a shard that hangs. On a busy machine, any shard may hang for seconds."""

CALLERS: Final = scale(full=8, short=3)
"""Of each bucket."""

CALLS: Final = scale(full=500, short=40)
"""Appends to each bucket before and after a fault."""

MOVES: Final = scale(full=40, short=4)


class Load:
    """Callers that append to buckets, one event after the other, until the end of the block."""

    def __init__(self, names: Sequence[str]) -> None:
        self.confirmed: Counter[tuple[str, int]] = Counter()
        """Appends that have succeeded, by bucket and caller."""
        self.errors: Counter[str] = Counter()
        self.slowest_seconds: defaultdict[str, float] = defaultdict(float)
        self._names = names
        self._is_over = False

    @staticmethod
    def bucket(name: str) -> Bucket:
        return Bucket(name, batch_size=None, append_timeout=timedelta(seconds=0.5))

    def count(self, name: str) -> int:
        return sum(self.confirmed[name, caller] for caller in range(CALLERS))

    def wait_for_more(self, *names: str) -> None:
        """Wait until more events are confirmed to each of the buckets."""
        enough = {name: self.count(name) + CALLS for name in names}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(self.count(name) < enough[name] for name in names):
            assert time.monotonic() < deadline, "there were no more events within a minute"
            time.sleep(0.05)

    def check(self, name: str, *, may_lose: bool = False) -> int:
        """Take the events. Each must be there once, in order. Returns how many are lost."""
        stored = self.bucket(name).take()
        assert len({*map(tuple, stored)}) == len(stored)
        lost = self.count(name) - len(stored)
        for caller in range(CALLERS):
            numbers = [number for each, number in stored if each == caller]
            assert numbers == sorted(numbers)
            if not may_lose:
                assert numbers == [*range(self.confirmed[name, caller])]
        return lost

    def __enter__(self) -> "Load":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._is_over = True
        self._thread.join()

    def _run(self) -> None:
        raise NotImplementedError

    @contextmanager
    def _watching(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        self.slowest_seconds[name] = max(self.slowest_seconds[name], seconds)


class Threads(Load):
    def _run(self) -> None:
        threads = [
            threading.Thread(target=self._call, args=(name, caller))
            for name in self._names
            for caller in range(CALLERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _call(self, name: str, caller: int) -> None:
        bucket = self.bucket(name)
        while not self._is_over:
            event = [caller, self.confirmed[name, caller]]
            with self._watching(name):
                self._settle(name, lambda: bucket.append(event))  # noqa: B023
            self.confirmed[name, caller] += 1

    def _settle(self, name: str, append: Callable[[], object]) -> None:
        while True:
            try:
                append()
                return
            except AppendUndecided as undecided:
                append = undecided.retry
            except BufferUnavailable:
                time.sleep(0.01)  # nothing was written, so the same call is repeated
            self.errors[name] += 1


class Tasks(Load):
    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        names = [name for name in self._names for _ in range(CALLERS)]
        await asyncio.gather(*(self._call(name, n % CALLERS) for n, name in enumerate(names)))

    async def _call(self, name: str, caller: int) -> None:
        bucket = self.bucket(name)
        while not self._is_over:
            event = [caller, self.confirmed[name, caller]]
            with self._watching(name):
                await self._settle(name, bucket, event)
            self.confirmed[name, caller] += 1

    async def _settle(self, name: str, bucket: Bucket, event: Any) -> None:
        append: Callable[[], Any] = lambda: bucket.aappend(event)  # noqa: E731
        while True:
            try:
                await append()
                return
            except AppendUndecided as undecided:
                append = undecided.aretry
            except BufferUnavailable:
                await asyncio.sleep(0.01)
            self.errors[name] += 1


@pytest.fixture(params=[Threads, Tasks])
def load(request: pytest.FixtureRequest) -> type[Load]:
    kind: type[Load] = request.param
    return kind


@pytest.fixture(autouse=True)
def _closed_breakers() -> Iterator[None]:
    yield
    breakers.clear()


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[EmbeddedRedis]]:
    """Three primaries and three replicas, none of which takes over."""
    with cluster(*ARGS, "1000", nodes=3, replicas=True) as nodes:
        for node in nodes:
            with client_of(node) as plain:
                plain.config_set("cluster-node-timeout", 60_000)
        yield nodes


def use(
    nodes: Sequence[EmbeddedRedis],
    use_cache: Callable[..., str],
    timeout_seconds: float = LONG_SECONDS,
) -> Any:
    timeouts = {"SOCKET_CONNECT_TIMEOUT": timeout_seconds, "SOCKET_TIMEOUT": timeout_seconds}
    options = {"CONNECTION_FACTORY": FACTORY, **timeouts}
    return clients[use_cache([url_of(node) for node in nodes], OPTIONS=options)]


def test_primary_is_killed_and_its_replica_takes_over(
    use_cache: Callable[..., str], load: type[Load]
) -> None:
    with cluster(*ARGS, "500", nodes=3, replicas=True) as nodes:
        client = use(nodes, use_cache)
        first, lost, third = [name for [name] in names_on(nodes[:3])]
        with load([first, lost, third]) as running:
            running.wait_for_more(first, lost, third)
            kill(nodes[1])
            running.wait_for_more(first, lost, third)
        figures = {"errors": running.errors[lost], "lost": running.check(lost, may_lose=True)}
        for name in (first, third):
            assert running.errors[name] == 0
            assert running.check(name) == 0
        report(
            f"primary killed under load of {load.__name__}",
            appends=running.confirmed.total(),
            slowest_of_others=f"{max(running.slowest_seconds[n] for n in (first, third)):.2f} s",
            pause_of_its_own=f"{running.slowest_seconds[lost]:.1f} s",
            **figures,
        )
        client.close()


def test_shard_hangs(
    nodes: list[EmbeddedRedis], use_cache: Callable[..., str], load: type[Load]
) -> None:
    client = use(nodes, use_cache, HANGS_SECONDS)
    first, lost, third = [name for [name] in names_on(nodes[:3])]
    with load([first, lost, third]) as running:
        running.wait_for_more(first, lost, third)
        with hung(nodes[1]):
            before = running.errors[lost]
            wait_until(lambda: running.errors[lost] > before)
            running.wait_for_more(first, third)
        running.wait_for_more(first, lost, third)
    for name in (first, lost, third):
        assert running.check(name) == 0
    assert running.errors[first] == running.errors[third] == 0
    report(
        f"shard hangs under load of {load.__name__}",
        appends=running.confirmed.total(),
        slowest_of_others=f"{max(running.slowest_seconds[n] for n in (first, third)):.2f} s",
        lost=0,
        twice=0,
    )
    client.close()


def test_slots_move(
    nodes: list[EmbeddedRedis], use_cache: Callable[..., str], load: type[Load]
) -> None:
    client = use(nodes, use_cache)
    # Slots of each kind of load, which move in one direction.
    own = names_on(nodes[:3], per_node=2 * MOVES + 1)
    moving = own[0][1:][:: 2 if load is Threads else -2][:MOVES]
    staying = [own[1][0], own[2][0]]
    with load([*moving, *staying]) as running:
        running.wait_for_more(*moving, *staying)
        for name in moving:
            move_slot(Bucket(name).key, nodes[0], nodes[1])
        running.wait_for_more(*moving, *staying)
    for name in (*moving, *staying):
        assert running.check(name) == 0
    assert running.errors.total() == 0
    report(
        f"slots move under load of {load.__name__}",
        slots=len(moving),
        appends=running.confirmed.total(),
        slowest=f"{max(running.slowest_seconds.values()):.2f} s",
        lost=0,
        twice=0,
    )
    client.close()
