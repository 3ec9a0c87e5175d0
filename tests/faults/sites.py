"""A project that runs in a faked time: its server, its workers and its endpoint."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import redis

from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from example_project.embedded_redis import EmbeddedRedis
from tests.server import Redis

Start: TypeAlias = Callable[..., AbstractContextManager["Site"]]

LIBRARIES = "*/faketime/libfaketimeMT.so.1"
SOURCE = Path(__file__).with_name("semaphores.c")


class Clock:
    """A faked time, at a rate of its own. The clock of the server can be set, as a machine's can.

    The monotonic clock of the workers goes at the same rate.
    """

    def __init__(self, folder: Path, *, rate: int) -> None:
        self.rate = rate
        self._file = folder / "clock"
        self._faketime = _faketime()
        self._semaphores = folder / "semaphores.so"
        self.set(0)

    def set(self, seconds: int) -> None:
        """Set the clock of the server to that many seconds before or after the faked time."""
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{seconds:+d} x{self.rate}\n")
        draft.replace(self._file)

    def of_server(self) -> dict[str, str]:
        """The environment of the server."""
        return {
            "LD_PRELOAD": self._faketime,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def of_worker(self) -> dict[str, str]:
        """The environment of a worker."""
        if self.rate == 1:
            return {}
        if not self._semaphores.exists():
            command = ["cc", "-shared", "-fPIC", "-o", str(self._semaphores), str(SOURCE)]
            subprocess.run(command, check=True)
        return {
            "LD_PRELOAD": f"{self._faketime} {self._semaphores}",
            "FAKETIME": f"+0 x{self.rate}",
        }


class Site:
    """The project, its server and its workers. Use :func:`site`."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        server: EmbeddedRedis,
        *,
        post: str | None = None,
        **options: Any,
    ) -> None:
        self.clock = clock
        self.bucket = Bucket("failing", batch_size=options.get("batch_size", 1000))
        self.workers: list[subprocess.Popen[str]] = []
        self.plain: Redis = redis.Redis.from_url(server.url)
        self._journal = folder / "journal"
        self._journal.touch()
        self._endpoint = folder / "endpoint"
        self._environment = {
            **os.environ,
            **clock.of_worker(),
            "DJANGO_SETTINGS_MODULE": "tests.faults.failing_site.settings",
            "SITE_URL": server.url,
            "SITE_PREFIX": configuration().prefix,
            "SITE_OPTIONS": json.dumps(options),
            "SITE_JOURNAL": str(self._journal),
            "SITE_ENDPOINT": str(self._endpoint),
            "SITE_POST": post or "",
        }
        self.serve()

    def serve(self, *errors: str, seconds: float = 0, from_call: int = 1) -> None:
        """The endpoint works, and takes that long for a batch. Or it raises one of these errors,
        from this call of a worker on.
        """
        state = {"errors": errors, "seconds": seconds, "from_call": from_call}
        draft = self._endpoint.with_suffix(".new")
        draft.write_text(json.dumps(state))
        draft.replace(self._endpoint)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a worker: drain_buckets --watch, or with the given arguments."""
        worker = subprocess.Popen(
            [sys.executable, "manage.py", "drain_buckets", "failing", *(arguments or ["--watch"])],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.workers.append(worker)
        return worker

    def start_many(self, count: int) -> None:
        """Start workers, and return when each has written a heartbeat."""
        for _ in range(count):
            self.start()
        wait_until(lambda: self.bucket.status().workers >= count)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self.clock.rate)

    def calls(self) -> list[dict[str, Any]]:
        """The calls of the processor."""
        return [line for line in self._lines() if line["kind"] == "call"]

    def logs(self) -> list[str]:
        """What was logged at WARNING and above."""
        return [line["text"] for line in self._lines() if line["kind"] == "log"]

    def done(self) -> list[int]:
        """The events that were processed, as often as they were."""
        return [n for call in self.calls() if call["outcome"] == "done" for n in call["events"]]

    def dead(self) -> list[int]:
        letters = (letter.event for letter in self.bucket.dead)
        return sorted(event if isinstance(event, int) else event[0] for event in letters)

    def wait_for(self, processed: int, *, seconds: float = 120) -> float:
        """Wait until that many events are processed. Returns how long it took by the faked time."""
        return self._wait(lambda: self.bucket.status().processed >= processed, seconds)

    def wait_for_calls(self, count: int, *, seconds: float = 60) -> float:
        """Wait until the processor was called that often. Returns how long it took."""
        return self._wait(lambda: len(self.calls()) >= count, seconds)

    def wait_until_empty(self, *, seconds: float = 300) -> None:
        """Wait until each event is processed or buried."""
        wait_until(lambda: not self.bucket.status().batches, seconds=seconds)

    def let_others_come(self, first: int) -> None:
        """Append one event after the other, from this number on, until the bad ones are buried."""
        for number in range(first, first + 1000):
            self.bucket.append(number)
            self.sleep(10)
            if not self.bucket.status().batches:
                return
        raise AssertionError("bad events are left for ever")

    def check(self, total: int, *, bad: AbstractSet[int] = frozenset()) -> None:
        """Each good event was processed once, and none of them is a dead letter."""
        assert sorted(self.done()) == sorted(set(range(total)) - bad)
        assert bad >= set(self.dead())

    def supervise(self, is_over: Callable[[], bool]) -> int:
        """Start a worker each time that one has ended because its processor hangs, as a supervisor
        does. Returns how often one has ended.
        """
        while not is_over():
            if self.workers and self.workers[-1].poll() is None:
                time.sleep(0.02)
                continue
            assert not self.workers or self.workers[-1].returncode == 4
            self.start()
        return len(self.workers) - 1

    def end(self) -> None:
        for worker in self.workers:
            with suppress(ProcessLookupError):
                worker.send_signal(signal.SIGKILL)
            worker.communicate()
        self.plain.close()

    def _wait(self, is_so: Callable[[], bool], seconds: float) -> float:
        began = time.monotonic()
        wait_until(is_so, seconds=seconds)
        return (time.monotonic() - began) * self.clock.rate

    def _lines(self) -> list[dict[str, Any]]:
        with self._journal.open() as file:
            return [json.loads(line) for line in file if line.endswith("\n")]


@contextmanager
def site(
    folder: Path, use_cache: Callable[..., str], *, rate: int = 1, **options: Any
) -> Iterator[Site]:
    """A server and an endpoint in a faked time. All its processes end with the block.

    The endpoint is a file, or the HTTP server with the URL `post` among the options.
    """
    clock = Clock(folder, rate=rate)
    server = EmbeddedRedis()
    own = {name: os.environ.get(name) for name in [*clock.of_server(), "REDIS_SERVER"]}
    os.environ.pop("REDIS_SERVER", None)
    os.environ.update(clock.of_server())
    try:
        server.start()
    finally:
        for name, value in own.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    use_cache(server.url)
    running = Site(folder, clock, server, **options)
    try:
        yield running
    finally:
        running.end()
        server.stop()


def wait_until(is_so: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "this has not come to pass"
        time.sleep(0.01)


def _faketime() -> str:
    found: Sequence[Path] = sorted(Path("/usr/lib").glob(LIBRARIES))
    if not found:
        raise FileNotFoundError("These tests need libfaketime: apt-get install faketime")
    return str(found[0])
