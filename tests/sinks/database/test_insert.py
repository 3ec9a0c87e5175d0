import base64
import sqlite3
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import DatabaseError, OperationalError, connections, models, transaction
from django.test.utils import CaptureQueriesContext

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.django_internals.inserts import most_parameters
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.sinks import Insert
from tests.differential.scale import HAS_SERVERS
from tests.sinks.batches import processed
from tests.sinks.databases import ALIAS
from tests.sinks.models import Cell, Computed, PageView, Product, ProductProxy, Stock, WithoutTable

pytestmark = pytest.mark.usefixtures("database")


def rows(model: type[models.Model], *fields: str) -> list[Any]:
    found = model._base_manager.using(ALIAS).order_by(*fields)
    return [*found.values_list(*fields, flat=len(fields) == 1)]


@pytest.fixture
def product() -> Product:
    return Product.objects.using(ALIAS).create(name="Teapot")


@pytest.fixture
def few_parameters(database: str) -> Iterator[None]:
    """Lets SQLite take few parameters in one statement. Here it may take very many."""
    if database != "sqlite":
        yield
        return
    connections[ALIAS].ensure_connection()
    sqlite = connections[ALIAS].connection
    before = sqlite.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    yield
    sqlite.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, before)


class TestInsert:
    def test_event_becomes_a_row(self) -> None:
        assert processed(Insert("sinks.PageView", using=ALIAS), {"path": "/a"}) == {}
        view = PageView.objects.using(ALIAS).get()
        assert (view.path, view.number, view.rest) == ("/a", 5, None)
        assert view.recorded is not None

    def test_json_becomes_the_types_of_the_fields(self, product: Product) -> None:
        key = uuid.uuid4()
        event = {
            "id": str(key),
            "path": "/ü😀",
            "product": product.pk,
            "at": "2026-01-02T03:04:05+02:00",
            "day": "2026-01-02",
            "price": "12.50",
            "length": "PT1M",
            "content": base64.b64encode(b"\0\xff").decode(),
            "is_robot": True,
            "rest": {"a": [1, None, "ü"]},
        }
        assert processed(Insert(PageView, using=ALIAS), event) == {}
        view = PageView.objects.using(ALIAS).get()
        assert view.pk == key
        assert view.path == "/ü😀"
        assert view.product_id == product.pk
        assert view.at == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)
        assert (view.day, view.price) == (date(2026, 1, 2), Decimal("12.50"))
        assert view.length == timedelta(minutes=1)
        assert bytes(view.content or b"") == b"\0\xff"
        assert (view.is_robot, view.rest) == (True, {"a": [1, None, "ü"]})

    def test_name_of_a_column_of_a_foreign_key_is_a_field_too(self, product: Product) -> None:
        processed(Insert(PageView, using=ALIAS), {"path": "", "product_id": str(product.pk)})
        assert rows(PageView, "product_id") == [product.pk]

    def test_rows_have_the_order_of_the_events(self) -> None:
        processed(Insert(Product, using=ALIAS), *({"name": f"n{n}"} for n in range(50)))
        products = Product.objects.using(ALIAS).order_by("pk")
        assert [each.name for each in products] == [f"n{n}" for n in range(50)]

    def test_composite_key_and_proxy(self) -> None:
        assert processed(Insert(Cell, using=ALIAS), {"x": 1, "y": "a"}, {"x": 1, "y": "b"}) == {}
        assert rows(Cell, "x", "y") == [(1, "a"), (1, "b")]
        with CaptureQueriesContext(connections[ALIAS]) as queries:
            processed(Insert(ProductProxy, using=ALIAS), {"name": "p"})
        assert not any("RETURNING" in query["sql"] for query in queries)
        assert rows(Product, "name") == ["p"]

    def test_defaults_and_columns_of_the_database(self) -> None:
        sink = Insert(Computed, using=ALIAS)
        assert processed(sink, {"name": "a"}, {"name": "b", "number": 4, "other": 5}) == {}
        assert rows(Computed, "name", "number", "double") == [("a", 3, 2), ("b", 4, 10)]

    def test_field_that_the_database_computes_cannot_be_given(self) -> None:
        with pytest.raises(ValueError, match="'double'"):
            processed(Insert(Computed, using=ALIAS), {"name": "a", "double": 1})

    @pytest.mark.parametrize("bad", [0, 3, 6])
    def test_bad_row_is_rejected_alone(self, database: str, bad: int, product: Product) -> None:
        events: list[Any] = [{"path": f"{n}", "product": product.pk} for n in range(7)]
        events[bad]["product"] = 10**9
        assert [*processed(Insert(PageView, using=ALIAS), *events)] == [bad]
        assert rows(PageView, "path") == [f"{n}" for n in range(7) if n != bad]

    def test_repeated_key_is_rejected(self) -> None:
        events = [{"x": x, "y": "a"} for x in (1, 2, 1, 3)]
        assert [*processed(Insert(Cell, using=ALIAS), *events)] == [2]
        assert rows(Cell, "x") == [1, 2, 3]

    def test_value_that_the_database_refuses_is_rejected(self, database: str) -> None:
        bad: dict[str, dict[str, Any]] = {
            "sqlite": {"number": 2**70},
            "postgresql": {"path": "a\0b"},
        }
        event = {"path": "b", **bad.get(database, {"path": "a" * 21})}
        assert [*processed(Insert(PageView, using=ALIAS), {"path": "a"}, event)] == [1]
        assert rows(PageView, "path") == ["a"]

    def test_several_bad_rows_among_many(self, product: Product) -> None:
        events: list[Any] = [{"path": f"{n:03}", "product": product.pk} for n in range(300)]
        bad = [0, 1, 150, 299]
        for place in bad:
            events[place]["product"] = 10**9
        assert sorted(processed(Insert(PageView, using=ALIAS), *events)) == bad
        assert len(rows(PageView, "path")) == 296

    def test_error_is_raised_if_every_row_fails(self) -> None:
        batch = Batch([{"path": "", "product": 10**9}, {"what": 1}], id="1", attempt=1, bucket="b")
        with pytest.raises(Exception, match=r"product|foreign|FOREIGN"):
            Insert(PageView, using=ALIAS)(batch)
        assert rows(PageView, "path") == []

    def test_reference_without_a_constraint_is_not_checked(self) -> None:
        assert processed(Insert(PageView, using=ALIAS), {"path": "", "loose": 10**9}) == {}

    def test_error_of_the_database_is_raised_at_once(self) -> None:
        with CaptureQueriesContext(connections[ALIAS]) as queries, pytest.raises(DatabaseError):
            processed(Insert(WithoutTable, using=ALIAS), {"name": "a"}, {"name": "b"})
        assert len([q for q in queries if "INSERT" in q["sql"]]) <= 1

    def test_one_statement_for_a_batch(self) -> None:
        with CaptureQueriesContext(connections[ALIAS]) as queries:
            processed(Insert(Product, using=ALIAS), *({"name": f"{n}"} for n in range(200)))
        assert len([q for q in queries if q["sql"].startswith("INSERT")]) == 1

    def test_more_events_than_one_statement_takes(
        self, database: str, few_parameters: None
    ) -> None:
        count = most_parameters(connections[ALIAS]) // 10
        assert processed(Insert(PageView, using=ALIAS), *[{"path": "a"}] * count) == {}
        assert PageView.objects.using(ALIAS).count() == count

    def test_existing_rows_are_ignored_on_demand(self) -> None:
        Cell.objects.using(ALIAS).create(x=1, y="a", value=5)
        sink = Insert(Cell, ignore_conflicts=True, using=ALIAS)
        events = [{"x": x, "y": "a", "value": x} for x in (3, 1, 2)]
        assert processed(sink, *events) == {}
        assert rows(Cell, "x", "value") == [(1, 5), (2, 2), (3, 3)]

    def test_works_within_a_transaction(self, product: Product) -> None:
        bad = {"path": "b", "product": 10**9}
        with transaction.atomic(using=ALIAS):
            assert [*processed(Insert(PageView, using=ALIAS), {"path": "a"}, bad)] == [1]
            assert rows(PageView, "path") == ["a"]
            transaction.set_rollback(True, using=ALIAS)
        assert rows(PageView, "path") == []


class TestExtra:
    def test_keeps_unknown_keys(self) -> None:
        sink = Insert(PageView, extra="rest", using=ALIAS)
        assert processed(sink, {"path": "a", "b": 1, "c": [2]}, {"path": "d"}) == {}
        views = PageView.objects.using(ALIAS).order_by("path")
        assert [view.rest for view in views] == [{"b": 1, "c": [2]}, None]

    def test_is_empty_where_null_is_not_allowed(self, product: Product) -> None:
        processed(Insert(Stock, extra="rest", using=ALIAS), {"sku": "a", "product": product.pk})
        assert Stock.objects.using(ALIAS).get().rest == {}


def test_mistaken_options_are_errors() -> None:
    with pytest.raises(BufferMisconfigured, match="rows of a model, not 5"):
        Insert(5)  # type: ignore[arg-type]
    with pytest.raises(BufferMisconfigured, match="rows of a model, not <PageView"):
        Insert(PageView(path="a"))  # type: ignore[arg-type]
    with pytest.raises(BufferMisconfigured, match="AbstractBaseSession is abstract"):
        Insert(AbstractBaseSession)
    with pytest.raises(BufferMisconfigured, match="unknown='drop'"):
        Insert(PageView, unknown="drop")  # type: ignore[arg-type]
    with pytest.raises(BufferMisconfigured, match="Leave one of them out"):
        Insert(PageView, unknown="ignore", extra="rest")


def test_unknown_model_says_what_to_write() -> None:
    with pytest.raises(BufferMisconfigured, match=r"Did you mean 'sinks.PageView'\?"):
        processed(Insert("sinks.PageVeiw", using=ALIAS), {"path": "a"})


def test_unreachable_database_is_raised() -> None:
    config = {**connections.databases[ALIAS], "ENGINE": "django.db.backends.sqlite3"}
    connections.databases["away"] = {**config, "NAME": "/nowhere/at/all.sqlite3", "OPTIONS": {}}
    try:
        with pytest.raises(OperationalError):
            processed(Insert(PageView, using="away"), {"path": "a"}, {"path": "b"})
    finally:
        del connections["away"], connections.databases["away"]


@pytest.fixture
def views() -> Bucket:
    return Bucket("views", processor=Insert("sinks.PageView", using=ALIAS))


class TestBucket:
    def test_bad_events_become_dead_letters(self, views: Bucket) -> None:
        views.extend([{"path": "a"}, {"pat": "b"}, {"path": "c"}, {"path": "d", "at": "soon"}])
        report = views.drain()
        assert (report.processed, report.buried, report.failed) == (2, 2, 0)
        assert rows(PageView, "path") == ["a", "c"]
        errors = sorted(letter.error for letter in views.dead)
        assert "Did you mean 'path'?" in errors[1]
        assert "Field 'at'" in errors[0]

    def test_many_events(self, views: Bucket) -> None:
        events = 100_000 if HAS_SERVERS else 10_000  # `make test` must be quick
        for start in range(0, events, 10_000):
            views.extend({"path": f"{n}", "number": n} for n in range(start, start + 10_000))
        assert views.drain().processed == events
        numbers = PageView.objects.using(ALIAS).values_list("number", flat=True)
        assert sorted(numbers) == [*range(events)]
