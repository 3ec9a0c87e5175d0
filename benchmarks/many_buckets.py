"""Measure one worker with ten thousand buckets: idle, with some traffic, and beside a hot one."""

import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.log import LOG
from benchmarks.rounds import Comparison, Ratio, Scale
from benchmarks.workers import started
from django_jsonbuffer import Bucket

HOT: Final = "tenant-hot"
PROBE: Final = "tenant-probe"
PATIENCE_SECONDS: Final = 120
PER_SECOND: Final = 300
BESIDE_PER_SECOND: Final = 100
"""Events a second to buckets that are chosen at random."""


class Entry(NamedTuple):
    """What the processor has written of one batch."""

    bucket: str
    processed_at: float
    waited_seconds: float
    """Since the first of its events was appended."""
    events: int
    cpu_seconds: float
    """Of the worker, so far."""
    threads: int


def comparisons(scale: Scale) -> Iterator[Comparison]:
    many, rounds = scale.count(10_000, quick=100), scale.rounds(3)
    yield Comparison(
        title="CPU of a worker whose buckets are idle",
        unit="% of a core",
        cases={
            f"{count:,} buckets": partial(_idle, count, seconds=scale.count(20, quick=1))
            for count in (10, many)
        },
        rounds=rounds,
    )
    yield Comparison(
        title=f"Time from append to processed, above `linger`: {many:,} buckets",
        unit="s",
        cases={
            f"{PER_SECOND} events a second, {what}": partial(_above_linger, many, scale, of)
            for what, of in (("median", statistics.median), ("99th percentile", _percentile_99))
        },
        rounds=rounds,
    )
    alone, beside = "alone", f"beside {many:,} buckets with {BESIDE_PER_SECOND} events a second"
    yield Comparison(
        title="Drain of one hot bucket",
        unit="µs per event",
        cases={
            alone: partial(_hot, 0, events=scale.count(3_000_000, quick=5_000)),
            beside: partial(_hot, many, events=scale.count(3_000_000, quick=5_000)),
        },
        rounds=rounds,
        ratios=[Ratio(what="Hot bucket, alone / beside others", of=alone, to=beside, at_least=0.7)],
    )


def _idle(count: int, *, seconds: int) -> float:
    buckets = _buckets(count)
    with _watching() as read:
        for bucket in buckets:
            bucket.append(time.time())
        _wait(lambda: len(read()) >= count)
        before = _probe(read)
        time.sleep(seconds)
        after = _probe(read)
    cpu_seconds = after.cpu_seconds - before.cpu_seconds
    return 100 * cpu_seconds / (after.processed_at - before.processed_at)


def _above_linger(count: int, scale: Scale, of: Callable[[list[float]], float]) -> float:
    buckets = _buckets(count)
    with _watching() as read:
        _probe(read)
        sent = _traffic(buckets, seconds=scale.count(20, quick=1))
        _wait(lambda: sum(each.events for each in read()) > sent)
        return of([each.waited_seconds - 1 for each in read()])


def _hot(others: int, *, events: int) -> float:
    """The microseconds per event of a hot bucket. At most as much traffic as it needs is beside.

    The worker knows the other buckets already. The hot one has a pause until it is full.
    """
    buckets, hot = _buckets(others), Bucket(HOT)
    with _watching() as read:
        for bucket in buckets:
            bucket.append(time.time())
        _wait(lambda: len(read()) >= others)
        hot.pause()
        for _ in range(events // 1000):
            hot.extend([time.time()] * 1000)

        def its_entries() -> list[Entry]:
            return [each for each in read() if each.bucket == HOT]

        def is_done() -> bool:
            return sum(each.events for each in its_entries()) >= events

        hot.resume()
        while buckets and not is_done():
            _traffic(buckets, seconds=0.2, per_second=BESIDE_PER_SECOND)
        _wait(is_done)
        times = [each.processed_at for each in its_entries()]
        return (max(times) - min(times)) / (events - 1000) * 1e6


def _buckets(count: int) -> list[Bucket]:
    return [Bucket(f"tenant-{number}") for number in range(count)]


def _traffic(buckets: list[Bucket], *, seconds: float, per_second: int = PER_SECOND) -> int:
    """Append events at a steady rate. Returns how many."""
    began, sent = time.monotonic(), 0
    while (due := began + sent / per_second) < began + seconds:
        time.sleep(max(0, due - time.monotonic()))
        random.choice(buckets).append(time.time())
        sent += 1
    return sent


def _probe(read: Callable[[], list[Entry]]) -> Entry:
    """What the worker says of itself at this moment."""
    before = len(read())
    Bucket(PROBE).append(time.time())
    _wait(lambda: any(each.bucket == PROBE for each in read()[before:]))
    return read()[-1]


@contextmanager
def _watching() -> Iterator[Callable[[], list[Entry]]]:
    """A worker. Yields a function that returns what its processor has written."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        log.touch()
        os.environ[LOG] = str(log)
        with started("django", "drain_buckets", "tenant-*", "--watch", "--verbosity=0") as worker:
            yield _Reader(log)
            # One that is killed stays in the registry for a while, and others wait for it.
            worker.process.signal("TERM")
            worker.process.wait(PATIENCE_SECONDS)


class _Reader:
    """Reads the log. Each line is parsed once, so that it takes little from the worker."""

    def __init__(self, log: Path) -> None:
        self._file = log.open()
        self._entries: list[Entry] = []
        self._rest = ""

    def __call__(self) -> list[Entry]:
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        self._entries += map(_entry, lines)
        return self._entries


def _entry(line: str) -> Entry:
    bucket, processed_at, waited_seconds, events, cpu_seconds, threads = line.split()
    return Entry(
        *(bucket, float(processed_at), float(waited_seconds), int(events)),
        *(float(cpu_seconds), int(threads)),
    )


def _wait(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"The worker needs more than {PATIENCE_SECONDS} s.")
        time.sleep(0.1)


def _percentile_99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[-1]
