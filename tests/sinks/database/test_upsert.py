import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_jsonbuffer import Batch
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.sinks import Upsert
from tests.sinks.batches import processed
from tests.sinks.databases import ALIAS
from tests.sinks.models import Cell, Computed, Count, Product, Stock
from tests.sinks.workers import run_together

pytestmark = pytest.mark.usefixtures("database")

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


@pytest.fixture
def product() -> Product:
    return Product.objects.using(ALIAS).create(name="Teapot")


def upsert(**options: Any) -> Upsert:
    return Upsert("sinks.Stock", **{"unique_fields": ["sku"], "using": ALIAS, **options})


def event(product: Product, sku: str = "a", **fields: Any) -> dict[str, Any]:
    return {"sku": sku, "product": product.pk, "rest": {}, **fields}


def stock(sku: str = "a") -> Stock:
    return Stock.objects.using(ALIAS).get(sku=sku)


class TestUpsert:
    def test_inserts_and_then_updates(self, product: Product) -> None:
        processed(upsert(), event(product, quantity=1))
        first = stock()
        assert (first.quantity, first.note) == (1, "fresh")
        Stock.objects.using(ALIAS).update(changed=LONG_AGO, created=LONG_AGO)
        processed(upsert(), event(product, quantity=2, note=None))
        second = stock()
        assert (second.pk, second.quantity, second.note) == (first.pk, 2, None)
        assert second.changed > LONG_AGO
        assert second.created == LONG_AGO

    def test_field_that_is_not_given_is_kept(self, product: Product) -> None:
        processed(upsert(), event(product, quantity=1, note="old"))
        processed(upsert(), event(product, quantity=2), event(product, "b"))
        assert (stock().note, stock().quantity) == ("old", 2)
        assert (stock("b").note, stock("b").quantity) == ("fresh", 7)

    def test_events_of_a_key_are_merged_in_order(self, product: Product) -> None:
        assert (
            processed(
                upsert(),
                event(product, note="first", quantity=1),
                event(product, "b", quantity=9),
                event(product, quantity=2),
            )
            == {}
        )
        assert (stock().note, stock().quantity, stock("b").quantity) == ("first", 2, 9)

    def test_required_field_need_not_be_given_for_a_row_that_exists(self, product: Product) -> None:
        processed(upsert(), event(product, quantity=1))
        found = processed(upsert(), {"sku": "a", "quantity": 2}, {"sku": "new", "quantity": 3})
        assert [*found] == [1]
        assert (stock().quantity, stock().product_id) == (2, product.pk)

    def test_update_fields_limits_the_updates(self, product: Product) -> None:
        sink = upsert(update_fields=["quantity"])
        processed(sink, event(product, quantity=1, note="old"))
        processed(sink, event(product, quantity=2, note="new"))
        assert (stock().quantity, stock().note) == (2, "old")

    def test_wrong_name_in_update_fields(self, product: Product) -> None:
        with pytest.raises(BufferMisconfigured, match="no field 'qantity'"):
            processed(upsert(update_fields=["qantity"]), event(product, quantity=1))

    def test_event_of_the_key_alone_inserts_or_changes_nothing(self) -> None:
        sink = Upsert(Computed, unique_fields=["pk"], using=ALIAS)
        Computed.objects.using(ALIAS).create(name="a", other=5)
        assert processed(sink, {"name": "a"}, {"name": "b"}) == {}
        found = Computed.objects.using(ALIAS).order_by("name")
        assert [*found.values_list("name", "other", "number")] == [("a", 5, 3), ("b", 1, 3)]

    def test_composite_key(self) -> None:
        sink = Upsert(Cell, unique_fields=["pk"], using=ALIAS)
        processed(sink, {"x": 1, "y": "a", "value": 1}, {"x": 1, "y": "b", "value": 2})
        processed(sink, {"x": 1, "y": "a", "value": 3})
        found = Cell.objects.using(ALIAS).order_by("y")
        assert [*found.values_list("y", "value")] == [("a", 3), ("b", 2)]

    def test_key_of_several_fields_with_a_foreign_key(self, product: Product) -> None:
        sink = Upsert(Count, unique_fields=["product_id", "day"], using=ALIAS)
        for views in (1, 2):
            processed(sink, {"product": product.pk, "day": "2026-01-01", "views": views})
        assert Count.objects.using(ALIAS).get().views == 2

    @pytest.mark.parametrize("bad", [{"sku": None}, {"quantity": 5}])
    def test_key_must_be_given(self, product: Product, bad: dict[str, Any]) -> None:
        found = processed(upsert(), event(product), {**bad, "product": product.pk})
        assert [*found] == [1]
        assert "'sku'" in found[1]

    def test_bad_row_is_rejected_alone(self, product: Product) -> None:
        events = [event(product, f"s{n}", quantity=n) for n in range(20)]
        events[13]["product"] = 10**9
        assert [*processed(upsert(), *events)] == [13]
        assert Stock.objects.using(ALIAS).count() == 19

    def test_nothing_is_rejected_if_every_row_fails(self, product: Product) -> None:
        batch = Batch([{"sku": "a", "product": 10**9}], id="1", attempt=1, bucket="b")
        with pytest.raises(Exception, match=r"product|null|NULL|foreign|rest"):
            upsert()(batch)
        assert batch.rejected == {}

    def test_one_statement_if_all_events_give_the_same_fields(self, product: Product) -> None:
        events = [event(product, f"s{n}", quantity=n) for n in range(50)]
        with CaptureQueriesContext(connections[ALIAS]) as queries:
            processed(upsert(), *events)
        assert len([q for q in queries if q["sql"].startswith("INSERT")]) == 1

    def test_extra_is_kept_if_an_event_has_no_unknown_key(self, product: Product) -> None:
        sink = upsert(extra="rest")
        first = {"sku": "a", "product": product.pk, "color": "red"}
        processed(sink, first)
        processed(sink, {"sku": "a", "quantity": 3})
        assert (stock().rest, stock().quantity) == ({"color": "red"}, 3)


class TestVersion:
    def test_older_event_changes_nothing(self, product: Product) -> None:
        sink = upsert(version_field="version")
        processed(sink, event(product, version=5, quantity=5))
        processed(sink, event(product, version=4, quantity=4))
        assert (stock().version, stock().quantity) == (5, 5)
        processed(sink, event(product, version=5, quantity=6))
        assert stock().quantity == 6
        processed(sink, event(product, version=7, quantity=7))
        assert (stock().version, stock().quantity) == (7, 7)

    def test_row_without_a_version_is_older_than_any_event(self, product: Product) -> None:
        processed(upsert(), event(product, quantity=1))
        processed(upsert(version_field="version"), event(product, version=1, quantity=2))
        assert stock().quantity == 2

    def test_events_of_a_batch_are_applied_in_order_of_their_version(
        self, product: Product
    ) -> None:
        versions = (3, 1, 9, 2)
        sink = upsert(version_field="version")
        processed(sink, *(event(product, version=v, quantity=v) for v in versions))
        assert stock().quantity == 9

    def test_old_event_does_not_slip_in_with_a_new_one(self, product: Product) -> None:
        """The old one alone gives a note, and the row is newer than it."""
        sink = upsert(version_field="version")
        processed(sink, event(product, version=5, note="kept"))
        new = event(product, version=6, quantity=6)
        assert processed(sink, new, event(product, version=4, note="old")) == {}
        assert (stock().note, stock().quantity, stock().version) == ("kept", 6, 6)

    def test_older_event_of_a_batch_gives_what_the_newer_one_does_not(
        self, product: Product
    ) -> None:
        sink = upsert(version_field="version")
        new = event(product, version=6, quantity=6)
        assert processed(sink, new, event(product, version=4, note="old")) == {}
        assert (stock().note, stock().quantity, stock().version) == ("old", 6, 6)

    def test_newer_event_of_a_new_row_need_not_give_what_the_older_one_gives(
        self, product: Product
    ) -> None:
        sink = upsert(version_field="version")
        new = {"sku": "a", "quantity": 6, "version": 6}
        assert processed(sink, new, event(product, version=4, note="old")) == {}
        assert (stock().note, stock().quantity, stock().product_id) == ("old", 6, product.pk)

    def test_event_without_a_version_is_bad(self, product: Product) -> None:
        found = processed(
            upsert(version_field="version"), event(product), event(product, version=1)
        )
        assert found == {0: "The event gives no 'version', or null."}

    def test_never_goes_back_if_several_workers_write(self, product: Product) -> None:
        events = [
            event(product, f"s{sku}", version=version, quantity=version, note=f"{version}")
            for sku in range(40)
            for version in range(30)
        ]
        for each in events[::3]:
            del each["note"]
        random.shuffle(events)

        def work(part: Sequence[Any]) -> None:
            sink = upsert(version_field="version")
            for start in range(0, len(part), 100):
                processed(sink, *part[start : start + 100])

        assert run_together(work, [events[n::4] for n in range(4)]) == []
        found = Stock.objects.using(ALIAS).values_list("version", "quantity")
        assert [*found] == [(29, 29)] * 40


def test_deadlock_with_other_code_is_tried_again(database: str, product: Product) -> None:
    """The other code locks the rows in another order. PostgreSQL then ends one of the two."""
    if database == "sqlite":
        return  # it has one writer at a time, so no deadlocks
    for sku in "ab":
        processed(upsert(), event(product, sku, quantity=0))

    def work(order: str) -> None:
        for _ in range(30):
            if order == "ab":
                processed(upsert(), *(event(product, sku, quantity=1) for sku in order))
                continue
            with suppress(OperationalError), transaction.atomic(using=ALIAS):
                for sku in order:
                    Stock.objects.using(ALIAS).filter(sku=sku).update(quantity=2)

    assert run_together(work, ["ab", "ba"]) == []
