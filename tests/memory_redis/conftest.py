import logging
from collections.abc import Iterator

import pytest

from tests.memory_redis.comparing import Pair, pair


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "django_jsonbuffer")


@pytest.fixture(scope="package")
def servers() -> Iterator[Pair]:
    """A real server and a Redis in memory, which the tests share."""
    with pair() as servers:
        yield servers
