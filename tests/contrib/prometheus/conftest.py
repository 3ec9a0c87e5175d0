from collections.abc import Iterator

import pytest

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.contrib.prometheus import timings
from django_jsonbuffer.exceptions import BucketFull
from tests.contrib.prometheus.exposed import Exposed, exposed
from tests.signals import receivers_are_temporary


@pytest.fixture
def timed() -> Iterator[None]:
    """As with the app in INSTALLED_APPS."""
    with receivers_are_temporary():
        timings.connect()
        yield
        timings.disconnect()


@pytest.fixture
def everything(timed: None, nothing_declared: None, spilling: object) -> Exposed:
    """What is exposed when each metric has a sample."""
    bucket = Bucket("orders", max_pending=2)

    @bucket.processor
    def store(batch: Batch) -> None:
        if "bad" in batch:
            raise ValueError

    for event in ("good", "bad"):
        bucket.append(event)
        bucket.drain()
    with pytest.raises(BucketFull):
        bucket.extend([1, 2, 3])
    return exposed()
