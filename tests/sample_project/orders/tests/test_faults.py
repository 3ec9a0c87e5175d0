"""What happens if something fails: a worker, Redis, a reply or a processor."""

from unittest.mock import patch

from django.conf import settings
from django.core import mail
from django.test import TestCase, TransactionTestCase, override_settings
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.testing import (
    BucketsMixin,
    appended_events,
    assert_appended,
    assert_nothing_appended,
    crash,
    drain_now,
    duplicate_delivery,
    lost_reply,
    redis_away,
)

from orders.buckets import confirmations, loyalty, payments, stock
from orders.models import Customer, Payment, Product

from .data import new_order

LEVELS = [{"sku": "rye", "level": 3}, {"sku": "oat", "level": 5}]


class CrashTests(BucketsMixin, TestCase):
    def test_batch_of_a_worker_that_has_died_is_processed_by_the_next_one(self):
        stock.extend(LEVELS)
        for moment in ("claim", "processor", "commit"):
            with self.subTest(moment), crash(after=moment):
                drain_now("stock")
        self.assertEqual(drain_now("stock").processed, 2)
        self.assertEqual(Product.objects.count(), 2)

    def test_after_its_ack_the_batch_does_not_come_again(self):
        stock.extend(LEVELS)
        with crash(after="ack"):
            drain_now("stock")
        self.assertEqual(drain_now("stock").processed, 0)
        self.assertEqual(Product.objects.count(), 2)

    def test_payment_is_not_booked_by_halves(self):
        """The worker dies within the transaction of atomic=."""
        payments.append({"order": new_order().pk, "reference": "a1", "amount": "7.00"})
        with crash(after="processor"):
            drain_now("payments")
        self.assertFalse(Payment.objects.exists())
        assert_nothing_appended("loyalty")
        drain_now("payments")
        self.assertEqual(Payment.objects.get().order.status, "paid")
        assert_appended("loyalty", count=1)

    def test_points_are_added_once(self):
        ada = Customer.objects.create(email="ada@example.com")
        loyalty.append({"customer": ada.pk, "points": 5})
        with crash(after="commit"):
            drain_now("loyalty")
        report = drain_now("loyalty")
        self.assertEqual((report.processed, report.repeated), (0, 1))
        ada.refresh_from_db()
        self.assertEqual(ada.points, 5)

    def test_customer_gets_a_second_mail(self):
        confirmations.append({"email": "ada@example.com", "product": "Rye bread"})
        with duplicate_delivery():
            drain_now("confirmations")
        self.assertEqual(len(mail.outbox), 2)

    def test_points_are_added_once_if_the_batch_comes_twice(self):
        ada = Customer.objects.create(email="ada@example.com")
        loyalty.append({"customer": ada.pk, "points": 5})
        with duplicate_delivery():
            drain_now("loyalty")
        ada.refresh_from_db()
        self.assertEqual(ada.points, 5)


class LostReplyTests(BucketsMixin, TestCase):
    def test_append_is_stored_once(self):
        with lost_reply():
            stock.extend(LEVELS)
            self.assertEqual(appended_events("stock"), LEVELS)
        self.assertEqual(drain_now("stock").processed, 2)

    def test_ack_is_sent_again(self):
        stock.extend(LEVELS)
        with lost_reply(to="ack"):
            self.assertEqual(drain_now("stock").processed, 2)
        self.assertEqual(stock.status().in_flight, 0)


class RefusedAppendTests(BucketsMixin, TestCase):
    def send(self):
        return self.client.post("/stock/", LEVELS, content_type="application/json")

    @override_settings(JSONBUFFER={**settings.JSONBUFFER, "BUCKETS": {"stock": {"max_pending": 1}}})
    def test_full_bucket_is_a_503(self):
        self.assertEqual(self.send().status_code, 503)
        assert_nothing_appended("stock")

    def test_levels_are_refused_while_redis_is_away(self):
        with redis_away(), self.assertRaises(BufferUnavailable):
            self.send()
        self.assertEqual(self.send().status_code, 202)
        assert_appended("stock", sku="rye", count=1)


class RedisAwayTests(BucketsMixin, TestCase):
    def test_worker_fails_and_nothing_is_lost(self):
        stock.extend(LEVELS, now=True)
        with redis_away(), self.assertRaises(BufferUnavailable):
            drain_now("stock")
        self.assertEqual(drain_now("stock").processed, 2)


class FailingProcessorTests(BucketsMixin, TestCase):
    def test_mail_server_that_is_away(self):
        confirmations.append({"email": "ada@example.com", "product": "Rye bread"})
        away = patch("orders.buckets.send_mail", side_effect=ConnectionRefusedError)
        with away, self.assertRaises(ConnectionRefusedError):
            drain_now("confirmations")
        self.assertEqual(confirmations.status().pending, 1)
        drain_now("confirmations")
        self.assertEqual(len(mail.outbox), 1)

    def test_bad_event_does_not_hold_up_the_others(self):
        stock.extend([*LEVELS, {"sku": "spelt"}])
        with self.assertLogs("django_jsonbuffer", "ERROR"):
            report = drain_now("stock", raises=False)
        self.assertEqual(report.processed, 2)
        self.assertEqual(stock.peek(), [{"sku": "spelt"}])

    def test_bad_event_is_raised_where_the_test_drains(self):
        stock.append({"sku": "spelt"})
        with self.assertRaisesMessage(KeyError, "level"):
            drain_now()


class PaymentTransactionTests(BucketsMixin, TransactionTestCase):
    def test_payment_is_booked_in_a_transaction_of_its_own(self):
        payments.append({"order": new_order().pk, "reference": "a1", "amount": "7.00"})
        broken = patch("orders.models.Order.save", side_effect=RuntimeError)
        with broken, self.assertRaises(RuntimeError):
            drain_now("payments")
        self.assertFalse(Payment.objects.exists())
        drain_now("payments")
        self.assertEqual(Payment.objects.count(), 1)
