"""Callers that append to several targets, one event after the other, while a cluster has faults."""

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, Final, NamedTuple, Self

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable
from tests.faults.appending import PATIENCE_SECONDS
from tests.faults.scale import scale

CALLERS: Final = scale(full=8, short=3)
"""Of each target."""

CALLS: Final = scale(full=500, short=40)
"""Appends to each target before and after a fault."""

Event = Sequence[Any]
"""The name of the target, the number of the caller, and that of its call."""


class Target(NamedTuple):
    """A bucket, or the shard of a bucket that an ordering key chooses."""

    name: str
    bucket: Bucket
    ordering_key: str | None = None

    goes_anywhere: bool = False
    """Whether an append may go to any shard. Then its caller leaves an undecided append to the end,
    and goes on with the next one."""


class Load:
    """Appends to the targets until the end of the block."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self.confirmed: Counter[tuple[str, int]] = Counter()
        """Appends that have succeeded, by target and caller."""
        self.errors: Counter[str] = Counter()
        self.slowest_seconds: defaultdict[str, float] = defaultdict(float)
        """The longest time until an append was confirmed, or left to the end."""
        self._targets = targets
        self._is_over = False

    def count(self, target: Target) -> int:
        return sum(self.confirmed[target.name, caller] for caller in range(CALLERS))

    def slowest(self, *targets: Target) -> str:
        return f"{max(self.slowest_seconds[target.name] for target in targets):.2f} s"

    def wait_for_more(self, *targets: Target) -> None:
        """Wait until more events are confirmed to each of the targets."""
        enough = {target: self.count(target) + CALLS for target in targets}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(self.count(target) < enough[target] for target in targets):
            assert time.monotonic() < deadline, "there were no more events within a minute"
            time.sleep(0.05)

    def check(self, target: Target, events: Sequence[Event], *, may_lose: bool = False) -> int:
        """Each event of the target must be among these once, in order. Returns the losses."""
        own = [(caller, number) for name, caller, number in events if name == target.name]
        assert len({*own}) == len(own)
        for caller in range(CALLERS):
            numbers = [number for each, number in own if each == caller]
            if target.goes_anywhere:
                numbers.sort()
            assert numbers == sorted(numbers)
            if not may_lose:
                assert numbers == [*range(self.confirmed[target.name, caller])]
        return self.count(target) - len(own)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._is_over = True
        self._thread.join()

    def _run(self) -> None:
        raise NotImplementedError

    def _numbers(self) -> Iterator[int]:
        for number in count():
            if self._is_over:
                return
            yield number

    @contextmanager
    def _watching(self, target: Target) -> Iterator[None]:
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        self.slowest_seconds[target.name] = max(self.slowest_seconds[target.name], seconds)


class Threads(Load):
    def _run(self) -> None:
        threads = [
            threading.Thread(target=self._call, args=(target, caller))
            for target in self._targets
            for caller in range(CALLERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _call(self, target: Target, caller: int) -> None:
        left: list[Callable[[], object]] = []
        for number in self._numbers():
            event = [target.name, caller, number]
            append = partial(target.bucket.append, event, ordering_key=target.ordering_key)
            with self._watching(target):
                undecided = self._settle(target, append, leaves=target.goes_anywhere)
            if undecided is None:
                self.confirmed[target.name, caller] += 1
            else:
                left.append(undecided.retry)
        for retry in left:
            self._settle(target, retry)
            self.confirmed[target.name, caller] += 1

    def _settle(
        self, target: Target, append: Callable[[], object], *, leaves: bool = False
    ) -> AppendUndecided | None:
        """Append until it is confirmed, or until it is undecided if the caller `leaves` it."""
        while True:
            try:
                append()
                return None
            except AppendUndecided as undecided:
                append = undecided.retry
                if leaves:
                    return undecided
            except BufferUnavailable:
                time.sleep(0.01)  # nothing was written, so the same call is repeated
            self.errors[target.name] += 1


class Tasks(Load):
    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        callers = [(target, caller) for target in self._targets for caller in range(CALLERS)]
        await asyncio.gather(*(self._call(target, caller) for target, caller in callers))

    async def _call(self, target: Target, caller: int) -> None:
        left: list[Callable[[], Any]] = []
        for number in self._numbers():
            event = [target.name, caller, number]
            append = partial(target.bucket.aappend, event, ordering_key=target.ordering_key)
            with self._watching(target):
                undecided = await self._settle(target, append, leaves=target.goes_anywhere)
            if undecided is None:
                self.confirmed[target.name, caller] += 1
            else:
                left.append(undecided.aretry)
        for retry in left:
            await self._settle(target, retry)
            self.confirmed[target.name, caller] += 1

    async def _settle(
        self, target: Target, append: Callable[[], Any], *, leaves: bool = False
    ) -> AppendUndecided | None:
        while True:
            try:
                await append()
                return None
            except AppendUndecided as undecided:
                append = undecided.aretry
                if leaves:
                    return undecided
            except BufferUnavailable:
                await asyncio.sleep(0.01)
            self.errors[target.name] += 1
