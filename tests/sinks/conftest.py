import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker

from tests.sinks.databases import STARTS, delete_all_rows, tables
from tests.sinks.servers import Server, serve


@pytest.fixture(scope="session", params=STARTS)
def running_database(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    with (
        django_db_blocker.unblock(),
        tempfile.TemporaryDirectory() as folder,
        STARTS[request.param](Path(folder)) as config,
        tables(config),
    ):
        yield request.param


@pytest.fixture
def database(running_database: str) -> Iterator[str]:
    """The name of the database under test, which has the alias ALIAS. Its tables are empty."""
    yield running_database
    delete_all_rows()


@pytest.fixture
def server() -> Iterator[Server]:
    """An HTTP server that accepts all requests, until the test says otherwise."""
    with serve() as server:
        yield server
