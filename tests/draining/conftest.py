from collections.abc import Iterator

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.draining import failure_log


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders", batch_size=2)


@pytest.fixture(autouse=True)
def no_traceback_was_logged() -> Iterator[None]:
    """Another test of this process may have logged the same one."""
    failure_log.places_logged.clear()
    yield
    failure_log.places_logged.clear()
