"""Groups of appends whose connection breaks, of tasks and of threads.

Each append has one of three outcomes. It is confirmed. Or it fails, and nothing is stored. Or it is
undecided, and a retry settles it. Events are stored once, in the order of their calls.
"""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, Final

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable
from django_jsonbuffer.store.breakers import breakers
from tests.faults.appending import PATIENCE_SECONDS, settle, stored
from tests.faults.conftest import Proxied
from tests.faults.proxy import Cut, Fault, Hold, Part, at_number, at_random
from tests.faults.scale import report, scale
from tests.threads import at_once

STEPS: Final = {
    "django-redis": 1,
    "Redis": scale(full=1, short=13),
    "RedisCluster": scale(full=1, short=40),
}
"""Bytes between two places at which a connection is cut. Other clients connect more slowly."""

STEP: Final = scale(full=1, short=13)

TASKS: Final = 5
"""The first is alone when it comes, so the others leave together in the second command."""

THREADS: Final = 6


@pytest.fixture
def timeout_seconds() -> float:
    return 0.5


async def asettle(append: Callable[[], Awaitable[object]]) -> None:
    """Append, and retry until it is certain that the events are stored."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await append()
                return
            except AppendUndecided as undecided:
                append = undecided.aretry
            except BufferUnavailable:
                await asyncio.sleep(0.01)  # nothing was written, so the same call is repeated


@pytest.mark.parametrize("part", ["request", "reply"])
@pytest.mark.parametrize("timeout", [0, 1], ids=["caller retries", "sent again"])
class TestCut:
    """The connection breaks after each byte of a group's command."""

    def test_of_tasks(self, proxied: Proxied, part: Part, timeout: int) -> None:
        bucket = Bucket("orders", append_timeout=timedelta(seconds=timeout), batch_size=None)
        step = max(STEP, STEPS[proxied.client]) if timeout else STEPS[proxied.client]

        async def append(group: int) -> None:
            breakers.clear()
            await asyncio.gather(
                *(asettle(partial(bucket.aappend, [group, number])) for number in range(TASKS))
            )

        cuts = asyncio.run(cut_at_each(append, proxied, part, step, number=1))
        assert cuts > (180 if part == "request" else 5) / step
        # If a connection breaks just behind a reply, the next append may be undecided. The breaker
        # then refuses the tasks behind it, and they call again, each when it wakes up.
        events = stored(bucket, proxied.plain)
        assert in_groups(events, TASKS, in_any_order=not timeout) == [*range(cuts + 1)]
        report(f"{part} of a group of tasks cut through {proxied.client}", cuts=cuts - 1, lost=0)

    def test_of_a_task_that_is_alone(self, proxied: Proxied, part: Part, timeout: int) -> None:
        bucket = Bucket("orders", append_timeout=timedelta(seconds=timeout), batch_size=None)
        step = max(STEP, STEPS[proxied.client])

        async def append(number: int) -> None:
            breakers.clear()
            await asettle(partial(bucket.aappend, [number]))

        cuts = asyncio.run(cut_at_each(append, proxied, part, step, number=0))
        assert cuts > (180 if part == "request" else 5) / step
        assert stored(bucket, proxied.plain) == [[number] for number in range(cuts + 1)]

    def test_of_threads(self, proxied: Proxied, part: Part, timeout: int) -> None:
        bucket = Bucket("orders", append_timeout=timedelta(seconds=timeout), batch_size=None)
        plan = HeldThenCut(part)
        start = threading.Barrier(THREADS, action=plan.begin)

        def append(thread: int) -> None:
            while True:
                start.wait(PATIENCE_SECONDS)
                if plan.is_over:
                    return
                settle(partial(bucket.append, [plan.groups, thread]))

        settle(partial(bucket.append, [0, 0]))
        with proxied.proxy.under(plan) as course:
            at_once(partial(append, thread) for thread in range(THREADS))
        events = stored(bucket, proxied.plain)[1:]
        groups, threads = range(1, plan.groups), range(THREADS)
        assert sorted(events) == [[group, thread] for group in groups for thread in threads]
        assert [group for group, _ in events] == sorted(group for group, _ in events)
        assert course.done < 2 * plan.groups, "the last cut was not behind the end"
        if timeout:  # otherwise each of them sends the group again
            assert course.seen < 0.8 * len(events), "they did not leave in groups"
        report(f"{part} of a group of threads cut through {proxied.client}", cuts=course.done)


async def cut_at_each(
    append: Callable[[int], Awaitable[None]],
    proxied: Proxied,
    part: Part,
    step: int,
    *,
    number: int,
) -> int:
    """Append, and cut the command with this number after more and more bytes, until the cut
    would come after its end. The number of appends after the first."""
    await append(0)
    for cuts in count(1):
        plan = at_number(number, Cut(part, (cuts - 1) * step))
        with proxied.proxy.under(plan) as course:
            await append(cuts)
        if not course.done:
            return cuts
    raise AssertionError


class HeldThenCut:
    """A plan: the first command of each group is held, so that others wait. The second is cut.

    The cut comes later in each group, until it comes after the end.
    """

    def __init__(self, part: Part) -> None:
        self.groups = 0
        self.is_over = False
        self._part = part
        self._end = 700 if part == "request" else 15
        self._number = 0

    def begin(self) -> None:
        """Begin with the next group. Called when all threads have come."""
        breakers.clear()
        self.is_over = self.groups * STEP > self._end
        self.groups += 1
        self._number = 0

    def __call__(self, number: int) -> Fault | None:
        self._number += 1
        if self._number == 1:
            return Hold("reply", 0.003)
        if self._number == 2:
            return Cut(self._part, (self.groups - 1) * STEP)
        return None


def in_groups(events: Collection[list[int]], size: int, *, in_any_order: bool = False) -> list[int]:
    """The numbers of the groups. Each has all its events, next to each other and in their order.

    With `in_any_order`, the first event of a group comes first, and the others in any order.
    """
    ordered = [*events]
    groups = [ordered[at : at + size] for at in range(0, len(ordered), size)]
    for group in groups:
        numbers = [number for _, number in group]
        if in_any_order:
            numbers[1:] = sorted(numbers[1:])
        assert numbers == [*range(size)]
        assert len({first for first, _ in group}) == 1
    return [group[0][0] for group in groups]


class TestCancelled:
    @pytest.mark.parametrize("proxied", ["django-redis", "RedisCluster"], indirect=True)
    def test_of_a_thousand_tasks_at_random_moments_while_replies_are_lost(
        self, proxied: Proxied
    ) -> None:
        bucket = Bucket("orders", append_timeout=timedelta(seconds=30), batch_size=None)
        settle(partial(bucket.append, 0))
        bucket.take()
        chance = random.Random(1)
        shares: dict[Fault, float] = {
            Cut("reply"): 0.25,
            Cut("request", 50): 0.15,
            Hold("reply", 0.01): 0.2,
        }

        async def main() -> list[Any]:
            tasks = [asyncio.create_task(bucket.aappend(0))]
            await tasks[0]
            for number in range(1, 1000):
                tasks.append(asyncio.create_task(bucket.aappend(number)))
                if chance.random() < 0.5:
                    delay = chance.uniform(0, 0.05)
                    asyncio.get_running_loop().call_later(delay, tasks[-1].cancel)
                if number % 20 == 0:
                    await asyncio.sleep(chance.choice([0, 0.001, 0.005]))
            return await asyncio.gather(*tasks, return_exceptions=True)

        with proxied.proxy.under(at_random(1, shares)) as course:
            outcomes = asyncio.run(main())
        events: list[Any] = stored(bucket, proxied.plain)
        confirmed = {number for number, each in enumerate(outcomes) if each is None}
        cancelled = {
            number
            for number, each in enumerate(outcomes)
            if isinstance(each, asyncio.CancelledError)
        }
        assert confirmed | cancelled == {*range(1000)}
        assert len(cancelled) > 50
        assert course.done > 1
        assert events == sorted({*events})
        assert confirmed <= {*events}
