"""Start Redis and PostgreSQL for one run, and set Django up on them."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
import redis
from django.core.management import call_command

from example_project.embedded_redis import EmbeddedRedis
from example_project.postgres import PostgreSQL


@contextmanager
def project() -> Iterator[None]:
    """Set Django up on servers that end with the block. Once per process.

    Redis does not write to disk unless a suite changes that. PostgreSQL does, as by default.
    """
    with (
        tempfile.TemporaryDirectory(prefix="jsonbuffer-") as folder,
        EmbeddedRedis() as embedded,
        PostgreSQL(Path(folder) / "postgresql", fsync=True) as postgresql,
    ):
        os.environ["BENCHMARKS_REDIS_URL"] = embedded.url
        os.environ["BENCHMARKS_POSTGRESQL"] = str(postgresql.folder)
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
        django.setup()
        call_command("migrate", verbosity=0)
        yield


@contextmanager
def append_only_file(client: redis.Redis) -> Iterator[None]:
    """Let Redis write to disk within a second, as it should in production."""
    client.config_set("auto-aof-rewrite-percentage", 0)
    client.config_set("appendonly", "yes")
    while client.info("persistence")["aof_rewrite_in_progress"]:
        time.sleep(0.01)
    yield
    client.config_set("appendonly", "no")
