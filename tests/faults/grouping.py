"""Groups in a schedule: steps of processes in which several callers append at the same time."""

from collections import Counter
from typing import TYPE_CHECKING, Final

from django_jsonbuffer.options import Options
from tests.faults.judging import Violation
from tests.faults.processes import Process

if TYPE_CHECKING:
    from tests.faults.schedules import Schedule

STEPS: Final = {
    "join": 40,
    "go_on": 110,
    "settle": 14,
    "interrupt": 10,
    "end_wait": 6,
    "cut": 5,
    "clone_process": 3,
    "kill": 2,
}
"""The steps of groups, and how likely each is."""


class Grouping:
    """The processes of a schedule in which several callers append at the same time."""

    def __init__(self, run: "Schedule", options: Options) -> None:
        self._run = run
        self.options = options
        self.first_events: set[int] = set()
        """The first event of each append."""
        self.tally: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self.has_copies = False
        """Whether two processes have had the same producers."""
        self._cuts = 0
        """How many of the next commands are lost."""
        self._processes: list[Process] = []

    def begin(self) -> None:
        self._processes = [self._new_process(), self._new_process()]

    def step(self, what: str) -> None:
        process = self._run.chance.choice(self._processes)
        if what == "join":
            for _ in range(self._run.chance.choice([1, 2, 3])):
                process.join()
        elif what == "cut":
            self._cuts = 4
        elif what in ("kill", "clone_process"):
            at = self._processes.index(process)
            process.kill()
            self._processes[at] = self._new_process()
            if what == "clone_process":
                self.has_copies = True
                self._processes[at].become_copy_of(self._processes[1 - at])
        else:
            getattr(process, what)()

    def _new_process(self) -> Process:
        return Process(self._run, has_threads=self._run.chance.random() < 0.5)

    def fate(self) -> float:
        """See :meth:`Network.fate`."""
        fate = self._run.store.fate()
        if self._cuts and fate < 1:
            self._cuts -= 1
            return fate / 5
        return fate

    def note_call(self, events: list[int]) -> bool:
        """Count a call. Returns whether it has the events of several appends."""
        self.tally["calls"] += 1
        self.tally["groups"] += self._is_group(events)
        return self._is_group(events)

    def note_late_copy(self, events: list[int]) -> None:
        self.tally["late copies of groups"] += self._is_group(events)

    def _is_group(self, events: list[int]) -> bool:
        return len(self.first_events.intersection(events)) > 1

    def finish(self) -> None:
        for process in self._processes:
            process.finish()

    def settle(self) -> None:
        for process in self._processes:
            process.settle_all()

    def close(self) -> None:
        self.violations.clear()
        for process in self._processes:
            process.kill()
