"""Drains while a node of a cluster hangs or is dead: only its own buckets wait."""

import os
import signal
import threading
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_jsonbuffer import Batch, Bucket, drain_all
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.draining import lookout
from django_jsonbuffer.draining.reachability import Reachability
from django_jsonbuffer.draining.rounds import Rounds
from django_jsonbuffer.draining.stop import Stop
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.management import stop_signals
from django_jsonbuffer.runs import open_drains
from django_jsonbuffer.store.keys import catalog_key
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.registry import register
from django_jsonbuffer.store.shards import _gaps
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.store.waiting import waiting
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, hung, names_on, node_with, port_of, url_of
from tests.draining.drains import report
from tests.server import one_server
from tests.test_embedded_redis import client_of, wait_until

# For the statuses at the start and at the end of a command. Drains do not wait so long.
OPTIONS = {"CONNECTION_FACTORY": FACTORY, "SOCKET_TIMEOUT": 1}

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


@pytest.fixture(autouse=True)
def alias(nodes: list[EmbeddedRedis], use_cache: Callable[..., str], nodes_come_back: None) -> str:
    return use_cache([url_of(node) for node in nodes], OPTIONS=OPTIONS)


@pytest.fixture
def done(nodes: list[EmbeddedRedis]) -> list[str]:
    """Three buckets with one event each, of which the second is on the second node. The names of
    those that were processed."""
    done: list[str] = []
    for [name] in names_on(nodes):
        Bucket(name).processor(lambda batch: done.append(batch.bucket))
        Bucket(name).append(1)
    return done


def names(nodes: list[EmbeddedRedis]) -> list[str]:
    return [name for [name] in names_on(nodes)]


class TestNodeThatHangs:
    def test_run_drains_the_others(self, nodes: list[EmbeddedRedis], done: list[str]) -> None:
        first, lost, last = names(nodes)
        err = StringIO()
        with hung(nodes[1]), pytest.raises(CommandError) as caught:
            call_command("drain_buckets", stdout=StringIO(), stderr=err)
        assert sorted(done) == sorted([first, last])
        assert caught.value.returncode == 1
        assert f"for bucket {lost!r} at 127.0.0.1:{port_of(nodes[1])}" in err.getvalue()
        call_command("drain_buckets", stdout=StringIO())
        assert sorted(done) == sorted([first, lost, last])

    def test_run_of_an_engine_drains_the_others_and_raises(
        self, nodes: list[EmbeddedRedis], done: list[str]
    ) -> None:
        first, lost, last = names(nodes)
        with hung(nodes[1]), pytest.raises(BufferUnavailable, match=lost):
            drain_all()
        assert sorted(done) == sorted([first, last])
        _gaps.clear()  # the node may also have the names of shards, and is not asked for 5 seconds
        assert drain_all()[lost] == report(processed=1, batches=1)

    def test_run_that_leaves_busy_buckets_alone_drains_the_others(
        self,
        nodes: list[EmbeddedRedis],
        done: list[str],
        tmp_path: Path,
        configure: Callable[..., None],
    ) -> None:
        first, lost, last = names(nodes)
        configure(BUCKETS={lost: {"spill_dir": tmp_path, "on_unavailable": "spill"}})
        register("a worker", Names([lost]), configuration())
        with hung(nodes[1]):
            Bucket(lost).append(2)
            with pytest.raises(BufferUnavailable, match=lost):
                drain_all(skip_busy=True)
        assert sorted(done) == sorted([first, last])

    def test_watch_goes_on_with_the_others_and_comes_back(
        self, nodes: list[EmbeddedRedis], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stop, err = Stop(), StringIO()
        monkeypatch.setattr(stop_signals, "Stop", lambda: stop)
        first, lost, last = names(nodes)
        ages: dict[str, list[float]] = {first: [], lost: [], last: []}

        def note(batch: Batch) -> None:
            ages[batch.bucket] += [time.time() - event for event in batch]

        for name in ages:
            Bucket(name).processor(note)
        options: dict[str, Any] = {
            "watch": True,
            "verbosity": 0,
            "stderr": err,
            "max_seconds": 60.0,
        }
        watch = threading.Thread(target=call_command, args=["drain_buckets"], kwargs=options)
        for name in ages:
            Bucket(name).append(time.time())
        watch.start()
        wait_until(lambda: all(ages.values()))
        Bucket(lost).append(time.time())  # lingers, and is due when the node hangs
        time.sleep(0.3)  # the node must pass the message on before
        with hung(nodes[1]):
            for _ in range(20):
                for name in (first, last):
                    Bucket(name).append(time.time())
                time.sleep(0.2)
        with client_of(nodes[1]) as plain:
            assert plain.ping()
        wait_until(lambda: [*map(len, ages.values())] == [21, 2, 21])
        wait_until(lambda: "is back" in err.getvalue())
        stop.set()
        watch.join()
        assert [*map(len, ages.values())] == [21, 2, 21]
        assert max(ages[first] + ages[last]) < 5
        assert err.getvalue().count("Trying again") == err.getvalue().count("is back") == 1

    def test_watch_says_so_each_time_though_the_node_has_none_of_its_buckets(
        self, nodes: list[EmbeddedRedis], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The node has the names of all buckets, of which a pattern needs those that match."""
        monkeypatch.setattr(lookout, "_CATALOG_SECONDS", 0.1)
        stop, err = Stop(), StringIO()
        monkeypatch.setattr(stop_signals, "Stop", lambda: stop)
        known = node_with(catalog_key(configuration().prefix), nodes)
        name = next(name for [name] in names_on(nodes) if node_with(f"{{{name}}}", nodes) != known)
        Bucket("bucket-*").processor(lambda batch: None)
        Bucket(name).append(1)
        options = {"watch": True, "verbosity": 0, "stderr": err, "max_seconds": 60.0}
        watch = threading.Thread(target=call_command, args=["drain_buckets"], kwargs=options)
        watch.start()
        wait_until(lambda: Bucket(name).status().pending == 0)
        try:
            for count in (1, 2):
                with hung(known):
                    wait_until(lambda: err.getvalue().count("Trying again") == count)  # noqa: B023
                wait_until(lambda: err.getvalue().count("is back") == count)  # noqa: B023
            assert [line.split()[0] for line in err.getvalue().splitlines()[1::2]] == [
                f"127.0.0.1:{port_of(known)}"
            ] * 2
        finally:
            stop.set()
            watch.join()

    def test_worker_that_ends_does_not_wait_for_each_of_its_buckets(
        self, nodes: list[EmbeddedRedis], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        many = [name for its in names_on(nodes, per_node=10) for name in its]
        stop, retired = Stop(), list[str]()
        retire = Store.retire

        def count(store: Store, *args: Any, **options: Any) -> None:
            retired.append(store.name)
            retire(store, *args, **options)

        monkeypatch.setattr(Store, "retire", count)
        for name in many:
            Bucket(name).processor(lambda batch: None)
        drains = open_drains(map(Bucket, many), watch=True)
        reachability = Reachability.of(configuration(), stop.wake)
        with Rounds(drains, stop=stop, reachability=reachability):
            for drain in drains:
                drain.step()
            os.kill(nodes[1].pid or 0, signal.SIGSTOP)
        os.kill(nodes[1].pid or 0, signal.SIGCONT)
        assert len(retired) == 10 + 1 + 10

    def test_question_leaves_its_buckets_out(
        self, nodes: list[EmbeddedRedis], done: list[str]
    ) -> None:
        first, _, last = all_names = names(nodes)
        assert waiting(all_names, configuration()) == dict.fromkeys(all_names, False)
        with hung(nodes[1]):
            assert [*waiting(all_names, configuration())] == [first, last]


class TestReachability:
    @pytest.fixture
    def reachability(self) -> Reachability:
        reachability = Reachability.of(configuration(), lambda: None)
        assert reachability is not None
        return reachability

    def failure(self, bucket: Bucket) -> BufferUnavailable:
        store = bucket._definition.parts.store
        store.patience_seconds = lambda: 0.05
        try:
            with pytest.raises(BufferUnavailable) as caught:
                store.seal()
        finally:
            store.patience_seconds = None
        return caught.value

    def test_node_is_away_until_it_answers(
        self, nodes: list[EmbeddedRedis], done: list[str], reachability: Reachability
    ) -> None:
        first, lost, _ = map(Bucket, names(nodes))
        with hung(nodes[1]):
            reachability.note(self.failure(lost))
            time.sleep(0.8)
            assert lost.name in str(reachability.why_away(lost.key))
            assert reachability.why_away(first.key) is None
        wait_until(lambda: reachability.why_away(lost.key) is None)
        assert reachability.patience_seconds(lost.key) == 0.25

    def test_node_that_was_only_slow_gets_more_time(
        self, nodes: list[EmbeddedRedis], done: list[str], reachability: Reachability
    ) -> None:
        slow = Bucket(names(nodes)[1])
        with hung(nodes[1]):
            error = self.failure(slow)
        for patience in (0.25, 0.5, 1, 2, 4, 4):
            assert reachability.patience_seconds(slow.key) == patience
            reachability.note(error)
            wait_until(lambda: reachability.why_away(slow.key) is None)

    def test_error_of_no_node_says_nothing(self, reachability: Reachability) -> None:
        reachability.note(BufferUnavailable("away"))
        assert reachability._away == {}


@one_server
def test_single_server_has_none(settings: Any) -> None:
    settings.JSONBUFFER = {**settings.JSONBUFFER, "CACHE": "jsonbuffer"}
    assert Reachability.of(configuration(), lambda: None) is None
