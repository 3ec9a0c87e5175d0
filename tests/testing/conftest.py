from collections.abc import Iterator

import pytest

from django_jsonbuffer import Bucket, isolation
from django_jsonbuffer.draining.batches import Batch


@pytest.fixture(autouse=True, params=["memory", "redis"])
def isolated(request: pytest.FixtureRequest, prefix: str) -> Iterator[isolation.Isolation]:
    """An isolation for each test, once in memory and once in a real server."""
    with isolation.isolated(request.param) as active:
        yield active


@pytest.fixture
def orders() -> Bucket:
    return Bucket("orders")


Delivery = tuple[str, int, list[object]]


@pytest.fixture
def deliveries(orders: Bucket) -> list[Delivery]:
    """Id, attempt and events of each batch that the processor of `orders` gets."""
    found: list[Delivery] = []

    @orders.processor
    def note(batch: Batch) -> None:
        found.append((batch.id, batch.attempt, [*batch]))

    return found
