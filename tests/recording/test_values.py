import base64
import enum
import math
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import models, transaction
from django.db.models import F, Value
from django.db.models.functions import Lower, Now
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import EventTooLarge
from tests.library.models import (
    Author,
    Book,
    Grade,
    Loan,
    Reader,
    Status,
    Tag,
)
from tests.recorded import data, told

pytestmark = pytest.mark.django_db(transaction=True)


class TestValues:
    def test_of_each_kind(self, bucket: Bucket) -> None:
        bucket.record(Book)
        book = Book.objects.create(
            title="Ä",
            status=Status.PUBLISHED,
            grade=Grade.HIGH,
            pages=2**31 - 1,
            price=Decimal("1.50"),
            rating=0.1,
            printed=date(2026, 1, 2),
            sold_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
            opens=time(8, 30),
            reading_time=timedelta(hours=2),
            isbn=uuid.UUID(int=1),
            extras={"a": [1, None]},
            thumbnail=b"\x00\xff",
            is_lent=True,
        )
        event = data(bucket)[0]
        del event["cover"]
        assert event == {
            "id": book.pk,
            "title": "Ä",
            "status": "published",
            "grade": 2,
            "pages": 2**31 - 1,
            "price": "1.50",
            "rating": 0.1,
            "printed": "2026-01-02",
            "sold_at": "2026-01-02T03:04:05.000678Z",
            "opens": "08:30:00",
            "reading_time": "P0DT02H00M00S",
            "isbn": str(uuid.UUID(int=1)),
            "extras": {"a": [1, None]},
            "thumbnail": base64.b64encode(b"\x00\xff").decode(),
            "is_lent": True,
            "shelf": "A1",
            "loud_title": "Ä",
            "author_id": None,
            "sequel_of_id": None,
        }

    @pytest.mark.parametrize("encoder", ["json", "orjson"])
    @pytest.mark.parametrize(
        ("field", "given"),
        [
            ("title", 5),
            ("title", Status.DRAFT),
            ("status", Status.PUBLISHED),
            ("grade", Grade.HIGH),
            ("grade", "2"),
            ("pages", "3"),
            ("pages", 3.7),
            ("pages", True),
            ("price", "3"),
            ("price", 3),
            ("price", 3.5),
            ("price", Decimal("3.0000")),
            ("price", "1.126"),
            ("rating", "0.5"),
            ("rating", 1),
            ("printed", "2026-01-02"),
            ("printed", datetime(2026, 1, 2, 3, tzinfo=UTC)),
            ("sold_at", "2026-01-02T03:04:05+00:00"),
            ("sold_at", datetime.fromisoformat("2026-01-02T03:04:05+02:00")),
            ("opens", "08:30"),
            ("reading_time", timedelta(hours=2)),
            ("isbn", str(uuid.UUID(int=1))),
            ("isbn", uuid.UUID(int=1).hex),
            ("extras", [1, "a", {"b": None}]),
            ("extras", (1, 2)),
            ("extras", {1: {2: "a"}}),
            ("extras", "text"),
            ("extras", Value(None, models.JSONField())),
            ("cover", "a/b.png"),
            ("cover", None),
            ("thumbnail", bytearray(b"x")),
            ("thumbnail", memoryview(b"x")),
            ("is_lent", "True"),
            ("is_lent", 1),
            ("title", Lower(Value("IT"))),
            ("shelf", "B2"),
        ],
    )
    def test_are_those_that_the_database_gives_back(
        self,
        bucket: Bucket,
        configure: Callable[..., None],
        encoder: str,
        field: str,
        given: Any,
    ) -> None:
        configure(ENCODER=encoder)
        bucket.record(Book, fields=[field])
        Book.objects.create(**{field: given})
        Book.objects.get().delete()
        created, deleted = data(bucket)
        assert created == deleted

    @pytest.mark.parametrize("given", [math.nan, math.inf, -math.inf])
    def test_number_that_json_has_not_is_null(self, bucket: Bucket, given: float) -> None:
        bucket.record(Book, fields=["rating"])
        Book.objects.create(rating=given)
        assert data(bucket) == [{"rating": None}]

    def test_file_is_its_name(self, bucket: Bucket, settings: Settings, tmp_path: Path) -> None:
        settings.MEDIA_ROOT = tmp_path
        bucket.record(Book, fields=["cover"])
        book = Book()
        book.cover.save("a.png", ContentFile(b"x"))
        assert data(bucket) == [{"cover": book.cover.name}]

    def test_plain_enum_is_text_as_the_field_has_it(self, bucket: Bucket) -> None:
        class Color(enum.Enum):
            RED = "red"

        bucket.record(Book, fields=["title"])
        book = Book.objects.create(title=Color.RED)  # type: ignore[misc]
        assert data(bucket) == [{"title": "Color.RED"}]
        book.refresh_from_db()
        assert book.title == "Color.RED"

    def test_expression_is_what_it_came_to(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["pages", "title"])
        book = Book.objects.create(pages=1, title="It")
        book.pages = F("pages") + 1
        book.save()
        book.refresh_from_db()
        book.pages = F("pages") + 1
        book.save(update_fields=["pages"])
        assert [event["pages"] for event in data(bucket)] == [1, 2, 3]

    def test_expression_on_creation(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["sold_at", "title"])
        book = Book.objects.create(sold_at=Now(), title=Lower(Value("IT")))
        book.refresh_from_db()
        event = data(bucket)[0]
        assert event["title"] == "it"
        assert book.sold_at == datetime.fromisoformat(event["sold_at"])

    def test_generated_field_follows(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["loud_title"])
        book = Book.objects.create(title="a")
        book.title = "b"
        book.save()
        book.title = "c"
        book.save(update_fields=["title"])
        book.delete()
        assert [event["loud_title"] for event in data(bucket)] == ["A", "B", "C", "C"]

    def test_default_of_the_database(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["shelf"])
        Book.objects.create()
        Book.objects.create(shelf="B2")
        assert data(bucket) == [{"shelf": "A1"}, {"shelf": "B2"}]

    def test_field_not_saved_is_as_stored(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["id", "title", "pages", "author"], on=["updated"])
        book = Book.objects.create(title="stored", pages=1)
        book.title, book.pages, book.author_id = "of memory", 2, 99
        book.save(update_fields=["pages"])
        assert data(bucket) == [{"id": book.pk, "title": "stored", "pages": 2, "author_id": None}]

    def test_foreign_key_is_saved_by_either_name(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["author"], on=["updated"])
        author = Author.objects.create(name="Ann")
        book = Book.objects.create()
        book.author = author
        book.save(update_fields=["author"])
        book.author = None
        book.save(update_fields=["author_id"])
        assert data(bucket) == [{"author_id": author.pk}, {"author_id": None}]

    def test_all_saved_fields_are_known_without_a_query(
        self, bucket: Bucket, django_assert_num_queries: Callable[[int], Any]
    ) -> None:
        bucket.record(Book, fields=["title", "pages"])
        book = Book.objects.create()
        with django_assert_num_queries(1):
            book.save(update_fields=["title", "pages"])

    def test_saving_no_field_is_no_event(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["updated"])
        Book.objects.create().save(update_fields=[])
        assert told(bucket) == []

    @pytest.mark.parametrize("changes", [False, True])
    def test_deferred_field_is_read(self, bucket: Bucket, changes: bool) -> None:
        bucket.record(Book, fields=["title", "pages"], changes=changes)
        Book.objects.create(title="It", pages=3)
        book = Book.objects.only("pages").get()
        book.pages = 4
        book.save()
        Book.objects.defer("title").get().delete()
        created, updated, deleted = data(bucket)
        assert updated.pop("changes", None) == (
            {"pages": {"old": 3, "new": 4}} if changes else None
        )
        assert created == {"title": "It", "pages": 3}
        assert updated == deleted == {"title": "It", "pages": 4}

    def test_foreign_key_to_another_kind_of_key(self, bucket: Bucket) -> None:
        bucket.record(Loan, fields=["reader"])
        reader = Reader.objects.create()
        Loan.objects.create(number=1, reader_id=str(reader.pk))
        assert data(bucket) == [{"reader_id": str(reader.pk)}]

    def test_lone_surrogate_loses_its_event_alone(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.record(Book, fields=["title"])
        with transaction.atomic():
            bucket.record_bulk([Book(title="\ud800"), Book(title="It")], "updated")
        assert data(bucket) == [{"title": "It"}]
        assert "1 events are lost. An event was refused with UnicodeEncodeError" in caplog.text

    @pytest.mark.parametrize("block", [transaction.atomic, nullcontext])
    def test_too_large_is_lost_and_the_row_stays(
        self, block: Callable[[], Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        small = Bucket("small", max_event_bytes=1000)
        small.record(Tag)
        with block():
            Tag.objects.create(name="x" * 1000)
        assert Tag.objects.exists()
        assert "Bucket small: 1 events are lost. The event has" in caplog.text
        small.append("fits")
        assert small.status().lost == 1

    def test_too_large_is_an_error_if_the_bucket_says_so(self) -> None:
        Bucket("small", max_event_bytes=1000, on_unavailable="raise").record(Tag)
        with pytest.raises(EventTooLarge):
            Tag.objects.create(name="x" * 1000)
