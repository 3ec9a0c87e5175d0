"""A bucket whose shards are on different nodes of a cluster, of which one hangs."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from redis.crc import key_slot

from django_jsonbuffer import Batch, Bucket, catalog, drain_all, gathered
from django_jsonbuffer.appending.sharding import STAY
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store import nodes as store_nodes
from django_jsonbuffer.store.breakers import breaker_of, breakers
from django_jsonbuffer.store.dead_letters import newest_dead
from django_jsonbuffer.store.deliveries import read_deliveries
from django_jsonbuffer.store.keys import bucket_keys, shard_name, shards_key
from django_jsonbuffer.store.store import Store
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, SLOTS, hung, node_with, port_of, url_of
from tests.test_embedded_redis import client_of
from tests.test_shards import SHARDS, fill, key_of

OPTIONS = {"CONNECTION_FACTORY": FACTORY, "SOCKET_CONNECT_TIMEOUT": 0.5, "SOCKET_TIMEOUT": 0.5}

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


@pytest.fixture(autouse=True)
def alias(nodes: list[EmbeddedRedis], use_cache: Callable[..., str], nodes_come_back: None) -> str:
    return use_cache([url_of(node) for node in nodes], OPTIONS=OPTIONS)


def nodes_of_shards() -> list[int]:
    """The number of the node that has each shard."""
    names = [shard_name("orders", number) for number in range(SHARDS)]
    return [key_slot(name.encode()) * 3 // SLOTS for name in names]


def node_key(node: int) -> str:
    """A key of the first shard on this node."""
    name = shard_name("orders", nodes_of_shards().index(node))
    return bucket_keys(configuration().prefix, name).open


@pytest.fixture
def got() -> list[Any]:
    return []


@pytest.fixture
def orders(got: list[Any]) -> Bucket:
    orders = Bucket("orders", shards=SHARDS, append_timeout=timedelta(seconds=0.05))
    orders.processor(got.extend)
    fill(orders)
    return orders


def test_shards_are_on_several_nodes() -> None:
    assert len({*nodes_of_shards()}) > 1


def test_one_trip_each_takes_and_counts_them(orders: Bucket, got: list[Any]) -> None:
    assert orders.status().pending == SHARDS
    with gathered():
        fill(orders)
    assert sorted(number for number, _ in orders.peek(100)) == sorted([*range(SHARDS)] * 2)
    assert orders.drain().processed == 2 * SHARDS


class TestNodeThatHangs:
    @pytest.fixture
    def lost(self, nodes: list[EmbeddedRedis], orders: Bucket) -> Iterator[int]:
        """The number of the node. It has no shard 0, and does not know the other shards."""
        known = node_with(shards_key(configuration().prefix), nodes)
        places = {*nodes_of_shards()} - {nodes_of_shards()[0]}
        lost = next((place for place in places if nodes[place] is not known), None)
        if lost is None:  # the names of the shards are on the only other node
            lost = places.pop()
        with hung(nodes[lost]):
            yield lost

    def test_affects_the_appends_to_its_own_shards_alone(self, orders: Bucket, lost: int) -> None:
        for number, node in enumerate(nodes_of_shards()):
            key = key_of(number)
            if node == lost:
                with pytest.raises(BufferUnavailable):
                    orders.append(1, ordering_key=key)
            for _ in range(10 if node != lost else 0):
                orders.append(1, ordering_key=key)

    def test_is_avoided_by_appends_without_a_key(self, orders: Bucket, lost: int) -> None:
        key = key_of(nodes_of_shards().index(lost))
        with pytest.raises(BufferUnavailable):
            orders.append(1, ordering_key=key)
        breaker_of(configuration().cache, node_key(lost))._ends_at += 60
        for _ in range(SHARDS):
            orders.extend(range(STAY))
        with pytest.raises(BufferUnavailable):
            orders.append(1, ordering_key=key)

    def test_leaves_its_own_shards_alone_undrained(
        self, nodes: list[EmbeddedRedis], orders: Bucket, got: list[Any], lost: int
    ) -> None:
        with pytest.raises(BufferUnavailable, match=str(port_of(nodes[lost]))):
            orders.drain()
        others = [number for number, node in enumerate(nodes_of_shards()) if node != lost]
        assert sorted(number for number, _ in got) == others
        got.clear()
        for number in others:
            orders.append([number, 1], ordering_key=key_of(number))
        with pytest.raises(BufferUnavailable, match=str(port_of(nodes[lost]))):
            drain_all()
        assert sorted(number for number, _ in got) == others

    def test_leaves_no_trace_of_the_worker_in_the_others(self, orders: Bucket, lost: int) -> None:
        with pytest.raises(BufferUnavailable):
            orders.drain()
        others = [number for number, node in enumerate(nodes_of_shards()) if node != lost]
        stores = [Store("orders", configuration(), number) for number in others]
        assert [read_deliveries(store, 10).workers for store in stores] == [{}] * len(others)

    def test_is_asked_once_for_all_its_shards(
        self, orders: Bucket, lost: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        many = Bucket("orders", shards=40)
        began = time.monotonic()
        for method in (many.purge, many.pause, many.resume, many.drain, many.take):
            with pytest.raises(BufferUnavailable):
                method()
        # A timeout is half a second. About 13 shards are on the node.
        assert time.monotonic() - began < 5 * 2.5

    @pytest.mark.parametrize("action", ["purge", "pause", "take"])
    def test_does_not_stop_what_is_done_to_the_other_shards(
        self, orders: Bucket, got: list[Any], lost: int, action: str
    ) -> None:
        with suppress(BufferUnavailable):
            getattr(orders, action)()
        with pytest.raises(BufferUnavailable):
            orders.drain()
        assert got == []

    def test_does_not_stop_dead_letters_of_other_shards_from_being_discarded(
        self, orders: Bucket, lost: int
    ) -> None:
        def refuse(batch: Batch) -> None:
            batch.reject(batch[0], "no good")

        orders.processor(refuse)
        with pytest.raises(BufferUnavailable):
            orders.drain()
        numbers = [number for number, node in enumerate(nodes_of_shards()) if node != lost]
        others = [Store("orders", configuration(), number) for number in numbers]
        assert all(map(newest_dead, others))
        with pytest.raises(BufferUnavailable):
            orders.dead.discard_all()
        assert not any(map(newest_dead, others))

    def test_makes_the_status_of_the_bucket_an_error(self, orders: Bucket, lost: int) -> None:
        with pytest.raises(BufferUnavailable, match="orders#"):
            orders.status()
        with pytest.raises(BufferUnavailable, match="orders#"):
            catalog.statuses([orders])


def test_node_that_refuses_is_avoided_by_appends_without_a_key(
    nodes: list[EmbeddedRedis], orders: Bucket
) -> None:
    """As one that loads its data, or has just become a primary."""
    refused = 0
    with client_of(nodes[nodes_of_shards()[1]]) as plain:
        plain.config_set("min-replicas-to-write", 1)
        try:
            for number in range(SHARDS * STAY):
                try:
                    orders.append(number)
                except BufferUnavailable:
                    refused += 1
            with pytest.raises(BufferUnavailable, match="NOREPLICAS"):
                orders.append(1, ordering_key=key_of(1))
        finally:
            plain.config_set("min-replicas-to-write", 0)
    assert 0 < refused < STAY / 4
    orders.append(1, ordering_key=key_of(1))


def test_node_that_knows_the_shards_is_asked_for_them_now_and_then(
    nodes: list[EmbeddedRedis], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket with one shard hardly notices that this node hangs."""
    asked: list[Any] = []
    replies = store_nodes.replies

    def note(cache: str, calls: Sequence[store_nodes.Call], **options: Any) -> list[Any]:
        asked.append(calls)
        return replies(cache, calls, **options)

    monkeypatch.setattr(store_nodes, "replies", note)
    known = node_with(shards_key(configuration().prefix), nodes)
    plain = next(
        Bucket(f"plain-{number}")
        for number in range(100)
        if node_with(Bucket(f"plain-{number}").key, nodes) is not known
    )
    plain.append(1)
    with hung(known):
        assert [plain.peek(), plain.peek(), plain.purge(), plain.take()] == [[1], [1], 1, []]
    assert len(asked) == 1
    assert caplog.text.count("If a bucket had more shards than its option") == 1


def test_what_a_node_had_that_hung_is_there_afterwards(
    nodes: list[EmbeddedRedis], orders: Bucket, got: list[Any]
) -> None:
    with hung(nodes[nodes_of_shards()[1]]), pytest.raises(BufferUnavailable):
        orders.drain()
    breakers.clear()
    orders.drain()
    assert sorted(number for number, _ in got) == [*range(SHARDS)]
