"""Appends to a cluster that wait until a replica has them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable
from django_jsonbuffer.store import redis_cluster
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import cluster, migrating, move_slot, owner_first, port_of
from tests.faults.clients import OPTIONS
from tests.replicas import follows, go_on, replica_in_cluster, stop
from tests.test_embedded_redis import client_of, wait_until

PATIENT = timedelta(seconds=20)


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[EmbeddedRedis]]:
    """Two primaries, and behind them the replica of each."""
    with cluster(nodes=2, replicas=True) as nodes:
        yield nodes


@pytest.fixture
def use_cluster(nodes: list[EmbeddedRedis], use_cache: Callable[..., str]) -> None:
    for node in nodes[:2]:
        with client_of(node) as plain:
            plain.flushall()
    url = f"redis://127.0.0.1:{port_of(nodes[0])}/0?client_name={id(use_cache)}"
    use_cache(url, OPTIONS=OPTIONS["RedisCluster"])


def append(bucket: Bucket, event: Any) -> None:
    bucket.append(event)


def aappend(bucket: Bucket, event: Any) -> None:
    asyncio.run(bucket.aappend(event))


both_sides = pytest.mark.parametrize("append", [append, aappend])

Append = Callable[[Bucket, Any], None]


def open_batch(node: EmbeddedRedis, bucket: Bucket) -> Any:
    with client_of(node) as plain:
        plain.readonly()
        return plain.get(bucket.key)


def owner_of(bucket: Bucket, nodes: list[EmbeddedRedis]) -> int:
    with client_of(nodes[0]) as first:
        slot = first.execute_command("CLUSTER", "KEYSLOT", bucket.key)
        return 0 if slot < 8192 else 1


@pytest.mark.usefixtures("use_cluster")
class TestReplicated:
    @both_sides
    def test_replica_of_the_owner_has_the_event(
        self, nodes: list[EmbeddedRedis], append: Append
    ) -> None:
        for number in range(20):
            bucket = Bucket(f"orders-{number}", durability="replicated", append_timeout=PATIENT)
            append(bucket, number)
            replica = nodes[2 + owner_of(bucket, nodes)]
            assert open_batch(replica, bucket) == b"[%d]" % number

    @pytest.mark.parametrize("method", ["append", "aappend"])
    def test_only_buckets_of_a_shard_without_its_replica_are_undecided(
        self, nodes: list[EmbeddedRedis], method: str
    ) -> None:
        short = timedelta(seconds=0.1)
        buckets = [
            Bucket(f"orders-{number}", durability="replicated", append_timeout=short)
            for number in range(8)
        ]

        async def undecided() -> set[Bucket]:
            found = set()
            for bucket in buckets:
                with suppress(AppendUndecided):
                    if (call := getattr(bucket, method)(1)) is not None:
                        await call
                    continue
                found.add(bucket)
            return found

        async def with_and_without_replica() -> list[set[Bucket]]:
            before = await undecided()
            stop(nodes[2])
            try:
                return [before, await undecided()]
            finally:
                go_on(nodes[2])

        before, after = asyncio.run(with_and_without_replica())
        assert before == set()
        assert after == {bucket for bucket in buckets if owner_of(bucket, nodes) == 0}

    @both_sides
    def test_moved_slot_is_found_by_one_append(
        self, nodes: list[EmbeddedRedis], append: Append
    ) -> None:
        bucket = Bucket(f"moved-{append.__name__}", durability="replicated")
        append(bucket, 1)
        move_slot(bucket.key, *owner_first(bucket.key, nodes[:2]))
        once = Bucket(bucket.name, durability="replicated", append_timeout=timedelta(0))
        append(once, 2)
        assert open_batch(nodes[3 - owner_of(bucket, nodes)], bucket) == b"[1,2]"
        assert bucket.take() == [1, 2]


@pytest.mark.usefixtures("use_cluster")
@pytest.mark.parametrize("method", ["append", "aappend"])
def test_append_to_a_slot_that_migrates_is_refused_until_it_has_moved(
    nodes: list[EmbeddedRedis], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_cluster, "_TRY_AGAIN_SECONDS", 0.1)
    bucket = Bucket(f"migrating-{method}", durability="replicated", append_timeout=PATIENT)
    short = timedelta(seconds=0.1)
    impatient = Bucket(bucket.name, durability="replicated", append_timeout=short)

    async def sent(bucket: Bucket, event: Any) -> None:
        if (call := getattr(bucket, method)(event)) is not None:
            await call

    async def main() -> None:
        await sent(bucket, 1)
        with migrating(bucket.key, *owner_first(bucket.key, nodes[:2])) as move:
            move(bucket.key)
            with pytest.raises(BufferUnavailable, match="rehashing"):
                await sent(impatient, 2)

    asyncio.run(main())
    wait_until(lambda: is_done(lambda: asyncio.run(sent(impatient, 2))))
    assert bucket.take() == [1, 2]


def is_done(append: Callable[[], None]) -> bool:
    """Redis is not asked by each append that follows a failure."""
    try:
        append()
    except BufferUnavailable:
        return False
    return True


@both_sides
def test_append_finds_the_new_primary_when_the_old_one_is_gone(
    use_cache: Callable[..., str], append: Append
) -> None:
    with cluster(nodes=1, replicas=True) as [primary, replica]:
        use_cache(f"redis://127.0.0.1:{port_of(primary)}/0", OPTIONS=OPTIONS["RedisCluster"])
        bucket = Bucket("orders", durability="replicated", append_timeout=PATIENT)
        append(bucket, 1)
        with client_of(replica) as one, client_of(primary) as other:
            wait_until(lambda: other.wait(1, 100) == 1)
            one.execute_command("CLUSTER", "FAILOVER")
            wait_until(lambda: one.info("replication")["role"] == "master" and follows(other))
        with replica_in_cluster(replica) as another:
            primary.stop()
            wait_until(lambda: is_done(partial(append, bucket, 2)))
            assert open_batch(another, bucket) == b"[1,2]"
