"""The network between the callers of a process and the server."""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.keys import Identity
from django_jsonbuffer.store.links import BLOCKING, Link
from django_jsonbuffer.store.scripts import Script
from tests.faults.judging import AppendCall, Violation
from tests.faults.turns import Tasks, Threads

if TYPE_CHECKING:
    from tests.faults.schedules import Schedule

PAUSE_SECONDS: Final = 0.05
"""How long a process waits before it sends an append again."""


class Wire:
    """The connections of a process. A call pauses on its way there and on its way back.

    A request or a reply may be lost. If the process is killed, its callers get an error that nobody
    hears.
    """

    def __init__(self, run: "Schedule", crew: Tasks | Threads) -> None:
        self._run = run
        self._crew = crew
        self._slept_seconds = 0.0
        self.is_alive = True
        self.sent: set[int] = set()
        """The events of all commands."""
        self.full: set[int] = set()
        """The events of appends for which alone the bucket had no room."""
        its = self._execute, self._sleep, BLOCKING.work
        self.alone = Link(partial(self._run_once, pauses=False), *its)
        """Does not pause."""
        self.link = Link(self._run_once, self._execute, self._pause, BLOCKING.work)

    def monotonic(self) -> float:
        return self._run.judge.true_time + self._slept_seconds

    async def _run_once(
        self,
        bucket: Identity,
        script: Script,
        keys: list[str],
        args: tuple[Any, ...],
        *,
        pauses: bool = True,
        **options: Any,
    ) -> Any:
        events, is_answered, answer = AppendCall.of(args).events, False, None
        is_group = self._run.grouping.note_call(events)
        self.sent |= {*events}
        try:
            answer = await self._answer(script, keys, args, pauses=pauses)
            is_answered = True
        except Violation as violation:
            self._run.grouping.violations.append(violation)
            raise
        finally:
            # After a refusal no other copy is under way. If there were one, it could still store.
            is_refused = is_answered and _is_refusal(answer)
            tally = self._run.grouping.tally
            tally["groups without an answer"] += is_group and not is_answered
            tally["groups that were refused"] += is_group and is_refused
            if not is_refused:
                self._run.store.sent.append((script, keys, args))
            elif not is_group:
                self.full |= {*events}
        if isinstance(answer, BufferUnavailable):
            raise answer
        return answer

    async def _answer(
        self, script: Script, keys: list[str], args: tuple[Any, ...], *, pauses: bool
    ) -> Any:
        """The reply or the refusal of the server, unless it is lost."""
        fate = self._run.grouping.fate()
        await self._under_way(pauses=pauses)
        if fate < 0.08:
            raise self._lost("request")
        answer = self._run.store.answer(script, keys, *args)
        await self._under_way(pauses=pauses)
        if fate < 0.2:
            raise self._lost("reply")
        return answer

    def _lost(self, what: str) -> BufferUnavailable:
        self._run.tell(f"    lost {what}")
        error = BufferUnavailable(f"lost {what}")
        error.may_be_done = True
        return error

    async def _under_way(self, *, pauses: bool) -> None:
        if pauses:
            await self._crew.pause()
        if not self.is_alive:
            raise BufferUnavailable("The process was killed.")

    async def _execute(self, *args: Any, **options: Any) -> None:
        """The catalog is not written by a script."""

    async def _pause(self, seconds: float) -> None:
        await self._crew.pause()
        await self._sleep(seconds)

    async def _sleep(self, seconds: float) -> None:
        self._slept_seconds += PAUSE_SECONDS


def _is_refusal(answer: Any) -> bool:
    return isinstance(answer, BufferUnavailable) or answer[0] in (b"full", b"large", b"overtaken")
