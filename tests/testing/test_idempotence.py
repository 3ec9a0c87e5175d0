from collections.abc import Iterator

import pytest
from django.core import mail

from django_jsonbuffer import Bucket, isolation
from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.testing import assert_idempotent
from tests.sinks.models import Product, Stock

pytestmark = pytest.mark.django_db

EVENTS = [{"sku": "a", "quantity": 1}, {"sku": "b", "quantity": 2}]


def failure(*args: object, **options: object) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_idempotent(*args, **options)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.fixture
def product() -> Product:
    return Product.objects.create(name="shirt")


class TestFunction:
    def test_that_updates_or_creates(self, product: Product) -> None:
        def process(batch: Batch) -> None:
            for event in batch:
                values = {"quantity": event["quantity"], "product": product, "rest": {}}
                Stock.objects.update_or_create(sku=event["sku"], defaults=values)

        assert_idempotent(process, EVENTS)
        assert Stock.objects.count() == 2

    def test_that_deletes_and_creates(self, product: Product) -> None:
        """The rows have other primary keys and times, and the same contents."""

        def process(batch: Batch) -> None:
            for event in batch:
                Stock.objects.filter(sku=event["sku"]).delete()
                Stock.objects.create(product=product, rest={}, **event)

        assert_idempotent(process, EVENTS)

    def test_that_creates(self) -> None:
        def process(batch: Batch) -> None:
            Product.objects.bulk_create(Product(name=event["sku"]) for event in batch)

        assert failure(process, EVENTS).splitlines() == [
            "The processor is not idempotent: a second delivery of the batch has changed what the "
            "first one had left.",
            "  sinks.Product: 2 before, 4 after",
            "    + name='a'",
            "    + name='b'",
        ]

    def test_that_remembers_batches_by_their_id(self) -> None:
        """After a crash, the events may come in other batches."""
        seen: set[str] = set()

        def process(batch: Batch) -> None:
            if batch.id not in seen:
                seen.add(batch.id)
                Product.objects.bulk_create(Product(name=event["sku"]) for event in batch)

        assert "a delivery of its halves, which have another batch.id" in failure(process, EVENTS)
        assert_idempotent(process, EVENTS[:1])

    def test_that_adds_up(self, product: Product) -> None:
        Stock.objects.create(sku="a", product=product, rest={})

        def process(batch: Batch) -> None:
            stock = Stock.objects.get(sku="a")
            stock.quantity += sum(event["quantity"] for event in batch)
            stock.save()

        lines = failure(process, EVENTS).splitlines()
        assert lines[1] == "  sinks.Stock: 1 before, 1 after"
        assert [line[:6] for line in lines[2:]] == ["    - ", "    + "]

    def test_that_sends_mail(self) -> None:
        def process(batch: Batch) -> None:
            mail.outbox.append(mail.EmailMessage("Sold", to=["shop@example.com"]))

        assert "'Sold' to shop@example.com" in failure(process, EVENTS)

    def test_that_appends(self, orders: Bucket) -> None:
        message = failure(lambda batch: orders.extend(batch), EVENTS)
        assert message.splitlines()[1] == "  bucket 'orders': 2 before, 4 after"

    def test_with_fields_that_do_not_matter(self) -> None:
        numbers = iter("123456")

        def process(batch: Batch) -> None:
            Product.objects.update_or_create(defaults={"name": next(numbers)})

        assert_idempotent(process, EVENTS, ignore=["name"])
        assert "name='" in failure(process, EVENTS)

    def test_with_a_state_of_its_own(self) -> None:
        cache: dict[str, int] = {}
        log: list[str] = []

        def process(batch: Batch) -> None:
            cache.update({event["sku"]: event["quantity"] for event in batch})
            log.extend(event["sku"] for event in batch)

        assert_idempotent(process, EVENTS, state=lambda: dict(cache))
        message = failure(process, EVENTS, state=lambda: len(log))
        assert message.splitlines()[1:] == ["  before: 8", "  after:  10"]

    async def coroutine(self, batch: Batch) -> None:
        self.calls = getattr(self, "calls", 0) + 1

    def test_that_is_async(self) -> None:
        assert_idempotent(self.coroutine, EVENTS, state=lambda: 0)
        assert self.calls == 4

    def test_that_fails(self) -> None:
        def process(batch: Batch) -> None:
            raise KeyError("sku")

        with pytest.raises(KeyError):
            assert_idempotent(process, EVENTS)


class TestArguments:
    def test_that_are_no_processor_are_refused(self) -> None:
        with pytest.raises(TypeError, match="'orders' is neither a processor nor a Bucket"):
            assert_idempotent("orders", EVENTS)  # type: ignore[arg-type]

    def test_that_are_one_event_are_refused(self) -> None:
        with pytest.raises(TypeError, match="takes several events"):
            assert_idempotent(create, EVENTS[0])

    def test_are_not_used_without_isolation(
        self, monkeypatch: pytest.MonkeyPatch, orders: Bucket
    ) -> None:
        orders.processor(create)
        with monkeypatch.context() as without:
            without.setattr(isolation, "current", None)
            for processor in (create, orders):
                with pytest.raises(BufferMisconfigured, match="not isolated"):
                    assert_idempotent(processor, EVENTS)
            assert orders.peek() == []
        assert Product.objects.count() == 0


def create(batch: Batch) -> None:
    Product.objects.bulk_create(Product(name=event["sku"]) for event in batch)


class TestBucket:
    def test_whose_processor_is_not_idempotent(self, orders: Bucket) -> None:
        orders.processor(create, atomic="default")
        assert "sinks.Product: 2 before, 4 after" in failure(orders, EVENTS)

    def test_with_receipts(self) -> None:
        orders = Bucket("orders", receipts="default")
        orders.processor(create)
        assert_idempotent(orders, EVENTS)
        assert Product.objects.count() == 2


@pytest.fixture(autouse=True)
def no_mail() -> Iterator[None]:
    mail.outbox = []
    yield
    mail.outbox = []
