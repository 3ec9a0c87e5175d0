"""Workers of a process that forks, and of its child."""

import json
import multiprocessing
import os
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any, Final

import pytest
from django.core.management import call_command
from django.db import connections

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.draining.heart import HEART
from tests.prepared import store_of
from tests.server import Redis

# Python 3.12 warns of threads, which a child does not have. This is what is tested here.
# A watching worker looks at the connections to databases that other tests have left open.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.usefixtures("nothing_declared"),
]

LEASE: Final = timedelta(milliseconds=600)
LOOKS: Final = 12
"""So often a slow processor looks, every tenth of a second, whether its batch is still held."""

Call = Callable[[], Any]


def report_to(descriptor: int, call: Call) -> None:
    try:
        found = call()
    except BaseException:  # noqa: BLE001  (the parent shows it)
        found = traceback.format_exc()
    os.write(descriptor, json.dumps(found).encode())


def fork_plainly(target: Call) -> Call:
    """Returns a function that ends the child."""
    if (pid := os.fork()) == 0:
        try:
            target()
        finally:
            os._exit(0)

    def end() -> None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    return end


def fork_by_multiprocessing(target: Call) -> Call:
    """Returns a function that ends the child."""
    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()

    def end() -> None:
        process.kill()
        process.join()

    return end


class Child:
    """A forked process that makes a call. `result` waits for what the call has returned."""

    def __init__(self, fork: Callable[[Call], Call], call: Call) -> None:
        connections.close_all()  # two processes cannot use one connection to a database
        self._reading, writing = os.pipe()
        self._end = fork(lambda: report_to(writing, call))
        os.close(writing)

    def result(self) -> Any:
        assert select.select([self._reading], [], [], 30)[0], "The child hangs."
        return json.loads(os.read(self._reading, 100_000))

    def end(self) -> None:
        self._end()
        os.close(self._reading)


@pytest.fixture(params=[fork_plainly, fork_by_multiprocessing])
def fork(request: pytest.FixtureRequest) -> Iterator[Callable[[Call], Child]]:
    children: list[Child] = []

    def start(call: Call) -> Child:
        children.append(Child(request.param, call))
        return children[-1]

    yield start
    for child in children:
        child.end()


@pytest.fixture(autouse=True)
def _lease_is_short(configure: Callable[..., None]) -> None:
    configure(BUCKETS={"*": {"batch_size": 1, "lease": LEASE}})


def threads_of_workers() -> list[str]:
    return sorted({each.name for each in threading.enumerate() if each.name.endswith("of workers")})


def hold(name: str) -> Iterator[bool]:
    """Whether the batch in hand is held, for some time that is much longer than its lease."""
    for _ in range(LOOKS):
        time.sleep(0.1)
        yield store_of(name).claim("thief", lease=LEASE, linger=None).claim is None


def drained_slowly(name: str) -> list[Any]:
    """Drain one event, and return whether the batch was held all the time, and what was done."""
    held: list[bool] = []
    bucket = Bucket(name)
    bucket.processor(lambda batch: held.extend(hold(name)))
    bucket.append(1)
    processed = bucket.drain().processed
    return [held, processed]


def watch(name: str, *, batches: int) -> str:
    """Watch one bucket. It looks for batches that it was not told of much too late."""
    err = StringIO()
    options = {"interval": 60.0, "max_batches": batches, "max_seconds": 20.0, "verbosity": 0}
    call_command("drain_buckets", name, watch=True, stderr=err, **options)
    return err.getvalue()


def watched_slowly(name: str) -> list[Any]:
    """Like `drained_slowly`, by the command for services."""
    held: list[bool] = []
    bucket = Bucket(name)
    bucket.processor(lambda batch: held.extend(hold(name)))
    timer = threading.Timer(0.5, bucket.append, [1])
    timer.start()
    err = watch(name, batches=1)
    return [held, int(not err and bucket.status().in_flight == bucket.status().pending == 0)]


DONE: Final = [[True] * LOOKS, 1]


class TestForkInAProcessor:
    def test_threads_of_the_worker_do_not_live_in_the_child(
        self, fork: Callable[[Call], Child]
    ) -> None:
        names: list[list[str]] = []

        def process(batch: Batch) -> None:
            names.append(threads_of_workers())
            names.append(
                fork(lambda: [*threads_of_workers(), *filter(None, [HEART._thread])]).result()
            )
            names.append(threads_of_workers())

        bucket = Bucket("parent")
        bucket.processor(process)
        bucket.append(1)
        assert watch("parent", batches=1) == ""
        all_threads = ["heart of workers", "lookout of workers", "wake-ups of workers"]
        assert names == [all_threads, [], all_threads]

    @pytest.mark.parametrize("work", [drained_slowly, watched_slowly])
    def test_both_keep_their_batches(
        self,
        fork: Callable[[Call], Child],
        work: Callable[[str], Any],
        client_of_server: Redis,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The parent goes on: it is told of the next batch, and keeps that too."""
        found: list[Any] = []
        beats: set[bytes] = set()
        workers = store_of("child").keys.workers

        def process(batch: Batch) -> None:
            child = fork(lambda: work("child")) if [*batch] == ["first"] else None
            for is_held in hold("parent"):
                found.append(is_held)
                if child is not None:
                    beats.update(client_of_server.hvals(workers))
            if child is not None:
                found.append(child.result())
                threading.Timer(1, bucket.append, ["second"]).start()

        bucket = Bucket("parent")
        bucket.processor(process)
        bucket.append("first")
        began = time.monotonic()
        assert watch("parent", batches=2) == ""
        assert time.monotonic() - began < 9  # earlier than it looks by itself
        assert found == [*[True] * LOOKS, DONE, *[True] * LOOKS]
        assert len(beats) > 2
        assert caplog.records == []


class TestForkBeforeTheWorker:
    @pytest.mark.parametrize("work", [drained_slowly, watched_slowly])
    def test_both_keep_their_batches(
        self, fork: Callable[[Call], Child], work: Callable[[str], Any]
    ) -> None:
        """An earlier worker of the parent has left its thread, which waits for another one."""
        bucket = Bucket("parent")
        bucket.processor(lambda batch: None)
        bucket.append(1)
        assert bucket.drain().processed == 1
        assert HEART._thread is not None
        child = fork(lambda: work("child"))
        assert work("parent") == DONE
        assert child.result() == DONE

    def test_child_keeps_its_batch_although_the_heart_was_busy(
        self, fork: Callable[[Call], Child]
    ) -> None:
        with HEART._lock:
            child = fork(lambda: drained_slowly("child"))
        assert child.result() == DONE
