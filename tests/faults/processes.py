"""Processes of a schedule whose tasks or threads append at the same time, and so in groups.

The lines, trips and producers are those of the app. While a call is under way, other callers join
the line, callers are interrupted, and the process is killed.
"""

import asyncio
import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from django_jsonbuffer.appending import producers, task_lines, thread_lines, trips
from django_jsonbuffer.appending.groups import Append
from django_jsonbuffer.appending.lines import Lines
from django_jsonbuffer.appending.producers import Producer
from django_jsonbuffer.exceptions import (
    AppendUndecided,
    BucketFull,
    BufferUnavailable,
    StampOvertaken,
)
from django_jsonbuffer.stamps import Stamp
from tests.faults.judging import check
from tests.faults.turns import THREADING, Actor, Tasks, Threads, outcome_of
from tests.faults.wires import Wire

if TYPE_CHECKING:
    from tests.faults.schedules import Schedule

MOST_CALLERS: Final = 6
"""Most callers of one process at a time."""


@dataclass
class Caller:
    """A task or a thread that appends, or that finds out whether an append was stored."""

    events: list[int]
    actor: "asyncio.Task[Any] | Actor"
    undecided: AppendUndecided | None = None
    """The error that it retries."""


class Process:
    """A process with its producers, its line for the bucket, and the callers in it."""

    def __init__(self, run: "Schedule", *, has_threads: bool) -> None:
        self._run = run
        self._has_threads = has_threads
        self._crew: Any = Threads() if has_threads else Tasks()
        self._lines = Lines(thread_lines.Line)
        self._idle: list[Producer] = []
        self._settled: set[Stamp] = set()
        self._wire = Wire(run, self._crew)
        options = run.grouping.options
        self._append_timeout_seconds = options.append_timeout.total_seconds()
        self.callers: list[Caller] = []
        self.undecided: list[tuple[list[int], AppendUndecided]] = []

    @contextmanager
    def _running(self, *, is_alone: bool = False) -> Iterator[None]:
        """Let the modules of the app be those of this process."""
        time = SimpleNamespace(monotonic=self._wire.monotonic)
        pausing = self._wire.alone if is_alone else self._wire.link
        blocking = pausing if self._has_threads else self._wire.alone
        values = [
            (producers, "BLOCKING", blocking),
            (producers, "ASYNCIO", pausing),
            (thread_lines, "BLOCKING", blocking),
            (task_lines, "ASYNCIO", pausing),
            (thread_lines, "threading", THREADING),
            (thread_lines, "_lines", self._lines),
            (thread_lines, "LONGEST_WAIT_SECONDS", -self._append_timeout_seconds),
            *((module, "time", time) for module in (producers, trips, thread_lines, task_lines)),
        ]
        before = [(module, name, getattr(module, name)) for module, name, _ in values]
        idle = [*producers._idle]
        producers._idle[:] = self._idle
        try:
            for module, name, value in values:
                setattr(module, name, value)
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)
            self._idle, producers._idle[:] = [*producers._idle], idle
        for violation in self._run.grouping.violations:
            raise violation
        if self._wire.is_alive:
            self._conclude()

    def join(self) -> None:
        if len(self.callers) == MOST_CALLERS:
            return
        events = self._run.new_events()
        self._run.grouping.first_events.add(events[0])
        encoded = [str(number).encode() for number in events]
        size = sum(map(len, encoded)) + len(encoded)
        context = self._run.judge.contexts.of(events[0])
        append = Append(self._run.store, self._run.grouping.options, encoded, size, context=context)
        lines: Any = thread_lines if self._has_threads else task_lines
        with self._running():
            self._begin(partial(lines.failure_of, [append]), events)

    def _begin(
        self, call: Callable[[], Any], events: list[int], undecided: AppendUndecided | None = None
    ) -> None:
        self.callers.append(Caller(events, self._crew.begin(call), undecided))

    def go_on(self) -> bool:
        with self._running():
            return bool(self._crew.go_on(self._run.chance))

    def settle(self) -> None:
        """Retry an append of which nobody knows whether it is stored."""
        if not self.undecided:
            return
        events, error = self.undecided.pop(self._run.chance.randrange(len(self.undecided)))
        self._run.tell(f"  retry of {events} {error.stamp}")
        if self._run.chance.random() < 0.5 and len(self.callers) < MOST_CALLERS:
            with self._running():
                self._begin(error.retry if self._has_threads else error.aretry, events, error)
            return
        self._retry(events, error)

    def _retry(self, events: list[int], error: AppendUndecided) -> None:
        """Retry without a pause."""
        before = self._run.grouping.tally["calls"]
        failure: BaseException | None = None
        try:
            with self._running(is_alone=True):
                error.retry()
        except (BufferUnavailable, BucketFull) as raised:
            failure = raised
        is_sent = self._run.grouping.tally["calls"] > before
        check(not (is_sent and error.stamp in self._settled), "a group was settled twice")
        self._retried(events, error, failure)

    def interrupt(self) -> None:
        """Cancel a task, which may be the one that sends, or interrupt a thread that waits."""
        able: list[Any] = [caller.actor for caller in self.callers]
        if self._has_threads:
            able = [*self._crew.paused]
        elif lines := task_lines._lines.get(self._crew.loop):
            sender = lines[self._run.store.identity]._sender
            able += [sender] * len(able) if sender and not sender.done() else []
        if able:
            self._run.grouping.tally["interrupts"] += 1
            with self._running():
                self._crew.interrupt(self._run.chance.choice(able))

    def end_wait(self) -> None:
        """Let a thread wait no longer for the one that sends."""
        if self._has_threads:
            with self._running():
                self._run.grouping.tally["waits that ended"] += self._crew.end_wait(
                    self._run.chance
                )

    def kill(self) -> None:
        """End the process. What it has sent may still arrive."""
        self._run.grouping.tally["kills"] += bool(self.callers)
        self._wire.is_alive = False
        while self.go_on():
            pass
        self._crew.close()

    def become_copy_of(self, other: "Process") -> None:
        """Go on as a snapshot of another process, which goes on too. Its idle producers remain."""
        self._idle = [copy.copy(producer) for producer in other._idle]

    def finish(self) -> None:
        while self.go_on():
            pass
        check(not self.callers, "a caller waits for ever")

    def settle_all(self) -> None:
        """Without faults, a retry decides, unless the events do not fit or the stamp is copied."""
        undecided, self.undecided = self.undecided, []
        for events, error in undecided:
            self._retry(events, error)
        for _, error in self.undecided:
            its = BucketFull | StampOvertaken if self._run.grouping.has_copies else BucketFull
            check(isinstance(error.__cause__, its), f"a retry decided nothing: {error}")

    def _conclude(self) -> None:
        """Hear what the callers have got that are done."""
        done = [caller for caller in self.callers if caller.actor.done()]
        self.callers = [caller for caller in self.callers if caller not in done]
        for caller in done:
            outcome = outcome_of(caller.actor)
            self._run.tell(f"  {caller.events}: {outcome!r:.60}")
            if caller.undecided is not None:
                self._retried(caller.events, caller.undecided, outcome)
            else:
                self._appended(caller.events, outcome)

    def _appended(self, events: list[int], outcome: BaseException | None) -> None:
        judge = self._run.judge
        if outcome is None:
            self._run.confirm(events)
        elif isinstance(outcome, AppendUndecided):
            self.undecided.append((events, outcome))
        elif isinstance(outcome, asyncio.CancelledError | KeyboardInterrupt):
            if self._wire.sent.isdisjoint(events):
                judge.refused |= {*events}
        else:
            check(isinstance(outcome, BufferUnavailable | BucketFull), f"a caller got {outcome!r}")
            is_its_own = not isinstance(outcome, BucketFull) or events[0] in self._wire.full
            check(is_its_own, "a caller was refused for the events of others")
            check(judge.past.events.isdisjoint(events), "what was refused is stored")
            judge.refused |= {*events}

    def _retried(
        self, events: list[int], error: AppendUndecided, outcome: BaseException | None
    ) -> None:
        self._run.grouping.tally["retries"] += 1
        if error.stamp is None:
            self._appended(events, outcome)  # what the other thread has got
        elif outcome is None:
            self._settled.add(error.stamp)
            self._run.confirm(events)
        elif isinstance(outcome, AppendUndecided):
            self.undecided.append((events, outcome))
        elif isinstance(outcome, asyncio.CancelledError | KeyboardInterrupt):
            self.undecided.append((events, error))
        else:
            # Another process has the same producers, so that a retry could store twice.
            is_refused = isinstance(outcome, BufferUnavailable) and self._run.grouping.has_copies
            check(is_refused, f"a retry raised {outcome!r}")
