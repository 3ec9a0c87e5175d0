"""Worker processes, and turns of events that they handle."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import IO, Final

from benchmarks import tally
from example_project.guard import GuardedProcess

TURN_SECONDS: Final = 60
"""Timeout of a turn, which takes a few seconds."""


class WorkerFailed(Exception):
    """A worker has died, or has not handled exactly the events that were put in."""


@dataclass(frozen=True, slots=True)
class Worker:
    command: str
    process: GuardedProcess
    output: IO[bytes]

    def turn(self, put_all: Callable[[], object], *, events: int) -> float:
        """The microseconds per event, from before the first is put in until the last is handled.

        Raises :class:`WorkerFailed` with the output of the worker.
        """
        tally.expect(events)
        began = perf_counter()
        put_all()
        self._wait(events)
        return (perf_counter() - began) / events * 1e6

    def _wait(self, events: int) -> None:
        deadline = monotonic() + TURN_SECONDS
        while (handled := tally.wait(seconds=1)) is None:
            if self.process.poll() is not None:
                raise self._failed("has ended")
            if monotonic() > deadline:
                raise self._failed(f"has not handled {events:,} events in {TURN_SECONDS} s")
        if handled != events:
            raise self._failed(f"has handled {handled:,} events of {events:,}")

    def _failed(self, what: str) -> WorkerFailed:
        self.output.seek(0)
        said = self.output.read().decode(errors="replace").strip() or "nothing"
        return WorkerFailed(f"{self.command} {what}. It said: {said}")


@contextmanager
def started(*command: str) -> Iterator[Worker]:
    """Start `python -m COMMAND` as a worker. It ends with the block."""
    with (
        tempfile.TemporaryFile() as output,
        GuardedProcess([sys.executable, "-m", *command], output=output) as process,
    ):
        yield Worker(" ".join(command), process, output)
