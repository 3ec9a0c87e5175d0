from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending import losses
from django_jsonbuffer.appending.spill import Spill


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders")


@pytest.fixture(autouse=True)
def _no_losses_of_another_test() -> Iterator[None]:
    yield
    losses._forget()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spill"


@pytest.fixture
def spilled(folder: Path) -> Iterator[Spill]:
    with closing(Spill(folder)) as spilled:
        yield spilled
