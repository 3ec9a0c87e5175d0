from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker, Settings

from tests.differential.databases import sqlite
from tests.differential.scale import SEEDS
from tests.differential.search import search


@pytest.mark.parametrize("seed", SEEDS)
def test_events_are_what_the_rows_became(
    seed: int, tmp_path: Path, settings: Settings, django_db_blocker: DjangoDbBlocker
) -> None:
    with django_db_blocker.unblock(), sqlite(tmp_path) as config:
        faults = search(seed, config, settings)
    if faults:
        pytest.fail("\n".join(["", *faults]), pytrace=False)
