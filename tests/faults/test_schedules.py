"""No schedule breaks a promise: see :mod:`tests.faults.schedules`."""

import pytest

from django_jsonbuffer.conf import configuration
from tests.faults.scale import scale
from tests.faults.schedules import search
from tests.server import Redis

PORTIONS = 20

KEPT_SEEDS: list[int] = []
"""Seeds of schedules that broke a promise once."""


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_search(private_server: Redis, portion: int) -> None:
    size = scale(full=20_000, short=1_000) // PORTIONS
    search(private_server, configuration(), range(portion * size, (portion + 1) * size))


def test_kept(private_server: Redis) -> None:
    search(private_server, configuration(), KEPT_SEEDS)
