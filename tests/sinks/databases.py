"""The databases on which the sinks are tested."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from django.db import connections

from tests.differential.databases import mariadb, postgresql
from tests.differential.scale import HAS_SERVERS
from tests.sinks.models import MODELS

ALIAS: Final = "sinks"


class Start(Protocol):
    def __call__(self, folder: Path) -> AbstractContextManager[dict[str, Any]]: ...


@contextmanager
def sqlite_file(folder: Path) -> Iterator[dict[str, Any]]:
    """In a file, so that several threads have connections of their own."""
    yield {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / "sinks.sqlite3"),
        "OPTIONS": {"timeout": 60},
    }


_SERVERS: Final[Mapping[str, Start]] = {"postgresql": postgresql, "mariadb": mariadb}

STARTS: Final[Mapping[str, Start]] = {
    "sqlite": sqlite_file,
    **(_SERVERS if HAS_SERVERS else {}),
}


@contextmanager
def tables(config: dict[str, Any]) -> Iterator[None]:
    """Connect the alias and create the tables. They go with the database."""
    connections.databases[ALIAS] = {**connections.databases["default"], "HOST": "", **config}
    try:
        with connections[ALIAS].schema_editor() as editor:
            for model in MODELS:
                editor.create_model(model)
        yield
    finally:
        connections[ALIAS].close()
        del connections[ALIAS], connections.databases[ALIAS]


def delete_all_rows() -> None:
    with connections[ALIAS].cursor() as cursor:
        for model in reversed(MODELS):
            cursor.execute(f"DELETE FROM {model._meta.db_table}")
