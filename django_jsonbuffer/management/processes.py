"""Several processes that run one command, and their parent, which starts those that die again.

The children are new Python processes, not forks: they have no connections and no threads of the
parent. Each of them ends when the parent has died.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Final

from django.core.management import execute_from_command_line

from django_jsonbuffer.draining.stop import Stop

from .stop_signals import AT_ONCE

_POLL_SECONDS: Final = 0.2
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 60.0
"""A process that has lived so long starts again after the first, short pause."""

_LONGEST_END_SECONDS: Final = 20.0
"""How long a process may take to end after it was told to stop at once."""


@dataclass(slots=True)
class _Child:
    """One of the processes, and its successors."""

    number: int
    process: SpawnProcess | None = None
    starts_at: float = 0.0
    """When it starts again, on the monotonic clock."""
    pause_seconds: float = _FIRST_PAUSE_SECONDS


class Processes:
    """Child processes that run a command with given arguments. A context manager.

    `arguments` is called with the number of the process before each start. `is_final` is called
    with an exit code. It returns whether the process has ended by itself, and is not started again.
    """

    def __init__(
        self,
        count: int,
        *,
        command: str,
        arguments: Callable[[int], Sequence[str]],
        is_final: Callable[[int], bool],
        report: Callable[[str], object],
        complain: Callable[[str], object],
    ) -> None:
        self.exit_codes: set[int] = set()
        """How the processes have ended that were not started again. A signal is negative."""
        self.deaths = 0
        """How often a process has ended that was started again."""
        self._children = [_Child(number) for number in range(1, count + 1)]
        self._command = command
        self._arguments = arguments
        self._is_final = is_final
        self._report = report
        self._complain = complain

    def run(self, stop: Stop) -> None:
        """Start the processes, and return when all have ended.

        If a stop is asked for, they finish their batches. A ``KeyboardInterrupt`` lets them stop at
        once, and is raised again when they have ended.
        """
        try:
            self._run(stop)
        except BaseException:
            self._end_at_once()
            raise

    def _run(self, stop: Stop) -> None:
        is_told = False
        while self._children:
            if stop.is_set and not is_told:
                self._children = [child for child in self._children if child.process is not None]
                self._send(signal.SIGTERM)
                is_told = True
            for child in [*self._children]:
                if child.process is None and child.starts_at <= time.monotonic():
                    self._start(child)
                elif child.process is not None and child.process.exitcode is not None:
                    self._note_end(child, child.process.exitcode, is_stopping=stop.is_set)
            self._wait()

    def _start(self, child: _Child) -> None:
        process = multiprocessing.get_context("spawn").Process(
            target=_work,
            args=[self._command, *self._arguments(child.number)],
            name=f"{self._command} {child.number}",
        )
        process.start()
        child.process, child.starts_at = process, time.monotonic()
        self._report(f"Process {child.number} has the id {process.pid}.")

    def _wait(self) -> None:
        """Wait a little, but not longer than until a process ends."""
        sentinels = [child.process.sentinel for child in self._children if child.process]
        if sentinels:
            connection.wait(sentinels, timeout=_POLL_SECONDS)
        elif self._children:
            time.sleep(_POLL_SECONDS)

    def _note_end(self, child: _Child, code: int, *, is_stopping: bool) -> None:
        if is_stopping and code == -signal.SIGTERM:
            code = 0  # it had not begun to drain, or else it would have finished its batch
        text = f"Process {child.number} {_describe_end(code)}."
        if is_stopping or self._is_final(code):
            self._children.remove(child)
            self.exit_codes.add(code)
            if code:
                self._complain(text)
            return
        self.deaths += 1
        if time.monotonic() - child.starts_at > _STEADY_SECONDS:
            child.pause_seconds = _FIRST_PAUSE_SECONDS
        self._complain(f"{text} It starts again in {child.pause_seconds:g} s.")
        child.process, child.starts_at = None, time.monotonic() + child.pause_seconds
        child.pause_seconds = min(2 * child.pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _end_at_once(self) -> None:
        self._send(AT_ONCE or signal.SIGTERM)
        deadline = time.monotonic() + _LONGEST_END_SECONDS
        for child in self._children:
            if child.process is not None:
                child.process.join(max(0, deadline - time.monotonic()))
                if child.process.exitcode is None:
                    child.process.kill()

    def _send(self, number: int) -> None:
        for child in self._children:
            # The id of a process that has ended stays taken until its exit code is read.
            process = child.process
            if process is not None and process.pid is not None and process.exitcode is None:
                os.kill(process.pid, number)


def _describe_end(code: int) -> str:
    if code >= 0:
        return f"has ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _work(command: str, *arguments: str) -> None:
    """Run the command: the target of a child."""
    # Ctrl-C in a terminal reaches all processes. The parent passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="watches the parent", daemon=True).start()
    execute_from_command_line(["manage.py", command, *arguments])


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
