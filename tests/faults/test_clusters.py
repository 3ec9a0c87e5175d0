"""A cluster under load: a primary dies, a node hangs, slots move.

Callers of other nodes see no error. Confirmed events are stored once, in the order of their calls,
except for those that a failover loses, because the replica did not have them yet. It loses none if
appends wait for a replica. All this is so for a bucket on each node, and for the shards of one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pytest

from django_jsonbuffer.store.breakers import breakers
from django_jsonbuffer.store.clients import clients
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, cluster, hung, kill, move_slot, url_of
from tests.faults.loads import CALLERS, Load, Tasks, Threads
from tests.faults.scale import IS_FULL, report, scale
from tests.faults.spreads import PRIMARIES, Buckets, Drained, Shards, Watched
from tests.replicas import replica_in_cluster
from tests.test_embedded_redis import client_of, wait_until

ARGS: Final = ("--cluster-require-full-coverage", "no", "--cluster-node-timeout")

LONG_SECONDS: Final = 20
"""A timeout that no call needs on a busy machine."""

HANGS_SECONDS: Final = scale(full=8, short=3)
"""A timeout for calls to a shard that hangs. On a busy machine, any shard may hang for seconds."""

MOVES: Final = scale(full=20, short=2)
"""Slots that move to another node, and back."""


def each(*short: tuple[type[Buckets], type[Load]]) -> pytest.MarkDecorator:
    """Runs a test with each load and each spread. A short run has one bucket on each node, and of
    the buckets with shards only these."""
    cases = [
        pytest.param(spread, load, id=f"{spread.__name__}-{load.__name__}")
        for spread in (Buckets, Shards, Drained, Watched)
        for load in (Threads, Tasks)
        if IS_FULL or spread is Buckets or (spread, load) in short
    ]
    return pytest.mark.parametrize(("spread", "load"), cases)


@pytest.fixture(autouse=True)
def _closed_breakers() -> Iterator[None]:
    yield
    breakers.clear()


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[EmbeddedRedis]]:
    """Three primaries and three replicas, none of which takes over."""
    with cluster(*ARGS, "1000", nodes=PRIMARIES, replicas=True) as nodes:
        set_timeout(nodes, milliseconds=60_000)
        yield nodes


def use(
    nodes: Sequence[EmbeddedRedis],
    use_cache: Callable[..., str],
    timeout_seconds: float = LONG_SECONDS,
) -> Any:
    timeouts = {"SOCKET_CONNECT_TIMEOUT": timeout_seconds, "SOCKET_TIMEOUT": timeout_seconds}
    options = {"CONNECTION_FACTORY": FACTORY, **timeouts}
    return clients[use_cache([url_of(node) for node in nodes], OPTIONS=options)]


@contextmanager
def cluster_that_fails_over(*, waits: bool) -> Iterator[list[EmbeddedRedis]]:
    """A cluster whose replicas take over. If appends wait for a replica, the second primary has
    two, so that the one that takes over has another one."""
    with ExitStack() as stack:
        nodes = stack.enter_context(cluster(*ARGS, "2000", nodes=PRIMARIES, replicas=True))
        more = [stack.enter_context(replica_in_cluster(nodes[1]))] if waits else []
        set_timeout((*nodes, *more), milliseconds=500)
        yield nodes


def set_timeout(nodes: Sequence[EmbeddedRedis], *, milliseconds: int) -> None:
    """Set when a node counts as down that does not answer the others."""
    for node in nodes:
        with client_of(node) as plain:
            plain.config_set("cluster-node-timeout", milliseconds)


def check_errors(spreading: Buckets, running: Load) -> None:
    """No caller of the other nodes saw an error, and those that may go anywhere saw hardly any."""
    first, _, third = spreading.targets
    assert {running.errors[target.name] for target in (*first, *third)} == {0}
    for target in spreading.anywhere:
        assert running.errors[target.name] <= 3 * CALLERS + running.count(target) / 20


@each((Watched, Tasks))
def test_primary_is_killed_and_its_replica_takes_over(
    use_cache: Callable[..., str],
    configure: Callable[..., None],
    spread: type[Buckets],
    load: type[Load],
) -> None:
    """Appends to shards wait for a replica, so none may be lost."""
    waits = spread is not Buckets
    with cluster_that_fails_over(waits=waits) as nodes:
        client = use(nodes, use_cache)
        spreading = spread(nodes, configure, durability="replicated" if waits else None)
        first, lost, third = spreading.targets
        every = [*first, *lost, *third, *spreading.anywhere]
        with spreading, load(every) as running:
            running.wait_for_more(*every)
            kill(nodes[1])
            running.wait_for_more(*first, *third, *spreading.anywhere)
            running.wait_for_more(*every)
        events = spreading.events(may_roll_back=True)
        for target in (*first, *third, *spreading.anywhere):
            assert running.check(target, events) == 0
        check_errors(spreading, running)
        losses = [running.check(target, events, may_lose=not waits) for target in lost]
        tell(
            "primary killed",
            spreading,
            running,
            pause_of_its_own=running.slowest(*lost),
            errors=sum(running.errors[target.name] for target in lost),
            lost=sum(losses),
        )
        client.close()


def tell(fault: str, spreading: Buckets, running: Load, **figures: object) -> None:
    first, _, third = spreading.targets
    if spreading.anywhere:
        [anywhere] = spreading.anywhere
        figures |= {
            "without_a_key": running.count(anywhere),
            "their_errors": running.errors[anywhere.name],
            "their_slowest": running.slowest(anywhere),
            "processed_twice": spreading.twice,
        }
    report(
        f"{fault} under load of {type(running).__name__}, {type(spreading).__name__}",
        appends=running.confirmed.total(),
        slowest_of_others=running.slowest(*first, *third),
        **figures,
    )


@each((Drained, Threads))
def test_shard_hangs(
    nodes: list[EmbeddedRedis],
    use_cache: Callable[..., str],
    configure: Callable[..., None],
    spread: type[Buckets],
    load: type[Load],
) -> None:
    client = use(nodes, use_cache, HANGS_SECONDS)
    spreading = spread(nodes, configure)
    first, lost, third = spreading.targets
    every = [*first, *lost, *third, *spreading.anywhere]
    with spreading, load(every) as running:
        running.wait_for_more(*every)
        with hung(nodes[1]):
            before = running.errors[lost[0].name]
            wait_until(lambda: running.errors[lost[0].name] > before)
            running.wait_for_more(*first, *third, *spreading.anywhere)
        running.wait_for_more(*every)
    events = spreading.events()
    for target in every:
        assert running.check(target, events) == 0
    check_errors(spreading, running)
    tell("shard hangs", spreading, running, lost=0, twice=0)
    client.close()


@each((Shards, Threads), (Watched, Tasks))
def test_slots_move(
    nodes: list[EmbeddedRedis],
    use_cache: Callable[..., str],
    configure: Callable[..., None],
    spread: type[Buckets],
    load: type[Load],
) -> None:
    client = use(nodes, use_cache)
    spreading = spread(nodes, configure, per_node=MOVES + 1)
    [_, *moving], *staying = spreading.targets
    every = [*moving, staying[0][0], staying[1][0], *spreading.anywhere]
    with spreading, load(every) as running:
        running.wait_for_more(*every)
        for source, to in ((nodes[0], nodes[1]), (nodes[1], nodes[0])):
            for target in moving:
                move_slot(spreading.key(target), source, to)
            running.wait_for_more(*every)
    events = spreading.events()
    for target in every:
        assert running.check(target, events) == 0
    assert running.errors.total() == 0
    tell("slots move", spreading, running, slots=len(moving), lost=0, twice=0)
    client.close()
