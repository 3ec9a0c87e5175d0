"""Receipts under faults: every row is written exactly once."""

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from django_jsonbuffer import Bucket
from example_project.postgres import PostgreSQL
from tests.differential.scale import HAS_SERVERS
from tests.faults.restarts import RestartingServer
from tests.faults.scale import IS_FULL, report, scale
from tests.faults.workers import Workers

VENDORS = ["sqlite", *(["postgresql"] if IS_FULL or HAS_SERVERS else [])]


class Numbers:
    """Numbers that a test appends, each once."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._next = 0

    def append(self, count: int) -> range:
        numbers = range(self._next, self._next + count)
        for start in range(numbers.start, numbers.stop, 500):
            self._bucket.extend(numbers[start - numbers.start :][:500])
        self._next += count
        return numbers


def rows(database: Path) -> list[int]:
    """The numbers that workers have inserted, sorted."""
    query = "SELECT name FROM library_tag"
    if database.suffix == ".sqlite3":
        with closing(sqlite3.connect(database)) as sink:
            return sorted(int(name) for (name,) in sink.execute(query).fetchall())
    import psycopg  # only the tests with PostgreSQL need it

    with psycopg.connect(host=str(database), dbname="postgres", user="postgres") as sink:
        return sorted(int(name) for (name,) in sink.execute(query).fetchall())


def wait(workers: Workers, condition: Callable[[], bool]) -> None:
    """Wait until the condition is true. A worker that finds no Redis at its start ends, so start
    another one, as a supervisor does.
    """
    deadline = time.monotonic() + scale(full=300, short=30)
    while not condition():
        assert time.monotonic() < deadline
        for worker in [*workers.running]:
            if workers.has_ended(worker):
                workers.wait(worker)
                workers.start()
        time.sleep(0.01)


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_row_is_written_once(
    restarting: RestartingServer, tmp_path: Path, vendor: str
) -> None:
    """Two workers at a time are killed at random. Redis restarts, and loses what came last."""
    kills, restarts, events = scale(full=(200, 20, 200_000), short=(10, 5, 9_000))
    bucket = Bucket("faulty", batch_size=100, receipts="default")
    numbers, chance = Numbers(bucket), random.Random(7)
    lost: set[int] = set()
    with ExitStack() as stack:
        database = None
        if vendor == "postgresql":
            database = stack.enter_context(PostgreSQL(tmp_path / "postgres")).folder
        workers = stack.enter_context(
            Workers(
                tmp_path,
                "insert_hardly",
                database=database,
                redis_url=restarting.url,
                batch_size=100,
                lease=0.3,
                receipts="default",
            )
        )
        for _ in range(2):
            workers.start()
        for number in range(restarts):
            if number % 2:
                wait(workers, lambda: not bucket.status().pending)
            size = 0 if number % 2 else 2 * events // restarts
            for _ in range(7):  # so that the open batch is not empty
                numbers.append(5)
            numbers.append(size)
            for _ in range(7):
                numbers.append(5)
            restarting.save()
            for _ in range(kills // restarts):
                for _ in range(chance.randrange(30)):
                    lost |= {*numbers.append(5)}
                time.sleep(chance.uniform(0.01, 0.05))
                workers.kill(chance.choice(workers.running))
                workers.start()
            if number % 2:  # let workers process what is lost in the restart
                time.sleep(0.2)
            restarting.restart()
        wait(workers, lambda: not (bucket.status().batches or bucket.dead.replay_all()))
        written = rows(workers.database)
        halved = sum("is halved" in line.text for line in workers.lines())
        rejected = sum("processor rejected" in line.text for line in workers.lines())
    assert len(written) == len({*written})
    assert {*range(numbers._next)} - {*written} <= lost
    report(
        f"receipts in {vendor}",
        kills=kills,
        restarts_without_the_last_writes=restarts,
        batches_halved=halved,
        batches_with_rejected_events=rejected,
        events=len(written),
        rows_twice=0,
        rows_missing=0,
    )
