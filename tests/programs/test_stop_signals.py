import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.declaring.buckets import scripted
from tests.server import Redis
from tests.test_drain_buckets import COMMAND, drain, run_command, seen, wait_for

# The command renews database connections before each batch.
# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def watching(client_of_server: Redis) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a watch, which has begun to process the first of the given events."""
    started: list[subprocess.Popen[str]] = []

    def watch(
        *events: dict[str, Any], options: Sequence[str] = ("--watch",), interval: str = "0.05"
    ) -> "subprocess.Popen[str]":
        scripted.extend([{"announce": True}, *[{}] * (9 - len(events)), *events])
        process = run_command(*options, "--interval", interval)
        started.append(process)
        wait_for(lambda: {"announce": True} in seen(client_of_server))
        return process

    yield watch
    for process in started:
        process.kill()
        process.communicate()


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_first_lets_the_batch_in_hand_be_finished(
        self, watching: Callable[..., Any], client_of_server: Redis, number: int
    ) -> None:
        process = watching({"sleep": 1}, {"n": 7})
        scripted.append({"n": "later"})
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Finishing the batch in hand" in err
        assert "scripted: 10 events in 1 batch" in out
        assert {"n": 7} in seen(client_of_server)
        assert scripted.peek() == [{"n": "later"}]
        assert scripted.status().in_flight == 0

    def test_first_wakes_a_watch_that_waits(self, watching: Callable[..., Any]) -> None:
        process = watching(interval="600")
        wait_for(lambda: scripted.status().batches == 0)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0

    def test_first_ends_a_run_that_is_not_done(self, watching: Callable[..., Any]) -> None:
        process = watching({"sleep": 1}, options=())
        process.send_signal(signal.SIGTERM)
        scripted.append({"n": "later"})
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "waits for the next run" in err
        assert scripted.status().in_flight == 0

    def test_second_stops_at_once_and_releases_the_batch(
        self, watching: Callable[..., Any]
    ) -> None:
        process = watching({"sleep": 60})
        process.send_signal(signal.SIGTERM)
        assert "Finishing" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in err
        status = scripted.status()
        assert (status.pending, status.in_flight) == (10, 0)

    def test_kill_loses_nothing(
        self, watching: Callable[..., Any], configure: Callable[..., None]
    ) -> None:
        process = watching({"sleep": 60})
        process.kill()
        process.wait()
        assert scripted.status().in_flight == 10
        configure(BUCKETS={"scripted": {"lease": timedelta(milliseconds=1)}})
        got: list[Any] = []
        scripted.processor(got.extend)
        assert scripted.drain().processed == 10
        assert got[0] == {"announce": True}

    def test_handlers_are_put_back(self) -> None:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.getsignal(number) for number in numbers]
        drain()
        assert [signal.getsignal(number) for number in numbers] == before

    def test_that_the_shell_ignores_is_ignored(
        self, watching: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.test_drain_buckets.COMMAND", ["nohup", *COMMAND])
        process = watching({"sleep": 0.3})
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: scripted.status().batches == 0)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0
