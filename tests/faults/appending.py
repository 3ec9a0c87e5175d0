"""Append with retries, from many processes.

``python -m tests.faults.appending forks 8 64 391`` lets eight forks append from 64 threads each.
``kills 100`` kills a hundred forks while they append. ``shards 4 500 2 6`` lets a
fork append to 2 shards from 4 threads, and half a second later another one to 6 shards.
"""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, Final

import django

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable
from tests.server import Redis
from tests.threads import at_once

PATIENCE_SECONDS = 60

Event = list[int]


def settle(append: Callable[[], object]) -> None:
    """Append, and retry until it is certain that the events are stored."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            append()
            return
        except AppendUndecided as undecided:
            append = undecided.retry
        except BufferUnavailable:
            time.sleep(0.01)  # nothing was written, so the same call is repeated
        assert time.monotonic() < deadline, "this was not stored within a minute"


def append_in_order(bucket: Bucket, *row: int, numbers: Iterable[int]) -> None:
    """Append one event for each number, one after the other. The number is its last part."""
    for number in numbers:
        settle(partial(bucket.append, [*row, number]))


def stored(bucket: Bucket, plain: Redis) -> list[Event]:
    """All events of the bucket, in their order."""
    arrays = [fields[b"events"] for _, fields in plain.xrange(f"{bucket.key}:batches")]
    arrays.append(plain.get(bucket.key) or b"[]")
    return [event for array in arrays for event in json.loads(array)]


def assert_counters_are_back_at_zero(bucket: Bucket, plain: Redis) -> None:
    """All events of the bucket are processed."""
    status = bucket.status()
    assert (status.pending, status.in_flight, status.dead) == (0, 0, 0)
    assert (status.batches, status.bytes, status.oldest) == (0, 0, None)
    stats = plain.hgetall(f"{bucket.key}:stats")
    left = [stats[name] for name in (b"sealed", b"claimed", b"sealed_bytes")]
    assert left == [b"0"] * 3
    assert plain.hget(f"{bucket.key}:appends", "open") == bytes(8)


def numbers_by_row(events: Iterable[Event]) -> dict[tuple[int, ...], list[int]]:
    """The last number of each event, in their order, grouped by the numbers before it."""
    rows: dict[tuple[int, ...], list[int]] = {}
    for *row, number in events:
        rows.setdefault(tuple(row), []).append(number)
    return rows


def forked_bucket() -> Bucket:
    """The bucket of all forks. Its timeout is long, since many processes share few cores."""
    return Bucket("orders", append_timeout=timedelta(seconds=30))


def append_from_forks(processes: int, threads: int, events: int) -> None:
    """The parent appends before the forks start, as process 0, and goes on while they append."""
    bucket = forked_bucket()
    bucket.append([0, 0, 0])
    fork = multiprocessing.get_context("fork")
    children = [
        fork.Process(target=_append_from_threads, args=[bucket, number + 1, threads, events])
        for number in range(processes)
    ]
    for child in children:
        child.start()
    append_in_order(bucket, 0, 0, numbers=range(1, events))
    for child in children:
        child.join()
    sys.exit(any(child.exitcode for child in children))


def _append_from_threads(bucket: Bucket, process: int, threads: int, events: int) -> None:
    at_once(
        partial(append_in_order, bucket, process, thread, numbers=range(events))
        for thread in range(threads)
    )


def append_until_killed(times: int) -> None:
    """Print as JSON, for each fork, how many of its calls had returned when it was killed.

    Each call appends three events: fork, number of the call, and 0, 1 or 2.
    """
    bucket = forked_bucket()
    bucket.append([-1, 0, 0])
    chance = random.Random(times)
    print(json.dumps([_killed(bucket, number, chance) for number in range(times)]))


def _killed(bucket: Bucket, number: int, chance: random.Random) -> int:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _extend_for_ever(bucket, number, writer)
    os.close(writer)
    returned = len(os.read(reader, 1))
    time.sleep(chance.uniform(0, 0.02))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while more := os.read(reader, 65536):
        returned += len(more)
    os.close(reader)
    return returned


def _extend_for_ever(bucket: Bucket, fork: int, writer: int) -> None:
    try:
        for number in count():
            bucket.extend([[fork, number, part] for part in range(3)])
            os.write(writer, b".")
    finally:
        os._exit(1)


def append_to_shards(threads: int, milliseconds: int, *numbers: int) -> None:
    """Fork a process for each number of shards, one after the other. Each begins before the last
    one ends. Print as JSON how many appends of each of their threads are confirmed."""
    fork = multiprocessing.get_context("fork")
    pipes = [fork.Pipe(duplex=False) for _ in numbers]
    for process, (shards, (_, writer)) in enumerate(zip(numbers, pipes, strict=True)):
        arguments = (process, shards, threads, 2 * milliseconds / 1000, writer)
        fork.Process(target=_append_to_shards, args=arguments).start()
        time.sleep(milliseconds / 1000)
    print(json.dumps([reader.recv() for reader, _ in pipes]))


def _append_to_shards(process: int, shards: int, threads: int, seconds: float, writer: Any) -> None:
    """Every other append has a key."""
    bucket = Bucket("faulty", shards=shards, batch_size=20, append_timeout=timedelta(seconds=30))
    ends_at, done = time.monotonic() + seconds, [0] * threads

    def append(thread: int) -> None:
        while time.monotonic() < ends_at:
            number = done[thread]
            event = event_of(process, thread, number)
            settle(partial(bucket.append, event, ordering_key=number if number % 2 else None))
            done[thread] += 1
            time.sleep(0.002)

    at_once(partial(append, thread) for thread in range(threads))
    writer.send(done)


def event_of(process: int, thread: int, number: int) -> int:
    return (process * 100 + thread) * 1_000_000 + number


MODES: Final[dict[str, Callable[..., None]]] = {
    "forks": append_from_forks,
    "kills": append_until_killed,
    "shards": append_to_shards,
}

if __name__ == "__main__":
    django.setup()
    MODES[sys.argv[1]](*map(int, sys.argv[2:]))
