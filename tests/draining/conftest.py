import pytest

from django_jsonbuffer import Bucket


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders", batch_size=2)
