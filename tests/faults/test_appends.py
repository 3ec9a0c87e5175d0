"""Whatever happens to an append, its events are stored once, whole and in order."""

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from pytest_django import Settings

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable
from django_jsonbuffer.store.scripts import ACK, CLAIM, Script
from example_project.embedded_redis import EmbeddedRedis
from tests.faults.appending import (
    append_in_order,
    assert_counters_are_back_at_zero,
    numbers_by_row,
    settle,
    stored,
)
from tests.faults.conftest import Proxied
from tests.faults.proxy import SCRIPTS, Cut, Fault, Hold, Part, at_first, at_random
from tests.faults.scale import report, scale
from tests.server import Redis
from tests.test_drain_buckets import environment
from tests.test_embedded_redis import client_of, wait_until
from tests.threads import at_once

FAULTS: Final[dict[Fault, float]] = {
    Cut("reply"): 0.15,
    Hold("reply"): 0.15,
    Hold("reply", 0.1): 0.05,
    Cut("request"): 0.03,
    Cut("request", 100): 0.03,
    Hold("request"): 0.02,
    Hold("request", 0.1): 0.05,
}
"""Faults of an append, with their shares. Three in ten lose the reply; the last is a late copy."""

STEP: Final = scale(full=1, short=17)
"""Bytes between two places at which a connection is cut."""


def appending_process(*args: object) -> str:
    """Run ``tests.faults.appending`` to its end. Returns its output."""
    command = [sys.executable, "-W", "error", "-m", "tests.faults.appending", *map(str, args)]
    process = subprocess.run(
        command, env=environment(), stdout=subprocess.PIPE, check=True, text=True, timeout=300
    )
    return process.stdout


class TestNetwork:
    """Runs with each kind of client, also with those that repeat commands by themselves."""

    @pytest.fixture
    def timeout_seconds(self) -> float:
        return 0.05

    @pytest.mark.parametrize("groups", [True, False], ids=["together", "alone"])
    def test_each_event_is_stored_once_in_the_order_of_its_thread(
        self, proxied: Proxied, settings: Settings, groups: bool
    ) -> None:
        settings.JSONBUFFER = {**settings.JSONBUFFER, "GROUP_COMMIT": groups}
        bucket = Bucket("orders", append_timeout=timedelta(seconds=0.25))
        threads, each = 8, scale(full=625, short=15)
        with proxied.proxy.under(at_random(1, FAULTS)) as course:
            at_once(
                partial(append_in_order, bucket, thread, numbers=range(each))
                for thread in range(threads)
            )
            assert course.done > 0.4 * (course.seen if groups else threads * each)
        rows = numbers_by_row(stored(bucket, proxied.plain))
        assert rows == {(thread,): [*range(each)] for thread in range(threads)}
        report(
            f"replies lost, requests lost and late, {groups=}, through {proxied.client}",
            appends=threads * each,
            copies_sent=course.seen,
            faults=course.done,
            lost=0,
            twice=0,
        )

    def test_lost_reply_is_one_whatever_error_the_caller_is_handling(
        self, proxied: Proxied
    ) -> None:
        """FileNotFoundError, which is also what a connection to a missing socket raises."""
        bucket = Bucket("orders", append_timeout=timedelta(seconds=0.25))
        append_in_order(bucket, 0, numbers=[0])
        with proxied.proxy.under(at_first(Cut("reply"))) as course:
            try:
                os.stat("/nowhere")
            except FileNotFoundError:
                append_in_order(bucket, 0, numbers=[1])
        assert course.done == 1
        assert stored(bucket, proxied.plain) == [[0, 0], [0, 1]]

    def test_late_copy_is_not_stored_again_though_the_events_have_left(
        self, proxied: Proxied
    ) -> None:
        bucket = Bucket("orders")
        with proxied.proxy.under(at_first(Hold("request", 0.5))) as course:
            append_in_order(bucket, 0, numbers=[1])
            assert proxied.plain.getdel(bucket.key) == b"[[0,1]]"
            append_in_order(bucket, 0, numbers=[2])
            assert course.done == 0
            wait_until(lambda: course.done == 1)
        assert stored(bucket, proxied.plain) == [[0, 2]]

    def test_reply_that_is_late_is_not_that_of_the_next_append(self, proxied: Proxied) -> None:
        bucket = Bucket("orders", batch_size=None)
        proxied.plain.set(bucket.key, b"[[0,0]]")
        with proxied.proxy.under(at_first(Hold("reply", 0.1))):
            append_in_order(bucket, 0, numbers=range(1, 20))
        assert stored(bucket, proxied.plain) == [[0, number] for number in range(20)]


class TestUndecided:
    @pytest.fixture
    def timeout_seconds(self) -> float:
        return 0.02

    @pytest.mark.parametrize(
        "fault",
        [Cut("reply"), Hold("request"), Hold("request", 0.2)],
        ids=["stored", "lost", "late"],
    )
    def test_retried_after_later_appends_and_from_several_threads(
        self, proxied: Proxied, fault: Fault
    ) -> None:
        bucket = Bucket("orders", append_timeout=timedelta(seconds=0.1))
        append_in_order(bucket, 0, numbers=[0])
        with (
            proxied.proxy.under(lambda number: fault) as course,
            pytest.raises(AppendUndecided) as caught,
        ):
            bucket.append([0, 1])
        append_in_order(bucket, 0, numbers=[2, 3])
        at_once([partial(settle, caught.value.retry)] * 4)
        append_in_order(bucket, 0, numbers=[4])
        settle(caught.value.retry)
        wait_until(lambda: course.done == course.seen)
        assert sorted(stored(bucket, proxied.plain)) == [[0, number] for number in range(5)]

    def test_retry_may_end_undecided_again(self, proxied: Proxied) -> None:
        bucket = Bucket("orders", append_timeout=timedelta(seconds=0.1))
        append_in_order(bucket, 0, numbers=[0])
        with proxied.proxy.under(lambda number: Cut("reply")):
            with pytest.raises(AppendUndecided) as first:
                bucket.append([0, 1])
            with pytest.raises(AppendUndecided) as second:
                first.value.retry()
        settle(second.value.retry)
        assert stored(bucket, proxied.plain) == [[0, 0], [0, 1]]


class TestLostReplyAndAnotherError:
    """A client that repeats a command raises only the error of its last try."""

    @pytest.fixture
    def timeout_seconds(self) -> float:
        return 0.05

    @pytest.mark.parametrize(
        ("refuse", "relent"),
        [
            ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
            ("ACL SETUSER default -evalsha -eval", "ACL SETUSER default +evalsha +eval"),
        ],
        ids=["full", "forbidden"],
    )
    @pytest.mark.parametrize("is_late", [False, True], ids=["before", "after"])
    def test_refusal_of_one_copy_tells_nothing_of_another(
        self, proxied: Proxied, refuse: str, relent: str, is_late: bool
    ) -> None:
        """The other copy is carried out before the refusal, or arrives after it."""
        bucket = Bucket("orders", append_timeout=timedelta(seconds=0.3))
        append_in_order(bucket, 0, numbers=[1])
        fault = Hold("request", 0.5) if is_late else Hold("reply")
        with proxied.proxy.under(at_first(fault)) as course:
            refusing = threading.Thread(
                target=command_when,
                args=[proxied.plain, refuse, lambda: course.seen if is_late else course.done],
            )
            refusing.start()
            undecided: AppendUndecided | None = None
            try:
                bucket.append([0, 2])
            except AppendUndecided as error:
                undecided = error
            finally:
                refusing.join()
                proxied.plain.execute_command(*relent.split())
            wait_until(lambda: course.done == 1)
        if undecided:
            settle(undecided.retry)
        assert stored(bucket, proxied.plain) == [[0, 1], [0, 2]]

    @pytest.mark.parametrize("proxied", ["RedisCluster"], indirect=True)
    def test_cluster_that_cannot_be_asked_for_its_nodes(self, proxied: Proxied) -> None:
        bucket = Bucket("orders")
        append_in_order(bucket, 0, numbers=[1])
        faults = [Cut("reply"), Cut("request"), Cut("request"), Cut("request")]
        with proxied.proxy.under(
            lambda number: faults[number] if number < len(faults) else None,
            commands=[*SCRIPTS, "CLUSTER"],
        ) as course:
            append_in_order(bucket, 0, numbers=[2, 3])
            assert course.done >= 2
        assert stored(bucket, proxied.plain) == [[0, 1], [0, 2], [0, 3]]


def command_when(plain: Redis, command: str, condition: Callable[[], bool]) -> None:
    wait_until(condition)
    plain.execute_command(*command.split())


@pytest.mark.parametrize("part", ["request", "reply"])
class TestCut:
    """The connection breaks after each byte of a command."""

    def test_append(self, proxied: Proxied, part: Part) -> None:
        bucket = Bucket("orders")
        append_in_order(bucket, 0, numbers=[0])
        for cuts in count(1):
            with proxied.proxy.under(at_first(Cut(part, (cuts - 1) * STEP))) as course:
                append_in_order(bucket, 0, numbers=[cuts])
            if not course.done:
                break
        assert cuts > (150 if part == "request" else 5) / STEP
        assert stored(bucket, proxied.plain) == [[0, number] for number in range(cuts + 1)]
        report(f"{part} of an append cut through {proxied.client}", cuts=cuts - 1, lost=0, twice=0)

    @pytest.mark.parametrize("proxied", ["django-redis"], indirect=True)
    @pytest.mark.parametrize("script", [CLAIM, ACK], ids=["claim", "ack"])
    def test_drain(self, proxied: Proxied, part: Part, script: Script) -> None:
        bucket = Bucket("orders", batch_size=10, lease=timedelta(0))
        ids_by_event: dict[Any, list[str]] = {}

        def process(batch: Batch) -> None:
            for event in batch:
                ids_by_event.setdefault(tuple(event), []).append(batch.id)

        bucket.processor(process)
        bucket.extend([[0, number] for number in range(10)])
        bucket.drain()
        for cuts in count(1):
            bucket.extend([[cuts, number] for number in range(10)])
            fault = Cut(part, (cuts - 1) * STEP)
            with proxied.proxy.under(at_first(fault), commands=[script.sha]) as course:
                drain_to_the_end(bucket)
            if not course.done:
                break
        assert cuts > (150 if part == "request" else 4) / STEP
        assert [*ids_by_event] == [(cut, number) for cut in range(cuts + 1) for number in range(10)]
        assert all(len(set(ids)) == 1 for ids in ids_by_event.values())
        assert_counters_are_back_at_zero(bucket, proxied.plain)
        repeated = sum(len(ids) > 1 for ids in ids_by_event.values())
        report(f"{part} of {script.name} cut", cuts=cuts - 1, lost=0, events_again=repeated)


def drain_to_the_end(bucket: Bucket) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            bucket.drain()
            if not bucket.status().batches:
                return
        except BufferUnavailable:
            pass
        assert time.monotonic() < deadline, "this was not drained within ten seconds"


class TestManyAtOnce:
    def test_threads_of_forks(self, client_of_server: Redis) -> None:
        processes, threads, events = 8, 64, scale(full=391, short=5)
        appending_process("forks", processes, threads, events)
        rows = numbers_by_row(stored(Bucket("orders"), client_of_server))
        assert rows == {
            (process, thread): [*range(events)]
            for process in range(processes + 1)
            for thread in range(threads if process else 1)
        }
        appends = sum(map(len, rows.values()))
        report("threads of forks append", forks=processes, threads=threads, appends=appends)

    def test_asyncio_tasks(self, client_of_server: Redis) -> None:
        bucket = Bucket("orders")
        events = scale(full=20, short=1)

        async def append(task: int) -> None:
            for number in range(events):
                await bucket.aappend([task, number])

        async def append_all() -> None:
            await asyncio.gather(*map(append, range(1000)))

        asyncio.run(append_all())
        rows = numbers_by_row(stored(bucket, client_of_server))
        assert rows == {(task,): [*range(events)] for task in range(1000)}
        report("asyncio tasks append", tasks=1000, appends=1000 * events)


class TestKilled:
    def test_process_leaves_whole_appends_and_all_that_returned(
        self, client_of_server: Redis
    ) -> None:
        times = scale(full=100, short=5)
        returned = json.loads(appending_process("kills", times))
        events = [event for event in stored(Bucket("orders"), client_of_server) if event[0] >= 0]
        assert len(returned) == times
        for fork, calls in enumerate(returned):
            own = [event for event in events if event[0] == fork]
            # The last call may have been carried out before it could return.
            assert len(own) in (calls * 3, calls * 3 + 3)
            assert own == [[fork, at // 3, at % 3] for at in range(len(own))]
        report("appending process killed", times=times, appends=sum(returned), lost=0, torn=0)

    def test_server_keeps_what_was_confirmed(
        self, tmp_path: Path, use_cache: Callable[..., str]
    ) -> None:
        embedded = EmbeddedRedis(
            *("--dir", str(tmp_path)), *("--appendonly", "yes", "--appendfsync", "always")
        )
        use_cache(embedded.url)
        bucket = Bucket("orders", append_timeout=timedelta(seconds=0.2))
        chance = random.Random(3)
        kills = scale(full=20, short=2)
        with embedded:
            bucket.append([-1, 0])
            time.sleep(0.05)
        with appending_threads(bucket, 4) as appended:
            for _ in range(kills):
                with embedded:
                    time.sleep(chance.uniform(0.05, 0.4))
            embedded.start()
        try:
            with client_of(embedded) as plain:
                events = stored(bucket, plain)
        finally:
            embedded.stop()
        rows = numbers_by_row(events)
        assert rows.pop((-1,)) == [0]
        assert rows == {(thread,): [*range(events)] for thread, events in enumerate(appended)}
        assert min(appended) > 0
        report("server killed, fsync always", kills=kills, appends=sum(appended), lost=0, twice=0)


@contextmanager
def appending_threads(bucket: Bucket, threads: int) -> Iterator[list[int]]:
    """Append from threads until the block ends. Yields the number of events of each thread."""
    appended = [0] * threads
    end = threading.Event()

    def append(thread: int) -> None:
        while not end.is_set():
            append_in_order(bucket, thread, numbers=[appended[thread]])
            appended[thread] += 1

    running = [threading.Thread(target=append, args=[thread]) for thread in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield appended
    finally:
        end.set()
        for thread in running:
            thread.join()


class TestScriptsFlushed:
    def test_while_appending_and_draining(self, private_server: Redis) -> None:
        bucket = Bucket("orders", batch_size=20)
        seen: list[list[int]] = []
        bucket.processor(seen.extend)
        with appending_threads(bucket, 4) as appended:
            end = time.monotonic() + scale(full=10, short=1)
            while time.monotonic() < end:
                private_server.script_flush()
                flushed = time.monotonic()
                while time.monotonic() < flushed + 0.05:
                    bucket.drain()
        drain_to_the_end(bucket)
        rows = numbers_by_row(seen)
        assert rows == {(thread,): [*range(events)] for thread, events in enumerate(appended)}
        assert_counters_are_back_at_zero(bucket, private_server)
        report("scripts flushed while in use", appends=sum(appended), lost=0, twice=0)
