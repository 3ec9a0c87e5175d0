import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.sinks import Increment
from tests.sinks.batches import processed
from tests.sinks.databases import ALIAS
from tests.sinks.models import Cell, Computed, Count, Product
from tests.sinks.workers import run_together

pytestmark = pytest.mark.usefixtures("database")

DAY = "2026-01-02"


@pytest.fixture
def product() -> Product:
    return Product.objects.using(ALIAS).create(name="Teapot")


def increment(fields: Any = "views", **options: Any) -> Increment:
    return Increment(
        "sinks.Count", **{"key": ["product", "day"], "fields": fields, "using": ALIAS, **options}
    )


def count() -> Count:
    return Count.objects.using(ALIAS).get()


class TestIncrement:
    def test_inserts_and_then_adds(self, product: Product) -> None:
        event = {"product": product.pk, "day": DAY, "views": 2}
        assert processed(increment(), event, {**event, "views": 3}) == {}
        first = count()
        assert (first.views, first.day, first.note) == (5, date(2026, 1, 2), "fresh")
        long_ago = datetime(2001, 1, 1, tzinfo=UTC)
        Count.objects.using(ALIAS).update(changed=long_ago, note="old")
        processed(increment(), event)
        second = count()
        assert (second.pk, second.views, second.token) == (first.pk, 7, first.token)
        assert second.note == "old"
        assert second.changed > long_ago

    def test_new_rows_have_defaults_of_their_own(self, product: Product) -> None:
        events = [{"product": product.pk, "day": f"2026-01-0{n}", "views": 1} for n in (1, 2)]
        processed(increment(), *events)
        assert len({each.token for each in Count.objects.using(ALIAS).all()}) == 2

    def test_sources_are_names_functions_and_numbers(self, product: Product) -> None:
        sink = increment(
            key={"product": "what", "day": lambda event: event["at"][:10]},
            fields={"views": 1, "ratio": "ms", "total": lambda event: event["cents"] / 100},
        )
        event = {"what": product.pk, "at": f"{DAY}T10:00", "ms": 1.5, "cents": 10}
        assert processed(sink, event, event, event) == {}
        assert (count().views, count().ratio, count().total) == (3, 4.5, Decimal("0.30"))

    def test_foreign_key_may_have_either_name(self, product: Product) -> None:
        events = [{name: product.pk, "day": DAY, "views": 1} for name in ("product", "product_id")]
        for name in ("product", "product_id"):
            assert processed(increment(key=[name, "day"]), *events) == {}
        assert count().views == 4

    def test_fields_of_a_cloud_event_are_in_its_data(self, product: Product) -> None:
        data = {"product": product.pk, "day": DAY, "views": 1}
        envelope = {"specversion": "1.0", "id": "1", "source": "/", "type": "view"}
        assert processed(increment(), {**envelope, "data": data}) == {}
        assert count().views == 1

    def test_decimals_are_exact(self, product: Product) -> None:
        amounts = ["0.10", 0.1, "0.01", 1, "-0.05", "9.99"]
        for _ in range(10):
            events = [{"product": product.pk, "day": DAY, "total": each} for each in amounts]
            processed(increment("total"), *events)
        assert count().total == Decimal("111.50")

    def test_null_counts_as_nothing(self, product: Product) -> None:
        Count.objects.using(ALIAS).create(product=product, day=DAY, maybe=None)
        processed(increment("maybe"), {"product": product.pk, "day": DAY, "maybe": 3})
        assert count().maybe == 3

    def test_composite_and_single_primary_key(self) -> None:
        cells = Increment(Cell, key="pk", fields={"value": 1}, using=ALIAS)
        computed = Increment(Computed, key="name", fields={"other": 1}, using=ALIAS)
        for _ in range(2):
            processed(cells, {"x": 1, "y": "é"}, {"x": 1, "y": "b"}, {"x": 1, "y": "b"})
            processed(computed, {"name": "ü"})
        found = Cell.objects.using(ALIAS).order_by("value")
        assert [*found.values_list("y", "value")] == [("é", 2), ("b", 4)]
        row = Computed.objects.using(ALIAS).get()
        assert (row.other, row.double, row.number) == (2, 4, 3)

    def test_one_statement_for_a_batch(self, product: Product) -> None:
        events = [{"product": product.pk, "day": DAY, "views": 1}] * 20
        events += [
            {"product": product.pk, "day": f"2026-02-{n:02}", "views": 1} for n in range(1, 28)
        ]
        with CaptureQueriesContext(connections[ALIAS]) as queries:
            processed(increment(), *events)
        assert len([q for q in queries if q["sql"].startswith("INSERT")]) == 1

    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            ({"views": None}, "must not be null"),
            ({"views": "many"}, "Field 'views'"),
            ({"views": 1.5}, "not a whole number"),
            ({"product": None}, "Field 'product' must not be null"),
            ({"day": "2026-02-30"}, "Field 'day'"),
        ],
    )
    def test_bad_event_is_rejected_alone(
        self, product: Product, bad: dict[str, Any], reason: str
    ) -> None:
        event = {"product": product.pk, "day": DAY, "views": 1}
        found = processed(increment(), event, {**event, **bad}, event)
        assert [*found] == [1]
        assert reason in found[1]
        assert count().views == 2

    def test_missing_number_is_an_error(self, product: Product) -> None:
        event = {"product": product.pk, "day": DAY}
        found = processed(increment(), event, {**event, "views": 1})
        assert found == {0: "The event gives no 'views', or null."}

    def test_only_events_of_a_deleted_product_are_rejected(self, product: Product) -> None:
        events = [{"product": product.pk, "day": DAY, "views": 1} for _ in range(9)]
        events[2]["product"] = events[7]["product"] = 10**9
        assert sorted(processed(increment(), *events)) == [2, 7]
        assert count().views == 7

    @pytest.mark.parametrize(
        ("field", "most"), [("views", 2**63 - 1), ("total", Decimal("999999.99"))]
    )
    def test_only_events_that_overflow_are_rejected(
        self, product: Product, field: str, most: Any
    ) -> None:
        Count.objects.using(ALIAS).create(product=product, day=DAY, **{field: most - 5})
        event = {"product": product.pk, "day": DAY}
        events = [{**event, field: 3}, {**event, field: 3}, {**event, field: 2}]
        other = {"product": product.pk, "day": "2026-05-05", field: 3}
        assert sorted(processed(increment(field), *events, other)) == [1]
        counts = Count.objects.using(ALIAS).order_by("day").values_list(field, flat=True)
        assert [*counts] == [most, 3]

    @pytest.mark.parametrize(
        ("field", "amounts", "bad", "expected"),
        [
            ("total", ["0.1", "0.2", "999999.99"], [2], Decimal("0.30")),
            ("ratio", [1e308, 1e308, 1.5], [1], 1e308),
        ],
    )
    def test_sum_of_a_new_row_fits(
        self, product: Product, field: str, amounts: list[Any], bad: list[int], expected: Any
    ) -> None:
        events = [{"product": product.pk, "day": DAY, field: each} for each in amounts]
        assert [*processed(increment(field), *events)] == bad
        assert getattr(count(), field) == expected

    def test_float_of_a_row_stays_finite(self, product: Product) -> None:
        Count.objects.using(ALIAS).create(product=product, day=DAY, ratio=1e308)
        events = [{"product": product.pk, "day": DAY, "ratio": each} for each in (1e308, 1.5)]
        assert [*processed(increment("ratio"), *events)] == [0]
        assert count().ratio == 1e308

    def test_nothing_is_rejected_if_every_event_fails(self, product: Product) -> None:
        batch = Batch([{"product": 10**9, "day": DAY, "views": 1}], id="1", attempt=1, bucket="b")
        with pytest.raises(Exception, match=r"product|foreign"):
            increment()(batch)
        assert batch.rejected == {}
        assert Count.objects.using(ALIAS).count() == 0

    def test_numbers_that_are_not_finite_are_bad(self, product: Product) -> None:
        event = {"product": product.pk, "day": DAY, "ratio": 1.5}
        found = processed(increment("ratio"), {**event, "ratio": float("nan")}, event)
        assert [*found] == [0]


def test_four_drains_of_hot_rows_do_not_deadlock_and_sum_exactly() -> None:
    """A thousand rows, and each batch has some hundred of them in an order of its own."""
    products = [Product(name=f"p{n}") for n in range(1000)]
    Product.objects.using(ALIAS).bulk_create(products)
    pks = [*Product.objects.using(ALIAS).values_list("pk", flat=True)]
    counts = Bucket("counts", processor=increment({"views": 1, "total": "price"}), batch_size=500)
    expected: Counter[int] = Counter()
    for _ in range(20):
        chosen = random.choices(pks, k=1000)
        expected.update(chosen)
        counts.extend({"product": pk, "day": DAY, "price": "0.01"} for pk in chosen)
    reports = []

    def work(number: int) -> None:
        reports.append(counts.drain())

    assert run_together(work, range(4)) == []
    assert sum(report.failed for report in reports) == 0
    assert sum(report.processed for report in reports) == 20_000
    rows = Count.objects.using(ALIAS).values_list("product_id", "views", "total")
    assert {pk: (views, total) for pk, views, total in rows} == {
        pk: (views, Decimal(views) / 100) for pk, views in expected.items()
    }


def test_keys_are_locked_in_one_order(product: Product) -> None:
    days = [f"2026-01-{n:02}" for n in range(1, 10)]
    events = [{"product": product.pk, "day": day, "views": 1} for day in days]

    def inserted(order: Sequence[dict[str, Any]]) -> list[str]:
        with CaptureQueriesContext(connections[ALIAS]) as queries:
            processed(increment(), *order)
        (sql,) = [q["sql"] for q in queries if q["sql"].startswith("INSERT")]
        return sorted(days, key=lambda day: sql.index(day))

    assert inserted(events) == inserted(events[::-1]) == days
