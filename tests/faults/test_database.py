"""Faults of a PostgreSQL database. Only at full scale, since they need its server."""

import random
import string
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import hypothesis
import psycopg
import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, connections, transaction
from hypothesis import HealthCheck, given
from pytest_django import DjangoDbBlocker

from django_jsonbuffer import Batch, Bucket
from example_project.postgres import PostgreSQL
from tests.appending.programs import PROGRAMS, Block, compare, new_buckets
from tests.faults.scale import report
from tests.faults.workers import Seen, Workers, wait_until_drained
from tests.server import Redis


def test_database_away(tmp_path: Path) -> None:
    """The server is stopped, which cuts its connections, and started again."""
    events = 50_000
    bucket = Bucket("faulty", batch_size=100)
    with (
        PostgreSQL(tmp_path / "postgres") as database,
        Workers(tmp_path, "insert", database=database.folder, batch_size=100, lease=5) as workers,
    ):
        for _ in range(2):
            workers.start()
        bucket.append(-1)
        wait_until_drained(bucket)
        bucket.extend(range(events))
        time.sleep(0.5)
        database.stop()
        time.sleep(10)
        database.start()
        wait_until_drained(bucket)
        with psycopg.connect(host=str(database.folder), dbname="postgres", user="postgres") as sink:
            rows = sink.execute("SELECT name FROM library_tag").fetchall()
        attempts = sum("comes again" in text for text in Seen(workers.lines()).said)
    assert sorted(int(name) for (name,) in rows) == [-1, *range(events)]
    assert bucket.status().dead == 0
    report("PostgreSQL away", seconds=10, events=events, attempts=attempts, buried=0, twice=0)


@pytest.fixture
def sink(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """Alias of a PostgreSQL database with one empty table."""
    default = connections.databases["default"]
    with PostgreSQL(tmp_path / "postgres") as database, django_db_blocker.unblock():
        connections.databases["sink"] = {
            **default,
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": str(database.folder),
        }
        with connections["sink"].cursor() as cursor:
            cursor.execute("CREATE TABLE rows (text text PRIMARY KEY)")
        yield "sink"
        connections["sink"].close()
        del connections["sink"], connections.databases["sink"]


def rows(sink: str) -> list[str]:
    with connections[sink].cursor() as cursor:
        cursor.execute("SELECT text FROM rows ORDER BY text")
        return [text for (text,) in cursor.fetchall()]


@pytest.mark.parametrize("is_within", [False, True], ids=["bare", "in a savepoint"])
def test_error_that_is_caught_within_aborts_all_or_nothing(sink: str, is_within: bool) -> None:
    """After a failed statement, PostgreSQL commits nothing of the transaction."""
    bucket = Bucket("orders", lease=timedelta(0))

    @bucket.processor(atomic=sink)
    def store(batch: Batch) -> None:
        for event in batch:
            try:
                if is_within:
                    with transaction.atomic(using=sink):
                        insert(event)
                else:
                    insert(event)
            except DatabaseError as error:
                batch.reject(event, error)

    def insert(event: str) -> None:
        with connections[sink].cursor() as cursor:
            cursor.execute("INSERT INTO rows VALUES (%s)", [event])

    bucket.extend(["a", "b", "b", "c"])
    bucket.drain()
    status = bucket.status()
    if is_within:
        assert (rows(sink), status.pending, status.dead) == (["a", "b", "c"], 0, 1)
    else:
        assert (rows(sink), status.pending, status.dead) == ([], 4, 0)


def test_event_that_the_database_refuses_as_if_it_were_away_keeps_back_no_other(sink: str) -> None:
    """A row that is too large for an index raises OperationalError."""
    bucket = Bucket("orders", batch_size=100, max_attempts=2, lease=timedelta(0))
    huge = "".join(random.Random(1).choices(string.ascii_letters, k=10_000))

    @bucket.processor(atomic=sink)
    def store(batch: Batch) -> None:
        with connections[sink].cursor() as cursor:
            cursor.executemany("INSERT INTO rows VALUES (%s)", [[event] for event in batch])

    bucket.extend([*map(str, range(50)), huge, *map(str, range(50, 99))])
    for number in range(99, 140):
        bucket.append(str(number))
        bucket.drain()
    assert sorted(map(int, rows(sink))) == [*range(140)]
    assert bucket.peek() == [huge]
    assert bucket.status().dead == 0


@pytest.fixture
def auth_tables(sink: str) -> None:
    with connections[sink].schema_editor() as editor:
        for model in (ContentType, Permission, Group, User):
            editor.create_model(model)


@pytest.mark.usefixtures("auth_tables")
@given(program=PROGRAMS)
@hypothesis.settings(
    max_examples=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_use_of_savepoints_leaves_the_events_whose_rows_it_leaves(
    private_server: Redis, sink: str, program: Block
) -> None:
    """An error aborts a transaction of PostgreSQL, other than one of SQLite."""
    compare(private_server, new_buckets(), program, using=sink)
