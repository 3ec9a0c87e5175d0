"""Measure how fast several processes drain one bucket, in relation to one process."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from benchmarks.events import page_view
from benchmarks.rounds import Comparison, Ratio, Scale
from benchmarks.workers import started
from django_jsonbuffer import Bucket

PROCESSES: Final = (1, 2, 4)
PORTION: Final = 1000
PATIENCE_SECONDS: Final = 120


def comparisons(scale: Scale) -> Iterator[Comparison]:
    numbers = PROCESSES[: scale.count(len(PROCESSES), quick=2)]
    for name, processor, events in (
        ("ignored", "does nothing", 400_000),
        ("waiting", "waits 10 ms for each batch", 200_000),
    ):
        measure = partial(_drained, Bucket(name), events=scale.count(events, quick=2_000))
        yield Comparison(
            title=f"Drain of one bucket by several processes, by a processor that {processor}",
            unit="µs per event",
            cases={_case(number): partial(measure, processes=number) for number in numbers},
            rounds=scale.rounds(5),
            ratios=[
                Ratio(
                    what=f"speed of {_case(number)} / 1 process, processor that {processor}",
                    of=_case(1),
                    to=_case(number),
                )
                for number in numbers[1:]
            ],
        )


def _drained(bucket: Bucket, *, processes: int, events: int) -> float:
    """The microseconds per event of a backlog. The processes have started before."""
    bucket.pause()
    portion = [page_view()] * PORTION
    for _ in range(events // PORTION):
        bucket.extend(portion)
    command = ("drain_buckets", bucket.name, "--watch", "--verbosity=0")
    with started("django", *command, f"--processes={processes}") as worker:
        _wait(lambda: bucket.status().workers == processes)
        before = bucket.status().processed
        began = time.perf_counter()
        bucket.resume()
        _wait(lambda: bucket.status().processed == before + events)
        took = time.perf_counter() - began
        # A process that is killed counts as a worker for a while.
        worker.process.signal("TERM")
        worker.process.wait(PATIENCE_SECONDS)
    return took / events * 1e6


def _wait(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"The workers need more than {PATIENCE_SECONDS} s.")
        time.sleep(0.01)


def _case(processes: int) -> str:
    return f"{processes} process{'es' if processes > 1 else ''}"
