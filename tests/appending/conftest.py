from collections.abc import Iterator

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending import losses


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders")


@pytest.fixture(autouse=True)
def _no_losses_of_another_test() -> Iterator[None]:
    yield
    losses._forget()
