"""Measure appends of many threads and of many asyncio tasks, compared with RPUSH by hand."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import Final

import redis.asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import override_settings
from django_redis import get_redis_connection

from benchmarks import by_hand
from benchmarks.charts import BY_TASKS, BY_THREADS
from benchmarks.events import page_view
from benchmarks.rounds import Comparison, Measure, Ratio, Scale
from benchmarks.settings import REDIS_URL
from django_jsonbuffer import Bucket

THREADS: Final = (1, 2, 4, 8, 16, 64)
TASKS: Final = (1, 10, 50, 200)
ASYNC_CONNECTIONS: Final = 20


Call = Callable[[], object]
AsyncCall = Callable[[], Awaitable[object]]


def comparisons(scale: Scale) -> Iterator[Comparison]:
    client, bucket = get_redis_connection("jsonbuffer"), Bucket("concurrency")
    encoded = bucket._definition.parts.encoder.encode(page_view())

    def clean_up() -> None:
        bucket.purge()
        by_hand.delete_all(client)

    yield _by_threads(
        {
            "append": partial(bucket.append, page_view()),
            "RPUSH": partial(by_hand.push, client, encoded),
        },
        scale,
        clean_up,
    )
    with asyncio.Runner() as runner:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            REDIS_URL, max_connections=ASYNC_CONNECTIONS
        )
        by_redis_py = redis.asyncio.Redis(connection_pool=pool)
        calls: dict[str, AsyncCall] = {
            "aappend": partial(bucket.aappend, page_view()),
            "RPUSH": partial(by_redis_py.rpush, by_hand.LIST, encoded),
            "append by sync_to_async": partial(sync_to_async(bucket.append), page_view()),
        }
        yield _by_tasks(runner, calls, scale, clean_up)
        runner.run(pool.disconnect())


def _by_threads(calls: dict[str, Call], scale: Scale, clean_up: Call) -> Comparison:
    events, most = scale.count(9_600), THREADS[-1]
    cases: dict[str, Measure] = {}
    for threads in THREADS:
        for name, call in calls.items():
            measure = partial(_in_threads, call, threads=threads, events=events)
            cases[_case(name, threads, "thread")] = measure
            if name == "append":
                alone = _case("append without group commit", threads, "thread")
                cases[alone] = partial(_without_group_commit, measure)
    alone = "append without group commit"
    ratios = [
        _ratio("append", alone, 1, "thread", at_most=1.03),
        _ratio("append", alone, most, "thread"),
        _ratio("append", "RPUSH", 1, "thread"),
        _ratio("append", "RPUSH", most, "thread", at_most=0.6),
    ]
    return Comparison(
        title=BY_THREADS,
        unit="µs per event",
        cases=cases,
        rounds=scale.rounds(9),
        ratios=ratios,
        clean_up=clean_up,
    )


def _by_tasks(
    runner: asyncio.Runner, calls: dict[str, AsyncCall], scale: Scale, clean_up: Call
) -> Comparison:
    events, most = scale.count(6_000), TASKS[-1]
    return Comparison(
        title=BY_TASKS,
        unit="µs per event",
        cases={
            _case(name, tasks, "task"): partial(_in_tasks, runner, call, tasks=tasks, events=events)
            for tasks in TASKS
            for name, call in calls.items()
        },
        rounds=scale.rounds(9),
        ratios=[
            _ratio("aappend", "RPUSH", most, "task", at_most=0.2),
            _ratio("aappend", "append by sync_to_async", most, "task", at_most=0.06),
            _ratio("aappend", "RPUSH", 1, "task", at_most=1.5),
        ],
        clean_up=clean_up,
    )


def _in_threads(call: Call, *, threads: int, events: int) -> float:
    """The microseconds per event. Each thread makes one call before the clock starts."""
    times = range(events // threads)
    began: list[float] = []
    ready = threading.Barrier(threads, action=lambda: began.append(perf_counter()))

    def call_often() -> None:
        call()
        ready.wait()
        for _ in times:
            call()

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(call_often) for _ in range(threads)]
        for each in running:
            each.result()
        took = perf_counter() - began[0]
    return took / (len(times) * threads) * 1e6


def _in_tasks(runner: asyncio.Runner, call: AsyncCall, *, tasks: int, events: int) -> float:
    """The microseconds per event. Each task makes one call before the clock starts."""
    times = range(events // tasks)

    async def call_often() -> None:
        for _ in times:
            await call()

    async def measured() -> float:
        await asyncio.gather(*(call() for _ in range(tasks)))
        began = perf_counter()
        await asyncio.gather(*(call_often() for _ in range(tasks)))
        return (perf_counter() - began) / (len(times) * tasks) * 1e6

    return runner.run(measured())


def _without_group_commit(measure: Measure) -> float:
    with override_settings(JSONBUFFER={**settings.JSONBUFFER, "GROUP_COMMIT": False}):
        return measure()


def _case(name: str, count: int, caller: str) -> str:
    return f"{name}, {count} {caller}{'s' if count > 1 else ''}"


def _ratio(of: str, to: str, count: int, caller: str, *, at_most: float | None = None) -> Ratio:
    callers = f"{count} {caller}{'s' if count > 1 else ''}"
    return Ratio(
        what=f"{callers}: {of} / {to}",
        of=_case(of, count, caller),
        to=_case(to, count, caller),
        at_most=at_most,
    )
