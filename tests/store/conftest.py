import pytest

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.store.store import Store


@pytest.fixture
def store() -> Store:
    return Store("orders", configuration())
