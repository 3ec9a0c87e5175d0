"""Unit tests of the processors: each gets a batch, and no bucket has to hold it."""

from decimal import Decimal
from uuid import uuid4

from django.conf import settings
from django.core import mail
from django.test import SimpleTestCase, TestCase
from django_jsonbuffer import Batch
from django_jsonbuffer.testing import BucketsMixin, assert_appended, assert_idempotent

from orders.buckets import (
    add_points,
    audit,
    book,
    confirmations,
    loyalty,
    order_changes,
    payments,
    send_confirmations,
    stock,
    store_levels,
)
from orders.models import AuditEntry, Customer, Payment, Product

from .data import new_order, new_product


class BatchTests(SimpleTestCase):
    def test_events_are_as_they_come_back_from_a_bucket(self):
        batch = Batch.of([{"total": Decimal("7.00"), "lines": (1, 2)}])
        self.assertEqual([*batch], [{"total": "7.00", "lines": [1, 2]}])

    def test_each_batch_has_an_id_of_its_own(self):
        self.assertNotEqual(Batch.of([1]).id, Batch.of([1]).id)


class StoreLevelsTests(TestCase):
    def test_known_product_keeps_its_name_and_price(self):
        new_product(stock=1)
        store_levels(Batch.of([{"sku": "rye", "level": 8}]))
        rye = Product.objects.get()
        self.assertEqual((rye.stock, rye.name, rye.price), (8, "Rye bread", Decimal("3.50")))

    def test_unknown_product_is_created(self):
        store_levels(Batch.of([{"sku": "oat", "level": 8}]))
        self.assertEqual(Product.objects.get().sku, "oat")

    def test_empty_batch(self):
        with self.assertNumQueries(0):
            store_levels(Batch.of([]))


class BookTests(BucketsMixin, TestCase):
    def payment(self, **values):
        return {"order": new_order().pk, "reference": "a1", "amount": "7.00"} | values

    def test_order_is_paid(self):
        book(Batch.of([self.payment()]))
        self.assertEqual(Payment.objects.get().order.status, "paid")

    def test_points_are_appended(self):
        book(Batch.of([self.payment()]))
        assert_appended("loyalty", points=2, count=1)

    def test_repeated_reference_earns_no_points(self):
        payment = self.payment()
        book(Batch.of([payment, payment]))
        assert_appended("loyalty", points=2, count=1)

    def test_unknown_order_is_rejected_with_a_reason(self):
        batch = Batch.of([self.payment(), self.payment(order=404, reference="a2")])
        book(batch)
        self.assertEqual(batch.rejected, {1: "There is no order 404."})
        self.assertEqual(Payment.objects.count(), 1)


class SendConfirmationsTests(TestCase):
    def test_one_mail_an_event(self):
        event = {"email": "ada@example.com", "product": "Rye bread", "total": "7.00"}
        send_confirmations(Batch.of([event, event | {"email": "bob@example.com"}]))
        self.assertEqual([each.to[0][:3] for each in mail.outbox], ["ada", "bob"])


class IdempotenceTests(BucketsMixin, TestCase):
    """What happens to each bucket if a worker dies before it has acknowledged its batch."""

    def test_stock(self):
        levels = [{"sku": "rye", "level": 3}, {"sku": "oat", "level": 5}]
        assert_idempotent(store_levels, levels)
        assert_idempotent(stock, levels)

    def test_stock_in_small_batches(self):
        options = {"BUCKETS": {"stock": {"batch_size": 2}}}
        with self.settings(JSONBUFFER={**settings.JSONBUFFER, **options}):
            assert_idempotent(stock, [{"sku": f"bread-{n}", "level": n} for n in range(5)])
        self.assertEqual(Product.objects.count(), 5)

    def test_payments(self):
        payment = {"order": new_order().pk, "reference": "a1", "amount": "7.00"}
        assert_idempotent(book, [payment, payment | {"reference": "a2"}])
        assert_idempotent(payments, [payment | {"reference": "a3"}])

    def test_audit(self):
        change = {"type": "orders.order.updated", "subject": "1", "data": {"status": "paid"}}
        changes = [change | {"id": str(uuid4())} for _ in range(3)]
        assert_idempotent(audit, changes)
        assert_idempotent(order_changes, changes)
        self.assertEqual(AuditEntry.objects.count(), 3)

    def test_points_are_added_twice_by_the_processor_alone(self):
        ada = Customer.objects.create(email="ada@example.com")
        with self.assertRaises(AssertionError) as caught:
            assert_idempotent(add_points, [{"customer": ada.pk, "points": 5}])
        self.assertEqual(
            str(caught.exception),
            "The processor is not idempotent: a second delivery of the batch has changed what the "
            "first one had left.\n"
            "  orders.Customer: 1 before, 1 after\n"
            "    - email='ada@example.com', points=5\n"
            "    + email='ada@example.com', points=10",
        )

    def test_points_are_added_once_with_the_receipts_of_the_bucket(self):
        ada = Customer.objects.create(email="ada@example.com")
        assert_idempotent(loyalty, [{"customer": ada.pk, "points": 5}])
        ada.refresh_from_db()
        self.assertEqual(ada.points, 5)

    def test_confirmations_are_sent_twice(self):
        event = {"email": "ada@example.com", "product": "Rye bread", "total": "7.00"}
        with self.assertRaisesMessage(
            AssertionError,
            "django.core.mail.outbox: 1 before, 2 after\n    + 'Your order' to ada@example.com",
        ):
            assert_idempotent(confirmations, [event])
