"""No schedule breaks a promise: see :mod:`tests.faults.schedules`."""

from collections.abc import Iterator

import pytest

from tests.faults.scale import scale
from tests.faults.schedules import Arena, arena, search

PORTIONS = 20


@pytest.fixture
def ground() -> Iterator[Arena]:
    with arena() as ground:
        yield ground


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_search(ground: Arena, portion: int) -> None:
    size = scale(full=20_000, short=1_000) // PORTIONS
    search(ground, range(portion * size, (portion + 1) * size))
