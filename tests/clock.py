"""A Redis server whose clock a test can set, by means of libfaketime."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from glob import glob
from pathlib import Path

import pytest
import redis

from example_project.embedded_redis import EmbeddedRedis
from tests.server import Redis

LIBRARIES = (
    *("/usr/lib/*/faketime/libfaketime.so.*", "/usr/lib*/faketime/libfaketime.so.*"),
    "/usr/local/lib/faketime/libfaketime.so.*",
)
_ALLOCATOR = "libc.so.6"
"""libfaketime does not work with jemalloc. So the server must find the malloc of libc first."""


class Clock:
    """The clock of a server. It goes on from the time to which it is set, or it stands still."""

    def __init__(self, file: Path, plain: Redis) -> None:
        self._file = file
        self._plain = plain
        self._offset = timedelta(0)
        self._stopped_at: datetime | None = None

    def step(self, by: timedelta) -> None:
        """Set the clock, relative to the time that it shows."""
        if self._stopped_at is not None:
            self.stop(self._stopped_at + by)
            return
        self._offset += by
        write(self._file, f"{self._offset.total_seconds():+.3f}")
        while not -0.01 < self._ahead().total_seconds() < 0.01:
            pass  # the server looks at its clock about every 0.5 ms

    def stop(self, at: datetime) -> None:
        """Let the clock show this time, of which a whole number of milliseconds counts.

        A multiple of 125 ms is exact. Of another time, a reading may be a millisecond less.
        """
        self._stopped_at = at
        write(self._file, f"{at:%Y-%m-%d %H:%M:%S.%f}"[:-3])
        while not timedelta(0) <= self._shown() - at < timedelta(milliseconds=1):
            pass

    def _ahead(self) -> timedelta:
        """How far the clock is ahead of the time to which it was set."""
        return self._shown() - datetime.now(UTC) - self._offset

    def _shown(self) -> datetime:
        seconds, microseconds = self._plain.time()
        return datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(microseconds))


def write(file: Path, text: str) -> None:
    """Write the file that libfaketime reads at any moment, so that it is always whole."""
    whole = file.with_suffix(".whole")
    whole.write_text(f"{text}\n")
    whole.rename(file)


@contextmanager
def server_with_clock(*server_args: str) -> Iterator[tuple[EmbeddedRedis, Clock]]:
    """A server, and its clock."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        file = Path(folder, "clock")
        write(file, "+0")
        environment.setenv("LD_PRELOAD", f"{_library()} {_ALLOCATOR}")
        environment.setenv("FAKETIME_TIMESTAMP_FILE", str(file))
        environment.setenv("FAKETIME_NO_CACHE", "1")
        environment.setenv("TZ", "UTC")
        # The timers of the server go on while its clock is set.
        environment.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        embedded = EmbeddedRedis(*server_args).start()
        environment.undo()
        try:
            with redis.Redis.from_url(embedded.url) as plain:
                yield embedded, Clock(file, plain)
        finally:
            embedded.stop()


def _library() -> str:
    for pattern in LIBRARIES:
        for found in glob(pattern):
            return found
    raise RuntimeError("libfaketime is not installed: apt-get install faketime")
