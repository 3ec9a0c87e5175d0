"""One node of a cluster is down, or hangs: only the buckets of this node are affected."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable, JSONBufferError
from django_jsonbuffer.store import catalog_entries, late_entries
from django_jsonbuffer.store.breakers import breaker_of, breakers
from django_jsonbuffer.store.clients import clients
from django_jsonbuffer.store.keys import catalog_key
from django_jsonbuffer.store.redis_cluster import owner_name
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, cluster, hung, kill, names_on, port_of, url_of
from tests.test_embedded_redis import wait_until
from tests.threads import at_once

OPTIONS = {"CONNECTION_FACTORY": FACTORY, "SOCKET_CONNECT_TIMEOUT": 2, "SOCKET_TIMEOUT": 2}
CALLS = 25
CALLERS = 4

Outcomes = list[JSONBufferError | None]


@pytest.fixture(scope="module")
def without_second() -> Iterator[list[EmbeddedRedis]]:
    with cluster("--cluster-require-full-coverage", "no", nodes=3) as nodes:
        kill(nodes[1])
        yield nodes


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch, nodes_come_back: None) -> None:
    monkeypatch.setattr(late_entries, "_PAUSE_SECONDS", 0.05)


def buckets_on(nodes: Sequence[EmbeddedRedis]) -> list[Bucket]:
    """A bucket on each node."""
    return [
        Bucket(name, batch_size=None, append_timeout=timedelta(seconds=0.05))
        for [name] in names_on([*nodes])
    ]


def appended(bucket: Bucket) -> JSONBufferError | None:
    try:
        bucket.append(1)
    except JSONBufferError as error:
        return error
    return None


async def aappended(bucket: Bucket) -> JSONBufferError | None:
    try:
        await bucket.aappend(1)
    except JSONBufferError as error:
        return error
    return None


def alone(buckets: Sequence[Bucket]) -> list[Outcomes]:
    return [[appended(bucket) for _ in range(CALLS * CALLERS)] for bucket in buckets]


def in_threads(buckets: Sequence[Bucket]) -> list[Outcomes]:
    found: list[Outcomes] = [[] for _ in buckets]

    def call(place: int) -> None:
        for _ in range(CALLS):
            found[place].append(appended(buckets[place]))

    at_once([partial(call, place) for place in range(len(buckets)) for _ in range(CALLERS)])
    return found


def in_tasks(buckets: Sequence[Bucket]) -> list[Outcomes]:
    found: list[Outcomes] = [[] for _ in buckets]

    async def call(place: int) -> None:
        for _ in range(CALLS):
            found[place].append(await aappended(buckets[place]))

    async def main() -> None:
        await asyncio.gather(*(call(n) for n in range(len(buckets)) for _ in range(CALLERS)))

    asyncio.run(main())
    return found


@pytest.mark.parametrize("way", [alone, in_threads, in_tasks], ids=lambda way: way.__name__)
class TestDeadNode:
    @pytest.fixture(autouse=True)
    def _use(self, without_second: list[EmbeddedRedis], use_cache: Callable[..., str]) -> None:
        first, dead, third = map(url_of, without_second)
        use_cache([first, dead, third], OPTIONS=OPTIONS)

    def test_every_append_to_another_node_succeeds(
        self, without_second: list[EmbeddedRedis], way: Callable[..., list[Outcomes]]
    ) -> None:
        first, second, third = buckets_on(without_second)
        outcomes = way([first, second, third])
        assert outcomes[0] == outcomes[2] == [None] * CALLS * CALLERS
        for bucket in (first, third):
            assert bucket.take() == [1] * CALLS * CALLERS
        assert len(outcomes[1]) == CALLS * CALLERS
        node = f"127.0.0.1:{port_of(without_second[1])}"
        for error in outcomes[1]:
            assert isinstance(error, BufferUnavailable)
            assert not error.may_be_done
            assert f"for bucket '{second.name}' at {node}" in str(error)


@pytest.mark.parametrize("way", [alone, in_threads, in_tasks], ids=lambda way: way.__name__)
class TestNodeThatHangs:
    def test_callers_of_other_nodes_do_not_wait(
        self,
        nodes: list[EmbeddedRedis],
        use_cache: Callable[..., str],
        way: Callable[..., list[Outcomes]],
    ) -> None:
        """They are done while the caller of the node still waits for its first timeout."""
        use_cache(url_of(nodes[0]), OPTIONS=OPTIONS)
        first, second, third = buckets_on(nodes)
        for bucket in (first, second, third):
            bucket.append(0)
        order: list[str] = []
        with hung(nodes[1]):

            def wait() -> None:
                assert appended(second) is not None
                order.append("waited")

            def work() -> None:
                assert way([first, third]) == [[None] * CALLS * CALLERS] * 2
                order.append("done")

            at_once([wait, work])
        assert order == ["done", "waited"]
        assert first.take() == third.take() == [0] + [1] * CALLS * CALLERS
        breakers.clear()
        assert second.take()[:1] == [0]

    def test_refuses_only_its_own(
        self,
        nodes: list[EmbeddedRedis],
        use_cache: Callable[..., str],
        way: Callable[..., list[Outcomes]],
    ) -> None:
        """Once it is known, also other buckets of the node are refused at once, by their names."""
        alias = use_cache(url_of(nodes[0]), OPTIONS=OPTIONS)
        first, second, third = buckets_on(nodes)
        names = names_on(nodes, per_node=2)
        other = Bucket(names[1][1], batch_size=None)
        with hung(nodes[1]):
            first.append(0)
            breaker = breaker_of(alias, second.key)
            assert breaker is not breaker_of(alias, first.key)
            breaker.learn(_timeout(second), seconds=60, bucket=second.name)
            outcomes = way([first, other, third])
            assert outcomes[0] == outcomes[2] == [None] * CALLS * CALLERS
            for error in outcomes[1]:
                assert f"for bucket '{other.name}' at" in str(error)
                assert "a moment ago" in str(error)
        assert len(first.take()) == 1 + len(third.take())


def _timeout(bucket: Bucket) -> BufferUnavailable:
    error = BufferUnavailable(f"Redis cannot be reached for bucket {bucket.name!r} at the node.")
    error.is_unreachable = True
    return error


class TestCatalogOnANodeThatIsDown:
    @pytest.mark.parametrize("way", [alone, in_threads, in_tasks], ids=lambda way: way.__name__)
    def test_append_succeeds_and_the_name_is_written_later(
        self,
        nodes: list[EmbeddedRedis],
        use_cache: Callable[..., str],
        way: Callable[..., list[Outcomes]],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        alias = use_cache(url_of(nodes[0]), OPTIONS=OPTIONS | {"SOCKET_TIMEOUT": 0.3})
        buckets = buckets_on(nodes)
        clients[alias].ping()
        key = catalog_key(configuration().prefix)
        owner = owner_name(clients[alias], key)
        [node] = [each for each in nodes if owner.endswith(f":{port_of(each)}")]
        others = [each for each in buckets if owner_name(clients[alias], each.key) != owner]
        with hung(node):
            assert way(others) == [[None] * CALLS * CALLERS] * 2
        assert "could not be written into the catalog of buckets" in caplog.text
        wait_until(lambda: not late_entries.unwritten)
        assert catalog_entries.names(configuration()) == {bucket.name for bucket in others}
        for bucket in others:
            assert len(bucket.take()) == CALLS * CALLERS

    def test_of_its_own_bucket_is_the_error_of_the_append(
        self, nodes: list[EmbeddedRedis], use_cache: Callable[..., str], monkeypatch: Any
    ) -> None:
        alias = use_cache(url_of(nodes[0]), OPTIONS=OPTIONS | {"SOCKET_TIMEOUT": 0.3})
        buckets = buckets_on(nodes)
        clients[alias].ping()
        owner = owner_name(clients[alias], catalog_key(configuration().prefix))
        [node] = [each for each in nodes if owner.endswith(f":{port_of(each)}")]
        [own] = [each for each in buckets if owner_name(clients[alias], each.key) == owner]
        with hung(node):
            assert isinstance(appended(own), BufferUnavailable)
        assert not late_entries.unwritten

    def test_of_a_new_bucket_that_only_a_pattern_declares_is_refused(
        self, nodes: list[EmbeddedRedis], use_cache: Callable[..., str], nothing_declared: None
    ) -> None:
        """Otherwise no worker would find it if the process ended before the name is written."""
        alias = use_cache(url_of(nodes[0]), OPTIONS=OPTIONS | {"SOCKET_TIMEOUT": 0.3})
        clients[alias].ping()
        owner = owner_name(clients[alias], catalog_key(configuration().prefix))
        [node] = [each for each in nodes if owner.endswith(f":{port_of(each)}")]
        old, new = (
            Bucket(name)
            for place, [*names] in zip(nodes, names_on(nodes, per_node=2), strict=True)
            if place is not node
            for name in names[:1]
        )
        Bucket("*").processor(print)
        old.append(0)
        catalog_entries.written.clear()  # as in another process
        with hung(node):
            old.append(1)
            for _ in range(2):
                with pytest.raises(BufferUnavailable, match=f"Bucket '{new.name}' is new") as error:
                    new.append(1)
                assert not isinstance(error.value, AppendUndecided)
            assert not breaker_of(alias, new.key).failure
        wait_until(lambda: not late_entries.unwritten)
        assert catalog_entries.names(configuration()) == {old.name, new.name}
        assert appended(new) is None
        assert (len(old.take()), len(new.take())) == (2, 1)
