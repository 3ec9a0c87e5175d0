"""Asyncio appends in a cluster: the settings of its client, redirections and lost nodes."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis
from redis.cluster import ClusterNode

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.asyncio_twins import asyncio_twin
from django_jsonbuffer.store.redis_asyncio import execute_once, is_in_use
from django_jsonbuffer.store.wire import packed
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import cluster, move_slot, owner_first, port_of
from tests.faults.clients import OPTIONS
from tests.faults.proxy import Cut, Proxy, at_first
from tests.server import Redis
from tests.store.twins import incremented, info_of, run_and_close, with_twin
from tests.test_embedded_redis import client_of


class OwnCluster(redis.RedisCluster):
    """A client of the project's own, of which asyncio has no counterpart."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[EmbeddedRedis]]:
    with cluster(nodes=2) as nodes:
        for node in nodes:
            with client_of(node) as plain:
                plain.execute_command("ACL", "SETUSER", "site", "on", ">s3cret", "~*", "+@all")
        yield nodes


@pytest.fixture(scope="module")
def lone() -> Iterator[tuple[EmbeddedRedis, Proxy]]:
    """The node of a cluster that has no other, and its proxy."""
    with cluster() as [node], Proxy(node.url) as proxy:
        yield node, proxy


class TestTwin:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"username": "site", "password": "s3cret", "client_name": "shop"},
            {"decode_responses": True},
            {"protocol": 3},
            {"max_connections": 3, "socket_timeout": 5},
            {"require_full_coverage": True, "dynamic_startup_nodes": False},
        ],
        ids=str,
    )
    def test_has_the_options_of_the_client(
        self, nodes: list[EmbeddedRedis], options: dict[str, Any]
    ) -> None:
        with redis.RedisCluster(host="127.0.0.1", port=port_of(nodes[0]), **options) as client:
            info = with_twin(client, info_of)
        assert info["user"] == options.get("username", "default")
        assert info["name"] == options.get("client_name", "")
        assert info["resp"] == str(options.get("protocol", info["resp"]))

    def test_is_closed_with_a_loop_that_closes_nothing(
        self, nodes: list[EmbeddedRedis], use_cache: Callable[..., str]
    ) -> None:
        use_cache(f"redis://127.0.0.1:{port_of(nodes[0])}/0", OPTIONS=OPTIONS["RedisCluster"])
        run_and_close(Bucket("orders").aappend(1))
        assert Bucket("orders").take() == [1]

    def test_goes_to_the_node_of_the_key(self, nodes: list[EmbeddedRedis]) -> None:
        async def increment(twin: Any) -> list[Any]:
            return [await incremented(twin, f"key-{number}") for number in range(20)]

        with client_of(nodes[0]) as first, client_of(nodes[1]) as second:
            first.flushall()
            second.flushall()
            with redis.RedisCluster(host="127.0.0.1", port=port_of(nodes[0])) as client:
                assert with_twin(client, increment) == [1] * 20
            sizes = first.dbsize(), second.dbsize()
        assert sum(sizes) == 20
        assert all(sizes)

    @pytest.mark.parametrize(
        "make",
        [
            OwnCluster,
            partial(redis.RedisCluster, redis_connect_func=lambda connection: None),
        ],
        ids=["class", "function"],
    )
    def test_does_not_exist_for_parts_of_a_project(
        self, nodes: list[EmbeddedRedis], make: Callable[..., Redis]
    ) -> None:
        with make(host="127.0.0.1", port=port_of(nodes[0])) as client:
            assert asyncio_twin(client) is None

    def test_is_in_use_during_a_command(self, nodes: list[EmbeddedRedis]) -> None:
        async def used(twin: Any) -> list[bool]:
            await incremented(twin)
            before = is_in_use(twin)
            blocking = execute_once(twin, packed("BLPOP", "list", "0.2"), key="list")
            task = asyncio.create_task(blocking)
            await asyncio.sleep(0.05)
            during = is_in_use(twin)
            assert await task is None
            return [before, during, is_in_use(twin)]

        with redis.RedisCluster(host="127.0.0.1", port=port_of(nodes[0])) as client:
            assert with_twin(client, used) == [False, True, False]


class TestMovedSlot:
    def test_is_found_by_the_next_append(
        self, nodes: list[EmbeddedRedis], use_cache: Callable[..., str]
    ) -> None:
        """Its node answers MOVED. Other tasks that wait for a reply get theirs."""
        url = f"redis://127.0.0.1:{port_of(nodes[0])}/0"
        use_cache(url, OPTIONS=OPTIONS["RedisCluster"])
        moved, other = Bucket("moved"), Bucket("other")

        async def main() -> None:
            await asyncio.gather(moved.aappend(0), other.aappend(0))
            move_slot(moved.key, *owner_first(moved.key, nodes))
            for number in range(1, 20):
                await asyncio.gather(moved.aappend(number), other.aappend(number))

        asyncio.run(main())
        assert moved.take() == [*range(20)]
        assert other.take() == [*range(20)]


class TestLostNode:
    @pytest.fixture
    def client(self, lone: tuple[EmbeddedRedis, Proxy]) -> Iterator[tuple[Redis, Proxy, Redis]]:
        """A client that connects through the proxy; and the proxy, and one that does not."""
        node, proxy = lone
        with client_of(node) as plain:
            plain.flushall()
            plain.config_set("cluster-announce-port", proxy.port)
            starts = [ClusterNode("127.0.0.1", each) for each in (proxy.port, port_of(node))]
            with redis.RedisCluster(startup_nodes=starts, dynamic_startup_nodes=False) as client:
                yield client, proxy, plain

    def test_lost_reply_lets_no_command_be_sent_again(
        self, client: tuple[Redis, Proxy, Redis]
    ) -> None:
        origin, proxy, plain = client

        async def lose(twin: Any) -> None:
            assert await incremented(twin) == 1
            with (
                proxy.under(at_first(Cut("reply")), commands=["INCR"]) as course,
                pytest.raises(redis.RedisError),
            ):
                await incremented(twin)
            assert (course.seen, plain.get("key")) == (1, b"2")
            assert await incremented(twin) == 3

        with_twin(origin, lose)

    def test_cancelled_task_leaves_no_reply_to_the_next_command(
        self, client: tuple[Redis, Proxy, Redis]
    ) -> None:
        origin, _, _ = client

        async def cancel(twin: Any) -> None:
            for number in range(20):
                task = asyncio.create_task(incremented(twin, "other"))
                await asyncio.sleep(0.0002 * number)
                task.cancel()
                await asyncio.wait([task])
                assert await incremented(twin) == number + 1

        with_twin(origin, cancel)


def test_cluster_that_is_away_is_an_error(use_cache: Callable[..., str]) -> None:
    with cluster() as [node]:
        use_cache(f"redis://127.0.0.1:{port_of(node)}/0", OPTIONS=OPTIONS["RedisCluster"])
        bucket = Bucket("orders", append_timeout=timedelta(seconds=0.2))

        async def main() -> BufferUnavailable:
            await bucket.aappend(1)
            node.stop()
            with pytest.raises(BufferUnavailable) as caught:
                await bucket.aappend(2)
            with pytest.raises(BufferUnavailable):
                await bucket.aappend(3)
            return caught.value

        assert "cannot be reached" in str(asyncio.run(main()))
