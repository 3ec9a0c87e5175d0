import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.contrib.celery import beat_schedule
from tests.server import Redis
from tests.test_drain_buckets import environment, seen, wait_for

ROOT = Path(__file__).parent.parent.parent.parent
APP = "tests.projects.engines.celery_app"
SETTINGS = "tests.projects.engines.settings"
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a Celery worker in a process group of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "celery", "-A", APP, "worker", "--loglevel=INFO"]
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--without-gossip", "--without-mingle", *options],
                env=environment(DJANGO_SETTINGS_MODULE=SETTINGS, PYTHONPATH=str(ROOT)),
                stdout=log,
                stderr=log,
                cwd=tmp_path,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_worker_that_is_killed_in_mid_batch_loses_nothing(
    start: Start, client_of_server: Redis, tmp_path: Path
) -> None:
    hooks = Bucket("hooks", batch_size=5)  # declared only for the workers
    events = [*range(4), "hang", "slow", *range(6, 20)]
    hooks.extend(events)
    doomed = start("--pool=solo", "--beat")
    wait_for(lambda: "hangs" in seen(client_of_server))
    assert hooks.status().in_flight == 5
    os.killpg(doomed.pid, signal.SIGKILL)
    doomed.wait()
    worker = start("--concurrency=2", "--beat")
    wait_for(lambda: len(seen(client_of_server)) > 20)
    assert sorted(seen(client_of_server), key=str) == sorted([*events, "hangs"], key=str)
    worker.terminate()
    assert worker.wait(60) == 0
    assert hooks.status().in_flight == 0
    assert "SoftTimeLimitExceeded" not in (tmp_path / "log").read_text()


def test_schedule_passes_arguments_on() -> None:
    [entry] = beat_schedule(every_seconds=3, max_seconds=9).values()
    assert entry == {
        "task": "django_jsonbuffer.drain_buckets",
        "schedule": 3,
        "kwargs": {"max_seconds": 9},
        "options": {"expires": 3},
    }
