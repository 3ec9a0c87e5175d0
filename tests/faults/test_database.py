"""At full scale only, since it takes a PostgreSQL."""

import time
from pathlib import Path

import psycopg

from django_jsonbuffer import Bucket
from tests.faults.postgres import PostgreSQL
from tests.faults.scale import report
from tests.faults.workers import Seen, Workers, wait_until_drained


def test_database_away(tmp_path: Path) -> None:
    """Stopped, with its connections cut, and started again."""
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
