"""Tasks and threads that run one at a time, each until its next pause.

They pause where they wait for the network. A thread also pauses where it waits for a lock that is
not free. A schedule decides which of them goes on, so that a seed determines how they alternate.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, Final

_TURNS: Final = 10
"""Turns of the loop until all tasks pause. One answer passes through fewer tasks."""


class Tasks:
    """The tasks of a process, which has an event loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda *_: None)
        self._paused: list[asyncio.Future[None]] = []

    async def pause(self) -> None:
        future = self.loop.create_future()
        self._paused.append(future)
        try:
            await future
        finally:
            if future in self._paused:
                self._paused.remove(future)

    def begin(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> "asyncio.Task[Any]":
        task = self.loop.create_task(call())
        self._run()
        return task

    def go_on(self, chance: random.Random) -> bool:
        """Let one of those that pause go on. False if none can."""
        if self._paused:
            future = chance.choice(self._paused)
            self._paused.remove(future)
            future.set_result(None)
            self._run()
            return True
        return False

    def interrupt(self, task: "asyncio.Task[Any]") -> None:
        task.cancel()
        self._run()

    def close(self) -> None:
        self.loop.close()

    def _run(self) -> None:
        for _ in range(_TURNS):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()


def outcome_of(task: "asyncio.Task[Any] | Actor") -> Any:
    """The result, or the exception."""
    try:
        return task.result()
    except BaseException as error:  # noqa: BLE001
        return error


class Actor(threading.Thread):
    """A thread that runs only while another one waits for it."""

    def __init__(self, call: Callable[[], Any], threads: "Threads") -> None:
        super().__init__(daemon=True)
        self._call = call
        self._threads = threads
        self._turn = threading.Semaphore(0)
        self._is_over = False
        self._interrupt: BaseException | None = None
        self._outcome: Any = None
        self.awaited: Lock | None = None
        """The lock that the thread waits for."""
        self.has_timeout = False
        """Whether it stops waiting after some time."""
        self._is_timed_out = False

    def run(self) -> None:
        self._turn.acquire()
        try:
            self._outcome = self._call()
        except BaseException as error:  # noqa: BLE001
            self._outcome = error
        self._is_over = True
        self._threads.turn.release()

    def done(self) -> bool:
        return self._is_over

    def result(self) -> Any:
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def pause(self, awaited: "Lock | None" = None, *, has_timeout: bool = False) -> bool:
        """False if the timeout is over."""
        self.awaited, self.has_timeout = awaited, has_timeout
        self._threads.paused.append(self)
        self._threads.turn.release()
        self._turn.acquire()
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None:
            raise interrupt
        return not self._is_timed_out

    def go_on(self, interrupt: BaseException | None = None, *, is_timed_out: bool = False) -> None:
        """Run until the next pause. Called by the thread of the schedule."""
        self._interrupt, self._is_timed_out = interrupt, is_timed_out
        self._turn.release()
        self._threads.turn.acquire()
        if self._is_over:
            self.join()


class Lock:
    """A lock of threads that run one at a time. It need not be safe, but lets them pause."""

    def __init__(self) -> None:
        self._is_locked = False

    def locked(self) -> bool:
        return self._is_locked

    def acquire(self, timeout: float = -1) -> bool:
        while self._is_locked:
            actor = threading.current_thread()
            assert isinstance(actor, Actor)
            if not actor.pause(self, has_timeout=timeout >= 0):
                return False
        self._is_locked = True
        return True

    def release(self) -> None:
        assert self._is_locked
        self._is_locked = False

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()


THREADING: Final = SimpleNamespace(
    Lock=Lock,
    TIMEOUT_MAX=threading.TIMEOUT_MAX,
    get_ident=threading.get_ident,
    main_thread=threading.main_thread,
)
"""What takes the place of the module `threading`."""


class Threads:
    """The threads of a process."""

    def __init__(self) -> None:
        self.turn = threading.Semaphore(0)
        self.paused: list[Actor] = []

    async def pause(self) -> None:
        actor = threading.current_thread()
        assert isinstance(actor, Actor)
        actor.pause()

    def begin(self, call: Callable[[], Any]) -> Actor:
        actor = Actor(call, self)
        actor.start()
        actor.go_on()
        return actor

    def go_on(self, chance: random.Random) -> bool:
        """Let one of those that pause go on. False if none can."""
        able = [one for one in self.paused if not (one.awaited and one.awaited.locked())]
        if able:
            actor = chance.choice(able)
            self.paused.remove(actor)
            actor.go_on()
        return bool(able)

    def close(self) -> None:
        """Nothing is left when all threads are over."""

    def interrupt(self, actor: Actor) -> None:
        self.paused.remove(actor)
        actor.go_on(KeyboardInterrupt())

    def end_wait(self, chance: random.Random) -> bool:
        """Let the wait of a thread be over. False if none has a timeout."""
        able = [one for one in self.paused if one.awaited and one.has_timeout]
        if able:
            actor = chance.choice(able)
            self.paused.remove(actor)
            actor.go_on(is_timed_out=True)
        return bool(able)
