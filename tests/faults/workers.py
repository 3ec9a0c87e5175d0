"""Worker processes that tests start, stop and kill by the hundred."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, Self, cast

from django_jsonbuffer import Bucket
from tests import server
from tests.faults import nursery
from tests.test_drain_buckets import environment


class Line(NamedTuple):
    """One line of the journal, written by a worker."""

    worker: int
    kind: str
    """``begun`` or ``done``, of a batch, or ``said``, of a warning that was logged."""

    batch: str = ""
    attempt: int = 0
    events: tuple[int, ...] = ()
    text: str = ""


class Workers:
    """The workers of one test, and their journal.

    A context manager that kills all that are left at its end, stopped ones too.
    """

    def __init__(
        self,
        folder: Path,
        processor: str,
        *,
        database: Path | None = None,
        clock_seconds: int = 0,
        redis_url: str = server.APP_URL,
        **options: Any,
    ) -> None:
        self.journal = folder / "journal"
        self.database = database or folder / "sink.sqlite3"
        """The file of a SQLite database, or the folder of a PostgreSQL server."""
        self.running: list[int] = []
        self._command = [sys.executable, "-m", nursery.__name__, processor]
        self._environment = {
            **environment(),
            "REDIS_APP_URL": redis_url,
            "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
            "FAULTS_OPTIONS": json.dumps(options),
            nursery.CLOCK: str(clock_seconds),
            "FAULTS_DB": str(self.database),
            nursery.JOURNAL: str(self.journal),
        }

    def __enter__(self) -> Self:
        self.journal.parent.mkdir(exist_ok=True)
        self.journal.touch()
        self._nursery = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        for stream in (self._nursery.stdin, self._nursery.stdout):
            cast(IO[str], stream).close()
        with suppress(ProcessLookupError):
            os.killpg(self._nursery.pid, signal.SIGKILL)
        self._nursery.wait()

    def start(self) -> int:
        """Start another worker. Returns its process id."""
        self.running.append(self._ask("start"))
        return self.running[-1]

    def wait(self, worker: int) -> int:
        """Wait until the worker has ended. Returns its exit code; negative for a signal."""
        self.running.remove(worker)
        return self._ask(f"wait {worker}")

    def has_ended(self, worker: int) -> bool:
        return bool(self._ask(f"ended {worker}"))

    def kill(self, worker: int) -> None:
        os.kill(worker, signal.SIGKILL)
        self.wait(worker)

    def lines(self) -> list[Line]:
        """The journal so far."""
        with self.journal.open() as file:
            return [Line(*json.loads(line)) for line in file if line.endswith("\n")]

    def wait_for(
        self, kind: str, *, event: int | None = None, worker: int | None = None, text: str = ""
    ) -> Line:
        """Wait half a minute at most for a line like this in the journal. Returns the first."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for line in self.lines():
                if (
                    line.kind == kind
                    and event in (None, *line.events)
                    and worker in (None, line.worker)
                    and text in line.text
                ):
                    return line
            time.sleep(0.002)
        raise TimeoutError("no worker has written that")

    def _ask(self, question: str) -> int:
        print(question, file=self._nursery.stdin, flush=True)
        return int(cast(IO[str], self._nursery.stdout).readline())


class Seen:
    """A summary of the journal, by event."""

    def __init__(self, lines: list[Line]) -> None:
        done = [line for line in lines if line.kind == "done"]
        self.counts = Counter(event for line in done for event in line.events)
        self.batches: dict[int, set[str]] = defaultdict(set)
        """For each event, the ids of the batches that it came in."""
        for line in done:
            for event in line.events:
                self.batches[event].add(line.batch)
        self.deliveries = Counter(line.batch for line in done)
        self.said = [line.text for line in lines if line.kind == "said"]

    @property
    def repeated(self) -> set[int]:
        return {event for event, count in self.counts.items() if count > 1}


def wait_until_drained(bucket: Bucket, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while bucket.status().batches:
        assert time.monotonic() < deadline, bucket.status()
        time.sleep(0.01)
