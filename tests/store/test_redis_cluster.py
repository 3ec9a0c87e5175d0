"""Real use of what a cluster client of redis-py does for us. See redis_cluster."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
from redis.cluster import ClusterNode
from redis.exceptions import ClusterError

from django_jsonbuffer.store import redis_cluster
from django_jsonbuffer.store.redis_blocking import execute, execute_once
from django_jsonbuffer.store.redis_cluster import (
    Route,
    is_cluster,
    node_clients,
    node_of_error,
    owner,
    owner_name,
    primaries,
    read_slots,
)
from django_jsonbuffer.store.redis_connections import close_idle, give_back_kept
from django_jsonbuffer.store.wire import packed
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import (
    SLOTS,
    cluster,
    hung,
    kill,
    migrating,
    move_slot,
    names_on,
    port_of,
    url_of,
)
from tests.faults.proxy import Cut, Proxy, at_first
from tests.server import Redis
from tests.test_embedded_redis import client_of, wait_until


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[EmbeddedRedis]]:
    with cluster(nodes=3) as nodes:
        yield nodes


@pytest.fixture
def client(nodes: list[EmbeddedRedis]) -> Iterator[Redis]:
    with redis.RedisCluster.from_url(url_of(nodes[0]), socket_timeout=0.3) as client:
        yield client


def name_of(node: EmbeddedRedis) -> str:
    return f"127.0.0.1:{port_of(node)}"


def incremented(client: Redis, key: str) -> Any:
    return execute_once(client, packed("INCR", key), key=key)


def keys_on(nodes: list[EmbeddedRedis]) -> list[str]:
    """A key for each node."""
    return [f"{{{name}}}:key" for [name] in names_on(nodes)]


def key_that_moves(nodes: list[EmbeddedRedis], number: int) -> str:
    """A key of the first node for one test alone, which may move it to the second one.

    If slots move to and fro at once, the nodes do not agree who has them.
    """
    return f"{{{names_on(nodes, per_node=9)[0][number]}}}:key"


def threads_end(client: Redis) -> None:
    wait_until(lambda: client not in redis_cluster._lost)


class TestOwner:
    def test_is_the_node_of_the_slot(self, client: Redis, nodes: list[EmbeddedRedis]) -> None:
        for key, node in zip(keys_on(nodes), nodes, strict=True):
            assert owner(client, key).name == owner_name(client, key) == name_of(node)

    def test_of_a_slot_that_no_node_has(self, client: Redis, nodes: list[EmbeddedRedis]) -> None:
        client.nodes_manager.slots_cache.clear()
        key, *_ = keys_on(nodes)
        assert owner_name(client, key) == ""
        with pytest.raises(redis.exceptions.SlotNotCoveredError, match="No node"):
            owner(client, key)
        wait_until(lambda: owner_name(client, key) == name_of(nodes[0]))
        threads_end(client)

    def test_primaries_are_all_owners(self, client: Redis, nodes: list[EmbeddedRedis]) -> None:
        found = primaries(client)
        assert sorted(found) == sorted(map(name_of, nodes))
        assert all(each.ping() for each in found.values())

    def test_client_of_one_server_is_no_cluster(self, client: Redis) -> None:
        assert is_cluster(client)
        with redis.Redis() as plain:
            assert not is_cluster(plain)


class TestRoute:
    def test_goes_to_the_node_of_the_key(self, client: Redis, nodes: list[EmbeddedRedis]) -> None:
        for key, node in zip(keys_on(nodes), nodes, strict=True):
            before = incremented(client, key)
            with client_of(node) as plain:
                assert plain.incr(key) == before + 1

    def test_follows_a_slot_that_has_moved(self, client: Redis, nodes: list[EmbeddedRedis]) -> None:
        key = key_that_moves(nodes, 1)
        assert incremented(client, key) == 1
        move_slot(key, nodes[0], nodes[1])
        assert incremented(client, key) == 2
        assert owner_name(client, key) == name_of(nodes[1])

    def test_asks_where_a_slot_moves_to(self, client: Redis, nodes: list[EmbeddedRedis]) -> None:
        """The key is not on its old node any more, which still has the slot."""
        key = key_that_moves(nodes, 2)
        assert incremented(client, key) == 1
        with migrating(key, nodes[0], nodes[1]) as move_key:
            assert incremented(client, key) == 2
            move_key(key)
            assert [incremented(client, key) for _ in range(3)] == [3, 4, 5]
            assert owner_name(client, key) == name_of(nodes[0])
        assert incremented(client, key) == 6

    def test_waits_while_a_slot_has_keys_on_both_nodes(
        self, client: Redis, nodes: list[EmbeddedRedis], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_cluster, "_TRY_AGAIN_SECONDS", 0.1)
        key = key_that_moves(nodes, 3)
        both = packed("MSET", key, 1, f"{key}-2", 2)
        execute_once(client, both, key=key)
        with migrating(key, nodes[0], nodes[1]) as move_key:
            move_key(key)
            with pytest.raises(redis.exceptions.TryAgainError) as caught:
                execute_once(client, both, key=key)
            assert node_of_error(caught.value) == name_of(nodes[0])
            move_key(f"{key}-2")
        assert execute_once(client, both, key=key) == b"OK"

    def test_refusal_bears_the_name_of_the_node(
        self, client: Redis, nodes: list[EmbeddedRedis]
    ) -> None:
        key = keys_on(nodes)[1]
        with pytest.raises(redis.ResponseError) as caught:
            execute_once(client, packed("NONSENSE"), key=key)
        assert node_of_error(caught.value) == name_of(nodes[1])
        assert client not in redis_cluster._lost

    def test_interrupt_is_raised(self, client: Redis, nodes: list[EmbeddedRedis]) -> None:
        route = Route(client, keys_on(nodes)[0])
        with pytest.raises(KeyboardInterrupt):
            route.follow(KeyboardInterrupt())

    def test_node_that_hangs_keeps_no_other_waiting(
        self, client: Redis, nodes: list[EmbeddedRedis], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_cluster, "_PAUSES_SECONDS", (0,))
        first, second, third = keys_on(nodes)
        with hung(nodes[1]):
            with pytest.raises(redis.TimeoutError) as caught:
                incremented(client, second)
            assert node_of_error(caught.value) == name_of(nodes[1])
            for key in (first, third):
                assert incremented(client, key)
        assert incremented(client, second)
        threads_end(client)


def increment(client: Any, key: str = "key") -> Any:
    return execute(client, "INCR", key, key=key)


class TestExecute:
    def test_is_repeated_once_after_a_lost_connection(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_cluster, "_PAUSES_SECONDS", (0,))
        with cluster() as [node], Proxy(node.url) as proxy, client_of(node) as plain:
            plain.config_set("cluster-announce-port", proxy.port)
            with redis.RedisCluster.from_url(f"redis://127.0.0.1:{proxy.port}") as client:
                assert increment(client) == 1
                with proxy.under(at_first(Cut("reply")), commands=["INCR"]) as course:
                    assert increment(client) == 3
                assert course.seen == 2
                with (
                    proxy.under(lambda number: Cut("reply"), commands=["INCR"]) as course,
                    pytest.raises(redis.ConnectionError),
                ):
                    increment(client)
                assert course.seen == 2
                threads_end(client)

    def test_is_not_repeated_after_a_timeout(
        self, client: Redis, nodes: list[EmbeddedRedis], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_cluster, "_PAUSES_SECONDS", (0,))
        key = keys_on(nodes)[1]
        number = increment(client, key)
        with hung(nodes[1]), pytest.raises(redis.TimeoutError):
            increment(client, key)
        assert increment(client, key) == number + 2
        threads_end(client)


class TestConnections:
    def test_one_of_each_node_is_kept_and_given_back(
        self, client: Redis, nodes: list[EmbeddedRedis]
    ) -> None:
        for key in keys_on(nodes):
            incremented(client, key)
        pools = [each.connection_pool for each in node_clients(client)]
        used = [len(pool._in_use_connections) for pool in pools]
        assert used == [1, 1, 1]
        give_back_kept(client)
        assert [len(pool._in_use_connections) for pool in pools] == [0, 0, 0]

    def test_idle_ones_are_closed(self, client: Redis, nodes: list[EmbeddedRedis]) -> None:
        key = keys_on(nodes)[0]
        incremented(client, key)
        before = execute_once(client, packed("CLIENT", "ID"), key=key)
        close_idle(client)
        assert execute_once(client, packed("CLIENT", "ID"), key=key) != before


class TestTableOfSlots:
    def test_is_read_from_a_node_that_answers(
        self, client: Redis, nodes: list[EmbeddedRedis]
    ) -> None:
        key = key_that_moves(nodes, 4)
        move_slot(key, nodes[0], nodes[1])
        lost = ClusterNode("127.0.0.1", 1, redis_connection=redis.Redis(port=1))
        client.nodes_manager.nodes_cache = {lost.name: lost, **client.nodes_manager.nodes_cache}
        assert read_slots(client, {lost.name})
        assert len(client.nodes_manager.slots_cache) == SLOTS
        assert owner_name(client, key) == name_of(nodes[1])
        assert lost.name not in client.nodes_manager.nodes_cache

        def is_found() -> bool:
            # For a moment, both nodes may say that the other one has the slot.
            with suppress(ClusterError):
                return client.get(key) is None
            return False

        wait_until(is_found)

    def test_cannot_be_read_from_nobody(self, client: Redis, nodes: list[EmbeddedRedis]) -> None:
        lost = ClusterNode("127.0.0.1", 1)
        manager = client.nodes_manager
        manager.nodes_cache = manager.startup_nodes = {lost.name: lost}
        assert not read_slots(client, set())
        assert owner_name(client, keys_on(nodes)[0]) == name_of(nodes[0])


def test_replica_that_takes_over_is_found() -> None:
    args = ("--cluster-node-timeout", "500", "--cluster-require-full-coverage", "no")
    with cluster(*args, nodes=3, replicas=True) as nodes:
        url, key = url_of(nodes[0]), keys_on(nodes[:3])[1]
        with redis.RedisCluster.from_url(url, socket_timeout=0.3) as client:
            assert incremented(client, key) == 1
            with client_of(nodes[1]) as plain:
                assert plain.wait(1, 5000) == 1
            kill(nodes[1])
            with pytest.raises(redis.ConnectionError):
                incremented(client, key)
            wait_until(lambda: owner_name(client, key) == name_of(nodes[4]))
            assert incremented(client, key) == 2
            threads_end(client)
