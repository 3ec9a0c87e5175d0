"""A database of the test alone, under the alias of the test's models."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created

from example_project.postgres import PostgreSQL
from tests.differential.mariadb import MariaDB
from tests.differential.worlds import ALIAS, APP


class Router:
    """The test's models are in the test's database."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return ALIAS if model._meta.app_label == APP else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == ALIAS) == (app_label == APP)


@contextmanager
def sqlite(folder: Path) -> Iterator[dict[str, Any]]:
    yield {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}


@contextmanager
def postgresql(folder: Path) -> Iterator[dict[str, Any]]:
    import psycopg

    with PostgreSQL(folder / "postgres") as server:
        host = str(server.folder)
        with psycopg.connect(host=host, dbname="postgres", user="postgres") as connection:
            connection.execute("CREATE EXTENSION hstore; CREATE EXTENSION citext")
        connection_created.connect(_register_types, dispatch_uid="differential")
        try:
            engine = "django.db.backends.postgresql"
            yield {"ENGINE": engine, "NAME": "postgres", "USER": "postgres", "HOST": host}
        finally:
            connection_created.disconnect(dispatch_uid="differential")


def _register_types(connection: Any, **kwargs: Any) -> None:
    from django.contrib.postgres.signals import register_type_handlers

    register_type_handlers(connection)


@contextmanager
def mariadb(folder: Path) -> Iterator[dict[str, Any]]:
    with MariaDB(folder / "mariadb") as server:
        engine = "django.db.backends.mysql"
        yield {
            "ENGINE": engine,
            "NAME": "differential",
            "USER": "root",
            "HOST": str(server.socket),
        }


@contextmanager
def connected(config: dict[str, Any]) -> Iterator[str]:
    """Connect the alias. Returns the vendor."""
    connections.databases[ALIAS] = {**connections.databases["default"], "HOST": "", **config}
    try:
        yield connections[ALIAS].vendor
    finally:
        connection = connections[ALIAS]
        connection.close()
        if connection.connection is not None:  # Django does not close a database in memory
            connection.connection.close()
        del connections[ALIAS], connections.databases[ALIAS]
