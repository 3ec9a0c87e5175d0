"""Several workers write the same rows."""

from threading import Event
from time import sleep

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from django_jsonbuffer.sinks import Insert, Upsert
from tests.sinks.batches import processed
from tests.sinks.databases import ALIAS
from tests.sinks.models import Cell, Product, Stock
from tests.sinks.workers import run_together

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def product() -> Product:
    return Product.objects.using(ALIAS).create(name="Teapot")


def upsert() -> Upsert:
    return Upsert(Stock, unique_fields=["sku"], using=ALIAS)


def test_keys_that_may_exist_are_locked_in_one_order() -> None:
    names = [f"name-{n}" for n in range(9)]
    sink = Insert(Cell, ignore_conflicts=True, using=ALIAS)
    with CaptureQueriesContext(connections[ALIAS]) as queries:
        processed(sink, *({"x": 1, "y": name} for name in reversed(names)))
    (sql,) = [q["sql"] for q in queries if q["sql"].startswith("INSERT")]
    assert sorted(names, key=sql.index) == names


def test_rows_are_locked_in_order_before_groups_of_them_are_written(product: Product) -> None:
    events = [{"sku": f"sku-{n}", "product": product.pk, "rest": {}} for n in (3, 1, 2)]
    events[2]["quantity"] = 1
    with CaptureQueriesContext(connections[ALIAS]) as queries:
        processed(upsert(), *events)
    inserts = [q["sql"] for q in queries if q["sql"].startswith("INSERT")]
    assert len(inserts) == 3
    skus = ["sku-1", "sku-2", "sku-3"]
    assert sorted(skus, key=inserts[0].index) == skus


def test_waits_for_another_writer_before_it_reads(product: Product) -> None:
    Stock.objects.using(ALIAS).create(sku="a", product=product, rest={})
    has_written = Event()

    def work(who: str) -> None:
        if who == "sink":
            has_written.wait(60)
            processed(upsert(), {"sku": "a", "note": "sink"})
            return
        with transaction.atomic(using=ALIAS):
            Stock.objects.using(ALIAS).update(quantity=5)
            has_written.set()
            sleep(0.2)

    assert run_together(work, ["sink", "other"]) == []
    assert [*Stock.objects.using(ALIAS).values_list("note", "quantity")] == [("sink", 5)]
