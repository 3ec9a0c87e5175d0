"""Workers that are killed, stopped and ended, many times."""

import math
import os
import random
import signal
import sqlite3
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from django_jsonbuffer import Bucket
from tests.faults.scale import report, scale
from tests.faults.workers import Line, Seen, Workers, wait_until_drained


class Case(NamedTuple):
    """Workers that are killed, so many times, while they process so many events."""

    processor: str
    lease_seconds: float
    shards: int
    kills: int
    events: int


ONE_SHARD: Final = Case("note", 0.3, 1, *scale(full=(200, 200_000), short=(8, 8_000)))

SHARDS: Final = Case("note_slowly", 0.8, 6, *scale(full=(60, 12_000), short=(4, 600)))
"""A batch takes longer than a lease, so its worker must renew the lease in its own shard."""


def workers_that_lost_a_batch(lines: list[Line]) -> set[int]:
    """The workers whose batch was delivered to another one."""
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for line in lines:
        if line.kind == "begun":
            holders[line.batch].append(line.worker)
    return {worker for workers in holders.values() for worker in workers[:-1]}


@pytest.mark.parametrize("case", [ONE_SHARD, SHARDS], ids=["one shard", "shards"])
def test_killed_at_random_points(tmp_path: Path, case: Case) -> None:
    processor, lease, shards, kills, events = case
    bucket = Bucket("faulty", batch_size=100, shards=shards)
    for start in range(0, events, 100):
        bucket.extend(range(start, start + 100), ordering_key=start)
    chance, killed = random.Random(7), set[int]()
    with Workers(tmp_path, processor, batch_size=100, lease=lease, shards=shards) as workers:
        for _ in range(3):
            workers.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0.01, 0.05) * (1 if shards == 1 else 10))
            workers.kill(worker := chance.choice(workers.running))
            killed.add(worker)
            workers.start()
        wait_until_drained(bucket)
        lines = workers.lines()
    seen = Seen(lines)
    assert seen.counts.keys() == set(range(events))
    assert bucket.status().dead == 0
    halved = sum("was halved" in text for text in seen.said)
    moved = [event for event, batches in seen.batches.items() if len(batches) > 1]
    assert len(moved) <= halved * 100
    assert len(seen.repeated) <= kills * 100
    assert all(
        seen.deliveries[batch] > 1 for event in seen.repeated for batch in seen.batches[event]
    )
    if shards > 1:  # with the short lease of the other case, a busy machine may be too slow
        assert workers_that_lost_a_batch(lines) <= killed
    report(
        "drain worker killed with -9",
        shards=shards,
        kills=kills,
        events=events,
        processed_twice=len(seen.repeated),
        batches_halved=halved,
        lost=0,
        buried=0,
    )


def test_stopped_for_three_leases(tmp_path: Path) -> None:
    times, lease = scale(full=100, short=3), 0.2
    bucket = Bucket("faulty", batch_size=1)
    with Workers(tmp_path, "stop_and_insert", batch_size=1, lease=lease) as workers:
        for _ in range(2):
            workers.start()
        for number in range(times):
            bucket.append(number)
            line = workers.wait_for("begun", event=number)
            time.sleep(3 * lease)
            os.kill(line.worker, signal.SIGCONT)
            workers.wait_for("said", worker=line.worker, text=f"{line.batch} of")
            wait_until_drained(bucket)
        for worker in [*workers.running]:
            os.kill(worker, signal.SIGTERM)
            assert workers.wait(worker) == 0
        seen = Seen(workers.lines())
        with closing(sqlite3.connect(workers.database)) as sink:
            rows = sink.execute("SELECT name FROM library_tag").fetchall()
    # Each event was written once, although it was processed twice.
    assert sorted(int(name) for (name,) in rows) == list(range(times))
    rolled_back = sum("rolled back" in text for text in seen.said)
    assert rolled_back == times
    assert bucket.status().dead == 0
    report("worker stopped for three leases", times=times, rolled_back=rolled_back, twice=0)


def test_asked_to_end_under_load(tmp_path: Path) -> None:
    times = scale(full=100, short=5)
    bucket = Bucket("faulty", batch_size=10)
    bucket.extend(range(times * 100))
    chance = random.Random(7)
    with Workers(tmp_path, "note", batch_size=10, lease=60) as workers:
        for _ in range(times):
            worker = workers.start()
            workers.wait_for("begun", worker=worker)
            time.sleep(chance.uniform(0, 0.02))
            os.kill(worker, signal.SIGTERM)
            assert workers.wait(worker) == 0
            assert bucket.status().in_flight == 0
        workers.start()
        wait_until_drained(bucket)
        seen = Seen(workers.lines())
    assert seen.counts == dict.fromkeys(range(times * 100), 1)
    report("SIGTERM to a watching worker", times=times, events=times * 100, twice=0)


def test_killed_by_an_event(tmp_path: Path) -> None:
    """The test starts another worker when one dies, as a supervisor does."""
    events = scale(full=10_000, short=64)
    bucket = Bucket("faulty", batch_size=1000)
    bucket.extend([-1 if number == events // 3 else number for number in range(events)])
    deaths = 0
    with Workers(tmp_path, "crash", batch_size=1000, lease=0.1) as workers:
        while bucket.status().batches:
            if not workers.running:
                workers.start()
            time.sleep(0.05)
            if workers.has_ended(workers.running[0]):
                workers.wait(workers.running[0])
                deaths += 1
        seen = Seen(workers.lines())
    assert seen.counts == dict.fromkeys(set(range(events)) - {events // 3}, 1)
    assert [letter.event for letter in bucket.dead] == [-1]
    assert bucket.dead.page()[0].attempts == 0
    # Three deaths of the batch, one on each level of halves, three more of the event alone.
    assert deaths <= 6 + math.ceil(math.log2(min(events, 1000)))
    report("an event that kills its worker", events=events, deaths=deaths, buried=1)


def test_memory_stays_flat(tmp_path: Path) -> None:
    events = scale(full=1_000_000, short=50_000)
    bucket = Bucket("faulty", batch_size=1000)
    for start in range(0, events, 10_000):
        bucket.extend(
            {"number": number, "text": "x" * 150} for number in range(start, start + 10_000)
        )
    with Workers(tmp_path, "measure", batch_size=1000, lease=60) as workers:
        workers.start()
        wait_until_drained(bucket)
        peaks = [line.events[1] for line in workers.lines() if line.kind == "done"]
    assert sum(line.events[0] for line in workers.lines() if line.kind == "done") == events
    early, late = peaks[len(peaks) // 10], peaks[-1]
    assert late < early * 1.1
    report(
        "memory of a worker",
        events=events,
        peak_after_a_tenth=f"{early} KiB",
        at_last=f"{late} KiB",
    )


def test_clock_that_is_an_hour_off(tmp_path: Path) -> None:
    """The clock of a worker may be wrong, since the server measures the leases."""
    bucket = Bucket("faulty", batch_size=10)
    bucket.extend(range(500))
    with (
        Workers(tmp_path / "late", "note", batch_size=10, lease=2, clock_seconds=-3600) as late,
        Workers(tmp_path / "early", "note", batch_size=10, lease=2, clock_seconds=3600) as early,
    ):
        for workers in (late, early, late, early):
            workers.start()
        wait_until_drained(bucket)
        seen = Seen(late.lines() + early.lines())
    assert seen.counts == dict.fromkeys(range(500), 1)
    report("clock of a worker an hour off", events=500, twice=0)


def test_table_away(tmp_path: Path) -> None:
    events, seconds = scale(full=(50_000, 10), short=(1_000, 0.5))
    bucket = Bucket("faulty", batch_size=100)
    with Workers(tmp_path, "insert", batch_size=100, lease=5) as workers:
        workers.start()
        bucket.append(-1)
        wait_until_drained(bucket)
        with closing(sqlite3.connect(workers.database, isolation_level=None)) as sink:
            sink.execute("ALTER TABLE library_tag RENAME TO away")
            bucket.extend(range(events))
            workers.start()
            time.sleep(seconds)
            sink.execute("ALTER TABLE away RENAME TO library_tag")
            wait_until_drained(bucket)
            rows = sink.execute("SELECT name FROM library_tag").fetchall()
        attempts = sum("comes again" in text for text in Seen(workers.lines()).said)
    assert sorted(int(name) for (name,) in rows) == [-1, *range(events)]
    assert bucket.status().dead == 0
    report("table of SQLite away", seconds=seconds, events=events, attempts=attempts, buried=0)
