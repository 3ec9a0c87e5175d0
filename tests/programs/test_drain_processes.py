import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from django_jsonbuffer.draining.stop import Stop
from django_jsonbuffer.management.processes import Processes
from tests.declaring.buckets import page_views, scripted, timed
from tests.server import Redis
from tests.test_drain_buckets import COMMAND, environment, heed_interrupts, seen, wait_for

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = pytest.mark.django_db(transaction=True)


class Run:
    """A run of the command, with two processes."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "--processes", "2", *options],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=heed_interrupts,
        )

    def child(self) -> int:
        """The id of the process that was started last."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if found := re.fullmatch(r"Process \d has the id (\d+).\n", line):
                return int(found[1])
        pytest.fail("no process was started")

    def end(self) -> tuple[str, str]:
        return self.process.communicate(timeout=60)


@pytest.fixture
def run() -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def run(*options: str) -> Run:
        runs.append(Run(*options))
        return runs[-1]

    yield run
    for started in runs:
        if started.process.poll() is None:
            os.killpg(started.process.pid, signal.SIGKILL)
        started.process.communicate()


def is_running(process_id: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2][:3]
    except FileNotFoundError:
        return False


def sockets(process_id: int) -> set[str]:
    links = (os.readlink(file) for file in Path(f"/proc/{process_id}/fd").iterdir())
    return {link for link in links if link.startswith("socket:")}


class TestOnce:
    def test_drains_everything_and_says_which_process_did(
        self, run: Callable[..., Run], client_of_server: Redis
    ) -> None:
        scripted.extend([{"sleep": 0.05, "n": n} for n in range(200)])
        started = run("scripted")
        out, err = started.end()
        assert (started.process.returncode, err) == (0, "")
        batches = [int(found) for found in re.findall(r"Process \d: .* in (\d+) batch", out)]
        assert len(batches) == 2
        assert sum(batches) == 20
        assert sorted(event["n"] for event in seen(client_of_server)) == [*range(200)]

    def test_failed_batch_is_an_exit_code(self, run: Callable[..., Run]) -> None:
        scripted.append({"fail": "no"})
        started = run("scripted", "page-views")
        out, err = started.end()
        assert started.process.returncode == 3
        assert re.search(r"Process \d has ended with exit code 3\.", err)
        assert out.endswith("scripted: 1 event pending and 0 in flight are left\n")

    def test_max_seconds_is_for_all(self, run: Callable[..., Run]) -> None:
        scripted.extend([{"sleep": 0.1}] * 2000)
        started = run("scripted", "--max-seconds", "2", "-v", "0")
        assert started.end() == ("", "")
        assert started.process.returncode == 0
        assert 0 < scripted.status().pending < 2000

    def test_process_that_hangs_is_replaced(
        self, run: Callable[..., Run], client_of_server: Redis
    ) -> None:
        timed.extend([{"sleep": 600}, {"n": 1}])
        started = run("timed")
        _, err = started.end()
        assert started.process.returncode == 3
        assert "has ended with exit code 4. It starts again in 0.5 s." in err
        assert seen(client_of_server) == [{"n": 1}]


class TestWatch:
    def test_process_that_dies_is_replaced(
        self, run: Callable[..., Run], client_of_server: Redis
    ) -> None:
        started = run("scripted", "--watch", "--interval", "0.05")
        started.child()
        os.kill(started.child(), signal.SIGKILL)
        replacement = started.child()
        scripted.extend([{"n": 1}] * 10)
        wait_for(lambda: len(seen(client_of_server)) == 10)
        assert is_running(replacement)
        started.process.terminate()
        _, err = started.end()
        assert started.process.returncode == 0
        assert "was killed by SIGKILL. It starts again in 0.5 s." in err

    def test_processes_share_no_socket(self, run: Callable[..., Run]) -> None:
        started = run("scripted", "--watch", "--interval", "0.05")
        children = [started.child(), started.child()]
        wait_for(lambda: scripted.status().workers == 2)
        held = [sockets(process) for process in (started.process.pid, *children)]
        assert all(held)
        assert len(set.union(*held)) == sum(map(len, held))

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    @pytest.mark.parametrize("to_all", [False, True], ids=["to the parent", "to all"])
    def test_signal_lets_the_batches_in_hand_be_finished(
        self, run: Callable[..., Run], client_of_server: Redis, number: int, to_all: bool
    ) -> None:
        started = in_mid_batch(run, client_of_server, sleep=1)
        scripted.append({"n": "later"})
        (os.killpg if to_all else os.kill)(started.process.pid, number)
        out, err = started.end()
        assert started.process.returncode == 0
        assert err == "Finishing the batch in hand. A second signal stops at once.\n"
        assert "scripted: 10 events in 1 batch" in out
        assert scripted.peek() == [{"n": "later"}]
        assert scripted.status().in_flight == 0

    def test_second_signal_stops_at_once_and_releases_the_batch(
        self, run: Callable[..., Run], client_of_server: Redis
    ) -> None:
        started = in_mid_batch(run, client_of_server, sleep=60)
        started.process.terminate()
        assert started.process.stderr is not None
        assert "Finishing" in started.process.stderr.readline()
        began = time.monotonic()
        started.process.terminate()
        _, err = started.end()
        assert time.monotonic() - began < 20
        assert started.process.returncode == 130
        assert "Traceback" not in err
        status = scripted.status()
        assert (status.pending, status.in_flight) == (10, 0)

    def test_parent_that_is_killed_leaves_no_process(
        self, run: Callable[..., Run], client_of_server: Redis
    ) -> None:
        scripted.extend([{"announce": True}, *[{}] * 8, {"sleep": 1}])
        started = run("scripted", "--watch", "--interval", "0.05")
        children = [started.child(), started.child()]
        wait_for(lambda: {"announce": True} in seen(client_of_server))
        os.kill(started.process.pid, signal.SIGKILL)
        wait_for(lambda: not any(map(is_running, children)))
        assert scripted.status().processed == 10


def in_mid_batch(run: Callable[..., Run], plain: Redis, *, sleep: float) -> Run:
    started = run("scripted", "--watch", "--interval", "0.05")
    wait_for(lambda: scripted.status().workers == 2)
    scripted.extend([{"announce": True}, *[{}] * 8, {"sleep": sleep}])
    wait_for(lambda: {"announce": True} in seen(plain))
    return started


def test_number_must_make_sense(run: Callable[..., Run]) -> None:
    started = Run("--processes", "0")
    started.end()
    assert started.process.returncode == 2
    assert page_views.status().workers == 0


def test_process_that_cannot_be_started_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal to a process without an id would go to the whole group, with the caller."""
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *call: told.append(call))

    def refuse(process: SpawnProcess) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(SpawnProcess, "start", refuse)
    lines: list[str] = []
    processes = Processes(
        2,
        command="drain_buckets",
        arguments=lambda number: [],
        is_final=bool,
        report=lines.append,
        complain=lines.append,
    )
    with pytest.raises(BlockingIOError):
        processes.run(Stop())
    assert told == []
