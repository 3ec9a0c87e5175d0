"""What the views append: the usual tests of a site."""

import json
from decimal import Decimal
from io import StringIO
from unittest.mock import ANY

from django.core import mail
from django.core.management import call_command
from django.test import TestCase
from django_jsonbuffer.testing import (
    BucketsMixin,
    appended_events,
    assert_appended,
    assert_nothing_appended,
    capture_events,
    commit_appends,
    drain_now,
    redis_away,
)

from orders.buckets import confirmations, payments, stock
from orders.models import AuditEntry, Customer, Order, Payment, Product

from .data import new_order, new_product


class PlaceOrderTests(BucketsMixin, TestCase):
    @classmethod
    def setUpTestData(cls):
        new_product()

    def place(self, **values):
        order = {"email": "ada@example.com", "sku": "rye", "quantity": 2}
        return self.client.post("/orders/", order | values)

    def test_confirmation_is_appended(self):
        self.place()
        assert_appended(
            "confirmations",
            {"email": "ada@example.com", "product": "Rye bread", "total": Decimal("7.00")},
        )

    def test_one_confirmation_an_order(self):
        self.place()
        self.place()
        assert_appended("confirmations", email="ada@example.com", count=2)

    def test_creation_is_recorded(self):
        with capture_events("order-changes") as changes:
            response = self.place()
        self.assertEqual(len(changes), 1)
        self.assertEqual(changes[0]["type"], "orders.order.created")
        self.assertEqual(changes[0]["subject"], str(response.json()["order"]))
        self.assertEqual(changes[0]["data"], {"status": "open", "total": "7.00"})

    def test_order_that_is_sold_out_appends_nothing(self):
        response = self.place(quantity=11)
        self.assertEqual(response.status_code, 409)
        self.assertFalse(Order.objects.exists())
        assert_nothing_appended()

    def test_unknown_product_appends_nothing(self):
        self.assertEqual(self.place(sku="cake").status_code, 404)
        assert_nothing_appended("confirmations")

    def test_customer_gets_a_mail_when_the_worker_comes(self):
        self.place()
        self.assertEqual(mail.outbox, [])
        drain_now("confirmations")
        self.assertEqual(mail.outbox[0].to, ["ada@example.com"])
        self.assertEqual(mail.outbox[0].body, "We bake Rye bread.")

    def test_get_is_refused(self):
        self.assertEqual(self.client.get("/orders/").status_code, 405)
        assert_nothing_appended()

    def test_buckets_are_empty_at_the_beginning(self):
        """Whatever the other tests have appended."""
        assert_nothing_appended()
        self.assertEqual(confirmations.status().pending, 0)

    def test_order_is_placed_while_redis_is_away(self):
        """Without on_unavailable=, events of a committed order are lost, and logged."""
        with self.assertLogs("django_jsonbuffer", "ERROR"), redis_away():
            self.assertEqual(self.place().status_code, 201)
            commit_appends()
        assert_nothing_appended("confirmations")


class CancelOrderTests(BucketsMixin, TestCase):
    def setUp(self):
        self.order = new_order()

    def test_change_is_recorded(self):
        with capture_events("order-changes") as changes:
            self.client.post(f"/orders/{self.order.pk}/cancel/")
        changed = {"status": {"old": "open", "new": "cancelled"}}
        self.assertEqual([change["data"]["changes"] for change in changes], [changed])

    def test_only_the_changed_fields_are_named(self):
        self.client.post(f"/orders/{self.order.pk}/cancel/")
        assert_appended(
            "order-changes",
            type="orders.order.updated",
            data={"status": "cancelled", "total": "7.00", "changes": ANY},
        )

    def test_second_cancellation_changes_nothing(self):
        for _ in range(2):
            self.client.post(f"/orders/{self.order.pk}/cancel/")
        assert_appended("order-changes", type="orders.order.updated", count=1)

    def test_audit_trail_has_the_whole_history(self):
        self.client.post(f"/orders/{self.order.pk}/cancel/")
        self.order.delete()
        drain_now("order-changes")
        actions = AuditEntry.objects.order_by("pk").values_list("action", flat=True)
        self.assertEqual([*actions], ["created", "updated", "deleted"])


class PaymentTests(BucketsMixin, TestCase):
    def pay(self, order, reference="a1"):
        payment = {"order": order, "reference": reference, "amount": "7.00"}
        return self.client.post("/payments/", payment, content_type="application/json")

    def test_payment_is_accepted_at_once_and_booked_later(self):
        order = new_order()
        self.assertEqual(self.pay(order.pk).status_code, 202)
        self.assertFalse(Payment.objects.exists())
        drain_now("payments")
        self.assertEqual(Payment.objects.get().amount, Decimal("7.00"))
        order.refresh_from_db()
        self.assertEqual(order.status, "paid")

    def test_payment_that_the_bank_repeats_is_booked_once(self):
        order = new_order()
        self.pay(order.pk)
        self.pay(order.pk)
        self.assertEqual(drain_now("payments").processed, 2)
        self.assertEqual(Payment.objects.count(), 1)

    def test_payment_of_an_unknown_order_becomes_a_dead_letter(self):
        self.pay(404)
        self.assertEqual(drain_now("payments").buried, 1)
        self.assertEqual(payments.status().dead, 1)

    def test_dead_letter_is_booked_when_its_order_is_there(self):
        order = new_order()
        self.pay(order.pk + 1)
        drain_now("payments")
        new_order()
        payments.dead.replay_all()
        drain_now("payments")
        self.assertEqual(Payment.objects.get().order_id, order.pk + 1)

    def test_payment_earns_points(self):
        self.pay(new_order(quantity=3).pk)
        drain_now("payments", "loyalty")
        self.assertEqual(Customer.objects.get().points, 3)

    def test_events_of_all_buckets_in_the_order_in_which_they_came(self):
        self.pay(new_order().pk)
        drain_now("payments")
        events = appended_events()
        self.assertEqual(events[0]["type"], "orders.order.created")
        self.assertEqual(events[1]["reference"], "a1")
        self.assertEqual(len(events), 4)  # the order is paid, and there are points


class StockTests(BucketsMixin, TestCase):
    levels = [{"sku": "rye", "level": 3}, {"sku": "oat", "level": 5}]

    def send(self, levels):
        return self.client.post("/stock/", json.dumps(levels), content_type="application/json")

    def test_levels_are_stored(self):
        self.assertEqual(self.send(self.levels).status_code, 202)
        drain_now(stock)
        levels = Product.objects.order_by("sku").values_list("sku", "stock")
        self.assertEqual([*levels], [("oat", 5), ("rye", 3)])

    def test_commands_of_the_app(self):
        self.send(self.levels)
        printed = StringIO()
        call_command("drain_buckets", "stock", stdout=printed)
        self.assertEqual(printed.getvalue(), "stock: 2 events in 1 batch\n")
        self.assertEqual(Product.objects.count(), 2)

    def test_last_level_counts(self):
        self.send(self.levels)
        self.send([{"sku": "rye", "level": 0}])
        drain_now(stock)
        self.assertEqual(Product.objects.get(sku="rye").stock, 0)

    def test_event_that_is_not_json_stores_no_level_of_the_others(self):
        self.assertEqual(self.send([*self.levels, float("nan")]).status_code, 400)
        assert_nothing_appended("stock")
