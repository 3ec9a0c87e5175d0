import math
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import django
import pytest
from django.db import connection
from django.db.models import Model, Value
from django.db.models.functions import Lower
from django.test.utils import CaptureQueriesContext
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from pytest_django import Settings

from django_jsonbuffer import Bucket
from tests.library.models import (
    Book,
    Code,
    Comic,
    Grade,
    Imported,
    Membership,
    Odd,
    Reader,
    Stamped,
    Status,
    Titled,
)
from tests.recorded import data, recorded

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.fixture
def queries_of_save(bucket: Bucket) -> Callable[..., int]:
    """How many queries a recorded save takes besides the save itself. Checks the event."""

    def queries_of_save(model: type[Model], field: str, value: Any) -> int:
        bucket.record(model, fields=[field])
        with CaptureQueriesContext(connection) as queries:
            instance = model._default_manager.create(**{field: value})
        bucket.record_bulk(model._default_manager.filter(pk=instance.pk), "updated")
        created, stored = data(bucket)
        assert created == stored
        return len(queries) - 1

    return queries_of_save


class TestKnown:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("title", "It"),
            ("status", Status.PUBLISHED),
            ("grade", Grade.HIGH),
            ("pages", 3),
            ("price", Decimal("1.5")),
            ("price", Decimal(100)),
            ("price", Decimal("1E+3")),
            ("rating", 0.5),
            ("rating", 0.0),
            ("rating", None),
            ("printed", date(2026, 1, 2)),
            ("sold_at", NOW),
            ("sold_at", datetime.fromisoformat("2026-01-02T03:04:05+05:30")),
            ("opens", time(8, 30)),
            ("reading_time", timedelta(hours=2)),
            ("isbn", uuid.UUID(int=1)),
            ("extras", {"a": [1, None, True, "x"]}),
            ("thumbnail", b"x"),
            ("is_lent", True),
            ("cover", "a.png"),
            ("author", None),
        ],
    )
    def test_value_takes_no_query(
        self, queries_of_save: Callable[..., int], field: str, value: Any
    ) -> None:
        assert queries_of_save(Book, field, value) == 0

    def test_field_that_changes_nothing_takes_none(
        self, queries_of_save: Callable[..., int]
    ) -> None:
        assert queries_of_save(Titled, "name", "It") == 0

    def test_generated_field_takes_one(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["loud_title"])
        with CaptureQueriesContext(connection) as queries:
            Book.objects.create(title="It")
        assert len(queries) == 2
        assert data(bucket) == [{"loud_title": "IT"}]

    def test_child_takes_none(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["title", "pages"])
        with CaptureQueriesContext(connection) as queries:
            Comic.objects.create(title="It")
        assert not any(query["sql"].startswith("SELECT") for query in queries)


class TestUnknown:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("title", 5),
            ("title", lazystr("It")),
            ("title", mark_safe("It")),
            ("title", Grade.HIGH),
            ("pages", "3"),
            ("pages", True),
            ("price", 1),
            ("price", Decimal("-0.00")),
            ("price", Decimal("1.005")),
            ("rating", 1),
            ("rating", -0.0),
            ("rating", math.inf),
            ("printed", NOW),
            ("sold_at", "2026-01-02T03:04:05Z"),
            ("opens", "08:30"),
            ("isbn", str(uuid.UUID(int=1))),
            ("extras", {"a": 1.5}),
            ("extras", (1, 2)),
            ("extras", {1: 2}),
            ("extras", 2**70),
            ("thumbnail", memoryview(b"x")),
            ("is_lent", 1),
        ],
    )
    def test_value_takes_one_query(
        self, queries_of_save: Callable[..., int], field: str, value: Any
    ) -> None:
        assert queries_of_save(Book, field, value) == 1

    def test_expression_takes_one_unless_django_reads_it(
        self, queries_of_save: Callable[..., int]
    ) -> None:
        is_read_by_django = django.VERSION >= (6, 0)
        assert queries_of_save(Book, "title", Lower(Value("IT"))) == (not is_read_by_django)

    @pytest.mark.filterwarnings("ignore:DateTimeField .* received a naive datetime")
    def test_naive_datetime(self, queries_of_save: Callable[..., int]) -> None:
        assert queries_of_save(Book, "sold_at", datetime(2026, 1, 2)) == 1

    @pytest.mark.parametrize(
        ("model", "field", "value"),
        [(Odd, "name", "ANN"), (Odd, "price", 3), (Stamped, "stamp", 3), (Stamped, "name", "Ann")],
    )
    def test_field_of_the_project_takes_one(
        self, queries_of_save: Callable[..., int], model: type[Model], field: str, value: Any
    ) -> None:
        assert queries_of_save(model, field, value) == 1

    def test_values_are_those_of_the_database(self, bucket: Bucket) -> None:
        bucket.record(Odd, changes=True)
        bucket.record(Stamped, changes=True)
        odd, stamped = Odd.objects.create(name="ANN"), Stamped.objects.create(name="Ann")
        odd.save()
        stamped.save()
        assert data(bucket) == [
            {"id": odd.pk, "name": "ann", "price": "1 €"},
            {"id": stamped.pk, "name": "Ann", "stamp": 7},
        ]

    def test_key_and_the_rest_of_the_row_take_one_together(self, bucket: Bucket) -> None:
        bucket.record(Code)
        with CaptureQueriesContext(connection) as queries:
            Code.objects.create(id="ABC", name="x")
        assert len(queries) == 2
        [event] = recorded(bucket)
        assert (event["subject"], event["data"]) == ("abc", {"id": "abc", "name": "x"})

    def test_time_zones_are_off(
        self, settings: Settings, queries_of_save: Callable[..., int]
    ) -> None:
        settings.USE_TZ = False
        assert queries_of_save(Book, "sold_at", NOW.replace(tzinfo=None)) == 1


class TestTableOfAnotherMaker:
    @pytest.fixture(autouse=True)
    def _table(self) -> Iterator[None]:
        with connection.schema_editor() as editor:
            editor.execute(
                "CREATE TABLE library_imported (id integer PRIMARY KEY, "
                "name varchar(20) NOT NULL COLLATE NOCASE CHECK (length(name) < 5))"
            )
            editor.execute(
                "CREATE TRIGGER upper_name AFTER INSERT ON library_imported BEGIN "
                "UPDATE library_imported SET name = upper(NEW.name) WHERE id = NEW.id; END"
            )
        yield
        with connection.schema_editor() as editor:
            editor.execute("DROP TABLE library_imported")

    def test_every_value_is_read(self, bucket: Bucket) -> None:
        bucket.record(Imported, fields=["name"])
        Imported.objects.create(name="ann")
        assert data(bucket) == [{"name": "ANN"}]


class TestReadBack:
    def test_trigger_is_seen(self, bucket: Bucket) -> None:
        bucket.record(Titled, fields=["name"], read_back=True, changes=True)
        with connection.schema_editor() as editor:
            editor.execute(
                "CREATE TRIGGER upper_name AFTER UPDATE ON library_titled BEGIN "
                "UPDATE library_titled SET name = upper(NEW.name) WHERE id = NEW.id; END"
            )
        try:
            titled = Titled.objects.create(name="ann")
            titled.name = "bea"
            titled.save()
        finally:
            with connection.schema_editor() as editor:
                editor.execute("DROP TRIGGER upper_name")
        assert data(bucket) == [
            {"name": "ann"},
            {"name": "BEA", "changes": {"name": {"old": "ann", "new": "BEA"}}},
        ]


class TestKeys:
    def test_subject_is_the_key_as_it_is_read_back(self, bucket: Bucket) -> None:
        bucket.record(Reader, fields=["name"], changes=True)
        key = uuid.UUID("a0ee0000-0000-0000-0000-000000000001")
        reader = Reader.objects.create(pk=key.hex.upper(), name="Ann")
        reader.name = "Bea"
        reader.save()
        bucket.record_bulk([reader], "updated")
        reader.delete()
        assert [event["subject"] for event in recorded(bucket)] == [str(key)] * 4

    def test_bulk_with_keys_as_text(
        self, bucket: Bucket, django_assert_num_queries: Callable[[int], Any]
    ) -> None:
        books = [Book.objects.create(title=title) for title in "ab"]
        bucket.record(Book, fields=["title", "loud_title"])
        again = [Book(pk=str(book.pk), title=book.title) for book in books]
        with django_assert_num_queries(1):
            bucket.record_bulk(again, "updated")
        assert [(event["subject"], event["data"]) for event in recorded(bucket)] == [
            (str(book.pk), {"title": book.title, "loud_title": book.title.upper()})
            for book in books
        ]

    def test_bulk_with_keys_that_only_the_database_knows(self, bucket: Bucket) -> None:
        bucket.record(Code, fields=["id", "name"], on=["updated"])
        codes = [Code.objects.create(id=key, name=key) for key in ("ABC", "DEF")]
        bucket.record_bulk(codes, "updated")
        assert [(event["subject"], event["data"]) for event in recorded(bucket)] == [
            ("abc", {"id": "abc", "name": "ABC"}),
            ("def", {"id": "def", "name": "DEF"}),
        ]

    def test_foreign_key_to_a_field_of_the_project(self, bucket: Bucket) -> None:
        bucket.record(Membership, fields=["reader"])
        reader = Reader.objects.create()
        with CaptureQueriesContext(connection) as queries:
            Membership.objects.create(number="1", reader=reader)
        assert len(queries) == 1
