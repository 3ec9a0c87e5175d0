"""The same on servers. Only if DATABASES or FAULTS says so, because both must be installed."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker, Settings

from tests.differential.databases import mariadb, postgresql
from tests.differential.scale import SEEDS
from tests.differential.search import search

SERVERS = {"postgresql": postgresql, "mariadb": mariadb}


@pytest.fixture(scope="module", params=SERVERS)
def config(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    # Another run of pytest may delete the temporary folders of this one.
    with tempfile.TemporaryDirectory() as folder, SERVERS[request.param](Path(folder)) as config:
        yield config


@pytest.mark.parametrize("seed", SEEDS)
def test_events_are_what_the_rows_became(
    seed: int, config: dict[str, Any], settings: Settings, django_db_blocker: DjangoDbBlocker
) -> None:
    with django_db_blocker.unblock():
        faults = search(seed, config, settings)
    if faults:
        pytest.fail("\n".join(["", *faults]), pytrace=False)
