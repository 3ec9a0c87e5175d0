from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store import nodes as store_nodes
from django_jsonbuffer.store import redis_cluster
from django_jsonbuffer.store.clients import clients
from django_jsonbuffer.store.nodes import MOST_CALLS, Call, replies
from django_jsonbuffer.store.redis_cluster import node_of_error
from django_jsonbuffer.store.scripts import REFUSALS
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, cluster, hung, migrating, move_slot, names_on, url_of
from tests.server import Redis, both_servers
from tests.test_embedded_redis import client_of

TIMEOUT_SECONDS = 0.5


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[EmbeddedRedis]]:
    with cluster(nodes=3) as nodes:
        yield nodes


@pytest.fixture
def alias(nodes: list[EmbeddedRedis], use_cache: Callable[..., str]) -> Iterator[str]:
    options = {"CONNECTION_FACTORY": FACTORY, "SOCKET_TIMEOUT": TIMEOUT_SECONDS}
    alias = use_cache(url_of(nodes[0]), OPTIONS=options)
    yield alias
    clients[alias].close()


def keys_on(nodes: list[EmbeddedRedis], count: int) -> list[str]:
    """Keys of each node in turn."""
    names = names_on(nodes, per_node=count)
    return [f"{{{name}}}:key" for row in zip(*names, strict=True) for name in row]


def echoes(keys: list[str]) -> list[Call]:
    return [Call(key, ("EVAL", "return KEYS[1]", 1, key)) for key in keys]


class TestOneServer:
    @both_servers
    def test_replies_are_in_order_and_bytes(self, client_of_server: Redis) -> None:
        keys = [f"key-{number}" for number in range(2 * MOST_CALLS + 1)]
        calls = [Call(key, ("GETRANGE", key, 0, number)) for number, key in enumerate(keys)]
        calls[7] = Call("x", ("EVALSHA", REFUSALS.sha, 0))
        found = replies(configuration().cache, calls, script=REFUSALS)
        assert found == [b""] * 7 + [[]] + [b""] * (len(keys) - 8)

    def test_no_call(self) -> None:
        assert replies(configuration().cache, []) == []

    def test_refusal_is_the_error_of_one_call(self) -> None:
        calls = [Call("a", ("GET", "a")), Call("b", ("NONSENSE",)), Call("c", ("GET", "c"))]
        first, second, third = replies(configuration().cache, calls)
        assert (first, third) == (None, None)
        assert isinstance(second, ResponseError)

    def test_that_is_away(self, unreachable: str) -> None:
        with pytest.raises(BufferUnavailable, match="cannot be reached"):
            replies(configuration().cache, [Call("a", ("GET", "a"))])


class TestCluster:
    def test_each_node_gets_its_own(self, nodes: list[EmbeddedRedis], alias: str) -> None:
        keys = keys_on(nodes, 20)
        assert replies(alias, echoes(keys)) == [key.encode() for key in keys]
        assert replies(alias, []) == []

    def test_script_is_loaded_on_each_node(self, nodes: list[EmbeddedRedis], alias: str) -> None:
        for node in nodes:
            with client_of(node) as plain:
                plain.script_flush()
        keys = keys_on(nodes, 2)
        calls = [Call(key, ("EVALSHA", REFUSALS.sha, 1, key)) for key in keys]
        assert all(isinstance(reply, NoScriptError) for reply in replies(alias, calls))
        assert replies(alias, calls, script=REFUSALS) == [[]] * len(keys)

    def test_many_are_asked_in_portions(
        self, nodes: list[EmbeddedRedis], alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store_nodes, "MOST_CALLS", 3)
        keys = keys_on(nodes, 8)
        assert replies(alias, echoes(keys)) == [key.encode() for key in keys]

    def test_node_that_hangs_is_asked_once(
        self, nodes: list[EmbeddedRedis], alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask, asked = store_nodes._replies_at_once, []

        def count(client: Any, calls: Sequence[Call], within: float | None) -> list[Any]:
            asked.append(client)
            return ask(client, calls, within)

        monkeypatch.setattr(store_nodes, "MOST_CALLS", 5)
        monkeypatch.setattr(store_nodes, "_replies_at_once", count)
        keys = keys_on(nodes, 20)
        with hung(nodes[1]):
            found = replies(alias, echoes(keys))
        assert len(asked) == 4 + 1 + 4
        assert [reply for number, reply in enumerate(found) if number % 3 != 1] == [
            key.encode() for number, key in enumerate(keys) if number % 3 != 1
        ]
        errors = found[1::3]
        assert all(isinstance(error, RedisTimeoutError) for error in errors)
        assert {node_of_error(error) for error in errors} == {url_of(nodes[1])[len("redis://") :]}

    def test_slots_that_have_moved(self, nodes: list[EmbeddedRedis], alias: str) -> None:
        keys = keys_on(nodes, 4)
        replies(alias, echoes(keys))
        move_slot(keys[0], nodes[0], nodes[1])
        with client_of(nodes[0]) as plain:
            plain.set(keys[3], "there")
        calls: list[Call] = [Call(key, ("GET", key)) for key in keys]
        with migrating(keys[3], nodes[0], nodes[1]) as move_key:
            move_key(keys[3])
            assert replies(alias, calls) == [None] * 3 + [b"there"] + [None] * 8
        assert replies(alias, calls) == [None] * 3 + [b"there"] + [None] * 8

    def test_slot_of_no_node(
        self, nodes: list[EmbeddedRedis], alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A thread would find the slots again.
        monkeypatch.setattr(redis_cluster, "look_for_slots", lambda client, lost="": None)
        keys = keys_on(nodes, 3)
        client: Any = clients[alias]
        replies(alias, echoes(keys))
        kept = {
            slot: owners for slot, owners in client.nodes_manager.slots_cache.items() if slot % 2
        }
        client.nodes_manager.slots_cache = kept
        found = replies(alias, echoes(keys))
        for key, reply in zip(keys, found, strict=True):
            assert reply == key.encode() if client.keyslot(key) in kept else "No node" in str(reply)

    def test_that_is_away(self, use_cache: Callable[..., str]) -> None:
        options = {"CONNECTION_FACTORY": FACTORY}
        alias = use_cache("redis://127.0.0.1:1", OPTIONS=options)
        with pytest.raises(BufferUnavailable, match="cannot be reached"):
            replies(alias, [Call("a", ("GET", "a"))])
