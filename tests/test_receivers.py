import asyncio
import base64
import enum
import json
import math
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import django
import pytest
from django.apps import apps
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.signals import user_logged_in
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import connection, models, transaction
from django.db.models import F, Model, Value
from django.db.models.functions import Lower, Now
from django.db.models.signals import (
    m2m_changed,
    post_delete,
    post_save,
    pre_delete,
    pre_save,
)
from django.dispatch import Signal
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import path
from pytest_django import Settings

from django_jsonbuffer import Bucket, gathered, receivers, values
from django_jsonbuffer.exceptions import BufferMisconfigured, EventTooLarge, InvalidEvent
from tests.library.models import (
    AudioBestseller,
    Author,
    Bestseller,
    Book,
    Comic,
    Copy,
    Grade,
    Loan,
    LongLoan,
    Manga,
    Offer,
    Reader,
    Record,
    Rental,
    Shop,
    ShortComic,
    Status,
    Tag,
    Ticket,
)
from tests.recorded import data, recorded, rolled_back, told

pytestmark = pytest.mark.django_db(transaction=True)

SIGNALS = [m2m_changed, post_delete, post_save, pre_delete, pre_save]


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("changes")


def pk(instance: Model) -> str:
    return str(instance.pk)


def create_book(request: HttpRequest) -> HttpResponse:
    Book.objects.create(title="In a request")
    return HttpResponse()


async def acreate_book(request: HttpRequest) -> HttpResponse:
    await Book.objects.acreate(title="In a request")
    return HttpResponse()


def delete_me(request: HttpRequest) -> HttpResponse:
    request.user.delete()
    Book.objects.create(title="By nobody")
    return HttpResponse()


urlpatterns = [
    path("create/", create_book),
    path("acreate/", acreate_book),
    path("delete-me/", delete_me),
]


class TestEvent:
    def test_tells_what_happened_to_what(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=["name"])
        before = datetime.now(UTC)
        author = Author.objects.create(name="Ann")
        event = recorded(bucket)[0]
        assert before <= datetime.fromisoformat(event.pop("time")) <= datetime.now(UTC)
        assert uuid.UUID(event.pop("id")).version == 4
        assert event == {
            "specversion": "1.0",
            "source": "/tests",
            "type": "library.author.created",
            "subject": pk(author),
            "datacontenttype": "application/json",
            "data": {"name": "Ann"},
        }

    def test_each_has_an_id_of_its_own(self, bucket: Bucket) -> None:
        bucket.record(Author)
        for _ in range(10):
            Author.objects.create(name="Ann")
        assert len({event["id"] for event in recorded(bucket)}) == 10

    def test_subject_is_the_key_as_text(self, bucket: Bucket) -> None:
        bucket.record(Reader)
        bucket.record(Copy)
        reader = Reader.objects.create()
        book = Book.objects.create()
        Copy.objects.create(book=book, number=3)
        assert told(bucket) == [
            ("reader.created", str(reader.id)),
            ("copy.created", f"{book.pk},3"),
        ]

    def test_one_round_trip_and_no_query(
        self, bucket: Bucket, django_assert_num_queries: Callable[[int], Any]
    ) -> None:
        bucket.record(Author)
        with django_assert_num_queries(1):
            Author.objects.create(name="Ann")


class TestOn:
    def test_everything_by_default(self, bucket: Bucket) -> None:
        bucket.record(Author)
        author = Author.objects.create(name="Ann")
        author.save()
        key = pk(author)
        author.delete()
        assert told(bucket) == [
            ("author.created", key),
            ("author.updated", key),
            ("author.deleted", key),
        ]

    @pytest.mark.parametrize("action", receivers.ACTIONS)
    @pytest.mark.parametrize("changes", [False, True])
    def test_one_action(self, bucket: Bucket, action: str, changes: bool) -> None:
        bucket.record(Author, on=[action], changes=changes)
        author = Author.objects.create(name="Ann")
        author.name = "Bea"
        author.save()
        author.delete()
        assert [kind for kind, _ in told(bucket)] == [f"author.{action}"]

    def test_text_is_one_action(self, bucket: Bucket) -> None:
        bucket.record(Author, on="deleted")
        author = Author.objects.create(name="Ann")
        key = pk(author)
        author.delete()
        assert told(bucket) == [("author.deleted", key)]

    def test_update_or_create_and_bulk_of_signals(self, bucket: Bucket) -> None:
        bucket.record(Author)
        first, _ = Author.objects.get_or_create(name="Ann")
        Author.objects.update_or_create(name="Ann", defaults={"name": "Bea"})
        Author.objects.filter(pk=first.pk).delete()
        assert [kind for kind, _ in told(bucket)] == [
            *["author.created", "author.updated", "author.deleted"]
        ]

    def test_two_recordings_of_one_bucket_share_the_actions(self, bucket: Bucket) -> None:
        bucket.record(Author, on=["created"], fields=["name"])
        bucket.record(Author, on=["deleted"], fields=["born"])
        Author.objects.create(name="Ann").delete()
        assert data(bucket) == [{"name": "Ann"}, {"born": None}]

    def test_two_buckets_each_get_theirs(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=["name"])
        Bucket("others").record(Author, fields=["born"])
        Author.objects.create(name="Ann")
        assert data(bucket) == [{"name": "Ann"}]
        assert data(Bucket("others")) == [{"born": None}]


class TestFields:
    def test_all_by_default(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["created"])
        Book.objects.create()
        assert [*data(bucket)[0]] == [field.attname for field in Book._meta.concrete_fields]

    def test_named_ones_in_their_order_and_by_attname(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["title", "author", "sequel_of_id"])
        author = Author.objects.create(name="Ann")
        Book.objects.create(title="It", author=author)
        event = data(bucket)[0]
        assert [*event.items()] == [
            ("title", "It"),
            ("author_id", author.pk),
            ("sequel_of_id", None),
        ]

    def test_excluded_ones(self, bucket: Bucket) -> None:
        bucket.record(Author, exclude=["born"])
        author = Author.objects.create(name="Ann")
        assert data(bucket) == [{"id": author.pk, "name": "Ann"}]

    def test_excluded_of_the_named(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=["name", "born"], exclude=["born"])
        Author.objects.create(name="Ann")
        assert data(bucket) == [{"name": "Ann"}]

    def test_none(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=[])
        author = Author.objects.create(name="Ann")
        author.save(update_fields=["name"])
        author.delete()
        assert data(bucket) == [{}, {}, {}]

    @pytest.mark.parametrize("model", [Reader, User])
    def test_password_is_left_out(self, bucket: Bucket, model: type[Model]) -> None:
        bucket.record(model, changes=True)
        instance = model(password="first")
        instance.save()
        instance.password = "second"  # type: ignore[attr-defined]
        instance.save()
        instance.delete()
        events = data(bucket)
        assert len(events) == 2, "what is not chosen has not changed"
        assert "password" not in json.dumps(events)

    def test_password_when_named(self, bucket: Bucket) -> None:
        bucket.record(Reader, fields=["password"])
        Reader.objects.create(password="x")
        assert data(bucket) == [{"password": "x"}]

    def test_generators_of_names(self, bucket: Bucket) -> None:
        bucket.record(Author, on=(a for a in ["created"]), fields={"name": 1}.keys())  # type: ignore[arg-type]
        Author.objects.create(name="Ann")
        assert data(bucket) == [{"name": "Ann"}]


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

    @pytest.mark.parametrize(
        ("given", "text"),
        [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")],
    )
    def test_number_that_json_has_not_is_text(
        self, bucket: Bucket, given: float, text: str
    ) -> None:
        bucket.record(Book, fields=["rating"])
        bucket.record_bulk([Book(rating=given)], "updated")
        assert data(bucket) == [{"rating": text}]

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

    def test_lone_surrogate_is_a_clear_error(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["title"])
        with pytest.raises(InvalidEvent, match="surrogate"), transaction.atomic():
            bucket.record_bulk([Book(pk=1, title="\ud800")], "updated")

    def test_too_large_is_an_error_where_the_row_can_be_rolled_back(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        small = Bucket("small", max_event_bytes=1000)
        small.record(Tag)
        with pytest.raises(EventTooLarge), transaction.atomic():
            Tag.objects.create(name="x" * 1000)
        assert not Tag.objects.exists()
        assert not caplog.records
        Tag.objects.create(name="x" * 1000)
        assert Tag.objects.exists()
        assert "Bucket small: 1 events are lost. The event has" in caplog.text
        small.append("fits")
        assert small.status().lost == 1

    def test_too_large_is_an_error_if_the_bucket_says_so(self) -> None:
        Bucket("small", max_event_bytes=1000, on_unavailable="raise").record(Tag)
        with pytest.raises(EventTooLarge):
            Tag.objects.create(name="x" * 1000)


class TestWhen:
    def test_decides(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["title"], when=lambda book: book.pages > 1)
        book = Book.objects.create(title="short", pages=1)
        book.save()
        book.delete()
        assert told(bucket) == []
        book = Book.objects.create(title="long", pages=2)
        book.save()
        book.delete()
        assert data(bucket) == [{"title": "long"}] * 3

    def test_may_read_a_deferred_field_of_what_is_deleted(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["deleted"], when=lambda book: book.pages > 1, fields=["pages"])
        Book.objects.create(pages=2)
        Book.objects.only("title").get().delete()
        assert data(bucket) == [{"pages": 2}]

    def test_decides_for_links(self, bucket: Bucket) -> None:
        bucket.record(Book, on=[], m2m=["tags"], when=lambda book: book.pages > 1)
        tag = Tag.objects.create(name="x")
        Book.objects.create(pages=1).tags.add(tag)
        long = Book.objects.create(pages=2)
        tag.books.add(long)
        assert told(bucket) == [("book.tags.added", pk(long))]


class TestPayload:
    def test_is_the_data(self, bucket: Bucket) -> None:
        bucket.record(Book, payload=lambda book: [book.pk, book.title])
        book = Book.objects.create(title="It")
        book.save()
        key = book.pk
        book.delete()
        assert data(bucket) == [[key, "It"]] * 3

    def test_of_what_is_deleted_sees_what_is_deleted_with_it(self, bucket: Bucket) -> None:
        bucket.record(
            Reader,
            on=["deleted"],
            payload=lambda reader: [loan.number for loan in reader.loans.all()],
        )
        reader = Reader.objects.create()
        reader.loans.create(number=7)
        reader.delete()
        assert data(bucket) == [[7]]

    def test_of_what_is_deleted_may_read_a_deferred_field(self, bucket: Bucket) -> None:
        bucket.record(Author, on=["deleted"], payload=lambda author: author.name)
        Author.objects.create(name="Ann")
        Author.objects.only("pk").get().delete()
        assert data(bucket) == ["Ann"]

    def test_with_changes_gets_them_besides(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["pages"], payload=lambda b: {"t": b.title}, changes=True)
        book = Book.objects.create(title="It")
        book.pages = 3
        book.save()
        assert data(bucket) == [
            {"t": "It"},
            {"t": "It", "changes": {"pages": {"old": 0, "new": 3}}},
        ]

    def test_with_changes_must_be_a_dict(self, bucket: Bucket) -> None:
        bucket.record(Book, payload=lambda book: book.title, changes=True, on=["updated"])
        book = Book.objects.create(title="It")
        book.pages = 3
        with pytest.raises(InvalidEvent, match=r"payload of library\.Book must be a dict.*str"):
            book.save()

    def test_that_is_no_json_is_an_error(self, bucket: Bucket) -> None:
        bucket.record(Book, payload=lambda book: {1, 2})
        with transaction.atomic(), pytest.raises(InvalidEvent, match="set"):
            Book.objects.create()
        assert told(bucket) == []


class TestChanges:
    def test_old_and_new_of_what_has_changed(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["title", "price", "author"], changes=True)
        author = Author.objects.create(name="Ann")
        book = Book.objects.create(title="It", price=Decimal("1.00"))
        book.price, book.author = Decimal("2.00"), author
        book.save()
        created, updated = data(bucket)
        assert "changes" not in created
        assert updated == {
            "title": "It",
            "price": "2.00",
            "author_id": author.pk,
            "changes": {
                "price": {"old": "1.00", "new": "2.00"},
                "author_id": {"old": None, "new": author.pk},
            },
        }

    def test_key_that_is_an_expression(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["title"], changes=True)
        Book.objects.create(pk=7, title="It")
        Book(pk=Value(7), title="That").save()
        assert data(bucket)[-1]["changes"] == {"title": {"old": "It", "new": "That"}}

    def test_row_is_read_by_a_query_that_is_kept(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["title"], changes=True, on=["updated"])
        book = Book.objects.create(title="0")
        with CaptureQueriesContext(connection) as queries:
            for number in range(1, 4):
                book.title = str(number)
                book.save()
        assert [query["sql"].split()[0] for query in queries] == ["SELECT", "UPDATE"] * 3
        assert [d["changes"]["title"]["old"] for d in data(bucket)] == ["0", "1", "2"]

    def test_queries_that_are_kept_are_not_without_number(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(values, "_MOST_QUERIES", 2)
        bucket.record(Book, changes=True)
        book = Book.objects.create(title="It")
        for field in ("title", "pages", "price"):
            book.save(update_fields=[field])
        book.refresh_from_db()
        for deferred in ("title", "pages", "price"):
            Book.objects.defer(deferred).get().save()
        assert 1 <= len(transaction.get_connection().__dict__["_jsonbuffer_queries"]) <= 2

    def test_none_is_no_event(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["title"], changes=True, on=["updated"])
        book = Book.objects.create(title="It")
        book.save()
        book.pages = 3
        book.save()
        book.save(update_fields=["title"])
        assert told(bucket) == []

    @pytest.mark.parametrize(
        ("field", "given"),
        [
            ("pages", "3"),
            ("price", "3"),
            ("price", 2.5),
            ("price", "1.126"),
            ("rating", 1),
            ("rating", math.inf),
            ("printed", "2026-01-02"),
            ("sold_at", "2026-01-02T03:04:05+02:00"),
            ("isbn", uuid.UUID(int=1).hex),
            ("extras", (1, 2)),
            ("extras", {1: "a"}),
            ("thumbnail", memoryview(b"x")),
            ("is_lent", "True"),
            ("cover", "a.png"),
        ],
    )
    def test_same_value_in_another_form_is_none(
        self, bucket: Bucket, field: str, given: Any
    ) -> None:
        bucket.record(Book, changes=True, on=["updated"])
        book = Book.objects.create()
        for _ in range(2):
            setattr(book, field, given)
            book.save()
        assert len(told(bucket)) == 1

    def test_of_the_fields_that_were_saved(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["title", "pages"], changes=True, on=["updated"])
        book = Book.objects.create(title="stored", pages=1)
        book.title, book.pages = "of memory", 2
        book.save(update_fields=["pages"])
        assert data(bucket) == [
            {"title": "stored", "pages": 2, "changes": {"pages": {"old": 1, "new": 2}}}
        ]

    def test_of_an_expression_and_of_what_follows_from_it(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["pages", "title", "loud_title"], changes=True, on=["updated"])
        book = Book.objects.create(title="a")
        book.pages = F("pages") + 5
        book.title = "b"
        book.save()
        assert data(bucket)[0]["changes"] == {
            "pages": {"old": 0, "new": 5},
            "title": {"old": "a", "new": "b"},
            "loud_title": {"old": "A", "new": "B"},
        }

    def test_old_value_is_that_of_the_database(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["pages"], changes=True, on=["updated"])
        book = Book.objects.create(pages=1)
        Book.objects.update(pages=2)
        book.pages = 3
        book.save()
        assert data(bucket)[0]["changes"] == {"pages": {"old": 2, "new": 3}}

    def test_of_an_instance_that_was_not_read(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["pages"], changes=True)
        key = Book.objects.create(pages=1).pk
        Book(pk=key, pages=2).save()
        Book(pk=key + 1, pages=3).save()
        assert data(bucket) == [
            {"pages": 1},
            {"pages": 2, "changes": {"pages": {"old": 1, "new": 2}}},
            {"pages": 3},
        ]

    def test_of_an_instance_whose_key_has_a_default(self, bucket: Bucket) -> None:
        bucket.record(Reader, fields=["name"], changes=True)
        reader = Reader.objects.create(name="a")
        reader.name = "b"
        reader.save()
        assert data(bucket) == [
            {"name": "a"},
            {"name": "b", "changes": {"name": {"old": "a", "new": "b"}}},
        ]

    def test_of_a_row_that_was_not_read(self, bucket: Bucket) -> None:
        bucket.record(Reader, fields=["name"], on=["updated"], changes=True)
        pk = Reader.objects.create(name="a").pk
        for _ in range(2):
            Reader(pk=pk, name="b").save(force_update=True)
        assert data(bucket) == [{"name": "b", "changes": {"name": {"old": "a", "new": "b"}}}]

    def test_of_a_key_that_the_database_chooses(self, bucket: Bucket) -> None:
        bucket.record(Ticket, exclude=["changes"], changes=True)
        ticket = Ticket()
        ticket.save()
        assert told(bucket) == [("ticket.created", "T-1")]

    def test_of_a_composite_key(self, bucket: Bucket) -> None:
        bucket.record(Copy, fields=["number", "is_torn"], changes=True)
        book = Book.objects.create()
        copy = Copy.objects.create(book=book, number=1)
        copy.is_torn = True
        copy.save()
        key = f"{book.pk},1"
        copy.delete()
        events = recorded(bucket)
        assert [event["subject"] for event in events] == [key] * 3
        assert events[1]["data"]["changes"] == {"is_torn": {"old": False, "new": True}}

    def test_of_a_child_model(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["pages"], changes=True)
        bucket.record(Comic, fields=["pages", "drawer"], changes=True)
        comic = Comic.objects.create(pages=1)
        data(bucket)
        comic.pages, comic.drawer = 2, "Ann"
        comic.save()
        pages = {"old": 1, "new": 2}
        assert [event["changes"] for event in data(bucket)] == [
            {"pages": pages},
            {"pages": pages, "drawer": {"old": "", "new": "Ann"}},
        ]

    def test_of_no_field_is_no_event(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=[], changes=True)
        author = Author.objects.create(name="Ann")
        author.save()
        assert [kind for kind, _ in told(bucket)] == ["author.created"]

    def test_when_a_receiver_saves_again(self, bucket: Bucket) -> None:
        def number(instance: Book, **kwargs: Any) -> None:
            if instance.pages < 2:
                instance.pages += 1
                instance.save()

        book = Book.objects.create()
        post_save.connect(number, sender=Book)
        bucket.record(Book, fields=["title", "pages"], changes=True)
        book.title = "b"
        book.save()
        changes = [event["changes"] for event in data(bucket)]
        assert all(changes)
        assert changes[-1]["title"] == {"old": "", "new": "b"}

    def test_after_a_save_that_failed(self, bucket: Bucket) -> None:
        bucket.record(Loan, fields=["number", "days"], changes=True, on=["updated"])
        Loan.objects.create(number=1)
        loan = Loan.objects.create(number=2)
        loan.number = 1
        with pytest.raises(Exception, match=r"(?i)unique"), transaction.atomic():
            loan.save()
        loan.number, loan.days = 2, 15
        loan.save()
        assert data(bucket)[0]["changes"] == {"days": {"old": 14, "new": 15}}

    def test_nothing_is_left_on_the_instance(self, bucket: Bucket) -> None:
        bucket.record(Book, changes=True, m2m=["tags"])
        book = Book.objects.create()
        attributes = {*vars(Book.objects.get())} | {*vars(book)}
        tag = Tag.objects.create(name="x")
        book.pages = 3
        book.save()
        book.tags.add(tag)
        book.tags.clear()
        book.delete()
        assert {*vars(book)} <= attributes

    def test_cost_one_query(
        self, bucket: Bucket, django_assert_num_queries: Callable[[int], Any]
    ) -> None:
        bucket.record(Author, changes=True)
        with django_assert_num_queries(1):
            author = Author.objects.create(name="Ann")
        author.name = "Bea"
        with django_assert_num_queries(2):
            author.save()


@pytest.fixture
def fixture_file(tmp_path: Path) -> str:
    """For loaddata: a book with a tag."""
    objects = [
        {"model": "library.tag", "pk": 1, "fields": {"name": "x"}},
        {"model": "library.book", "pk": 1, "fields": {"title": "It", "tags": [1]}},
        {"model": "library.comic", "pk": 1, "fields": {"drawer": "Ann"}},
        {"model": "library.reader", "pk": str(uuid.UUID(int=1)), "fields": {"name": "Ann"}},
    ]
    file = tmp_path / "library.json"
    file.write_text(json.dumps(objects))
    return str(file)


class TestRaw:
    @pytest.mark.parametrize("changes", [False, True])
    def test_is_skipped(self, bucket: Bucket, fixture_file: str, changes: bool) -> None:
        bucket.record(Book, changes=changes)
        bucket.record(Comic, changes=changes)
        bucket.record(Reader, changes=changes)
        call_command("loaddata", fixture_file, verbosity=0)
        call_command("loaddata", fixture_file, verbosity=0)
        assert told(bucket) == []

    def test_links_are_skipped(self, bucket: Bucket, fixture_file: str) -> None:
        bucket.record(Book, m2m=["tags"])
        call_command("loaddata", fixture_file, verbosity=0)
        assert told(bucket) == []

    def test_when_asked_for(self, bucket: Bucket, fixture_file: str) -> None:
        bucket.record(Book, fields=["title"], m2m=["tags"], raw=True)
        call_command("loaddata", fixture_file, verbosity=0)
        assert told(bucket) == [("book.created", "1"), ("book.tags.added", "1")]

    def test_with_changes(self, bucket: Bucket, fixture_file: str) -> None:
        bucket.record(Reader, fields=["name"], raw=True, changes=True)
        Reader.objects.create(pk=uuid.UUID(int=1), name="Bea")
        call_command("loaddata", fixture_file, verbosity=0)
        assert data(bucket)[1:] == [
            {"name": "Ann", "changes": {"name": {"old": "Bea", "new": "Ann"}}}
        ]


class TestDeletion:
    def test_by_queryset(self, bucket: Bucket) -> None:
        bucket.record(Author, on=["deleted"], fields=["name"])
        for name in "ab":
            Author.objects.create(name=name)
        Author.objects.all().delete()
        assert sorted(event["name"] for event in data(bucket)) == ["a", "b"]

    def test_by_cascade(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["deleted"], fields=["title", "author"])
        author = Author.objects.create(name="Ann")
        Book.objects.create(title="It", author=author)
        key = author.pk
        author.delete()
        assert data(bucket) == [{"title": "It", "author_id": key}]

    def test_values_are_those_before(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["deleted"])
        book = Book.objects.create(title="It")
        expected = {"id": book.pk, "title": "It", "loud_title": "IT", "shelf": "A1"}
        Book.objects.only("pk").get().delete()
        event = data(bucket)[0]
        assert {name: event[name] for name in expected} == expected

    def test_value_not_saved_is_not_told(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["deleted"], fields=["title"])
        book = Book.objects.create(title="stored")
        book.title = "of memory"
        book.delete()
        assert data(bucket) == [{"title": "stored"}]

    def test_that_fails_is_none(self, bucket: Bucket) -> None:
        def refuse(**kwargs: Any) -> None:
            raise RuntimeError

        bucket.record(Author, on=["deleted"])
        author = Author.objects.create(name="Ann")
        post_delete.connect(refuse, sender=Author)
        with pytest.raises(RuntimeError):
            author.delete()
        assert told(bucket) == []

    def test_again_after_one_that_failed(self, bucket: Bucket) -> None:
        def refuse(**kwargs: Any) -> None:
            raise RuntimeError

        bucket.record(Author, on=["deleted"])
        author = Author.objects.create(name="Ann")
        pre_delete.connect(refuse, sender=Author)
        with pytest.raises(RuntimeError):
            author.delete()
        pre_delete.disconnect(refuse, sender=Author)
        key = pk(author)
        author.delete()
        assert told(bucket) == [("author.deleted", key)]

    def test_once_when_reached_on_two_ways(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["deleted"])
        author = Author.objects.create(name="Ann")
        first = Book.objects.create(author=author)
        second = Book.objects.create(author=author, sequel_of=first)
        keys = {pk(first), pk(second)}
        author.delete()
        events = told(bucket)
        assert len(events) == 2
        assert {key for _, key in events} == keys


class TestProxy:
    def test_change_by_a_proxy_is_one_of_the_model(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["title"])
        book = Bestseller.objects.create(title="It")
        book.save()
        key = pk(book)
        book.delete()
        assert told(bucket) == [
            ("book.created", key),
            ("book.updated", key),
            ("book.deleted", key),
        ]

    def test_recorded_itself_is_told_of_by_its_name(self, bucket: Bucket) -> None:
        bucket.record(Bestseller)
        Book.objects.create().delete()
        book = Bestseller.objects.create()
        book.save()
        key = pk(book)
        Bestseller.objects.all().delete()
        assert told(bucket) == [
            ("bestseller.created", key),
            ("bestseller.updated", key),
            ("bestseller.deleted", key),
        ]

    def test_of_a_child(self, bucket: Bucket) -> None:
        bucket.record(Comic, fields=["drawer"])
        comic = ShortComic.objects.create(drawer="Ann")
        comic.save()
        comic.delete()
        assert [kind for kind, _ in told(bucket)] == [
            *["comic.created", "comic.updated", "comic.deleted"]
        ]

    def test_links_by_a_proxy(self, bucket: Bucket) -> None:
        bucket.record(Book, on=[], m2m=["tags"])
        tag = Tag.objects.create(name="x")
        book = Bestseller.objects.create()
        book.tags.add(tag)
        assert told(bucket) == [("book.tags.added", pk(book))]

    def test_child_deleted_by_a_proxy_of_its_parent_is_one_deletion(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["deleted"])
        comic = Comic.objects.create()
        Bestseller.objects.get(pk=comic.pk).delete()
        assert told(bucket) == [("book.deleted", pk(comic))]

    def test_children_deleted_by_a_queryset_of_a_proxy_are_one_deletion_each(
        self, bucket: Bucket
    ) -> None:
        bucket.record(Book, on=["deleted"])
        comics = [Comic.objects.create() for _ in range(2)]
        Bestseller.objects.all().delete()
        assert sorted(told(bucket)) == sorted(("book.deleted", pk(comic)) for comic in comics)

    def test_cascade_among_rows_deleted_by_a_proxy(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["deleted"])
        first = Book.objects.create()
        Book.objects.create(sequel_of=first)
        Bestseller.objects.all().delete()
        assert len(told(bucket)) == 2


class TestInheritance:
    @pytest.mark.parametrize("model", [Comic, Manga, ShortComic, AudioBestseller])
    def test_change_of_a_child_is_one_of_its_parent(
        self, bucket: Bucket, model: type[Book]
    ) -> None:
        bucket.record(Book, fields=["title"])
        book = model.objects.create(title="It")
        book.title = "At"
        book.save()
        key = pk(book)
        book.delete()
        events = recorded(bucket)
        assert [(event["type"], event["subject"], event["data"]) for event in events] == [
            ("library.book.created", key, {"title": "It"}),
            ("library.book.updated", key, {"title": "At"}),
            ("library.book.deleted", key, {"title": "At"}),
        ]

    def test_change_of_a_parent_is_none_of_its_child(self, bucket: Bucket) -> None:
        bucket.record(Comic)
        book = Book.objects.create()
        book.save()
        book.delete()
        assert told(bucket) == []

    def test_each_recording_gets_one(self, bucket: Bucket) -> None:
        for model in (Book, Comic, Manga):
            bucket.record(model)
        manga = Manga.objects.create()
        assert sorted(kind for kind, _ in told(bucket)) == [
            *["book.created", "comic.created", "manga.created"]
        ]
        manga.save()
        assert len(told(bucket)) == 3
        key = pk(manga)
        manga.delete()
        assert sorted(told(bucket)) == [
            *[("book.deleted", key), ("comic.deleted", key), ("manga.deleted", key)]
        ]

    def test_all_fields_are_those_of_the_recorded_model(self, bucket: Bucket) -> None:
        bucket.record(Comic, on=["created"])
        bucket.record(Book, on=["created"])
        manga = Manga.objects.create()
        by_type = {event["type"]: event["data"] for event in recorded(bucket)}
        book, comic = by_type["library.book.created"], by_type["library.comic.created"]
        assert {*comic} - {*book} == {"book_ptr_id", "drawer"}
        assert comic["book_ptr_id"] == book["id"] == manga.pk

    @pytest.mark.parametrize("model", [Book, Comic, Manga])
    def test_deletion_by_any_of_the_classes(self, bucket: Bucket, model: type[Book]) -> None:
        bucket.record(Book, on=["deleted"])
        bucket.record(Comic, on=["deleted"])
        bucket.record(Manga, on=["deleted"], fields=["volume", "drawer", "title"])
        manga = Manga.objects.create(title="It", volume=7, drawer="Ann")
        model.objects.filter(pk=manga.pk).delete()
        events = recorded(bucket)
        assert sorted(event["type"] for event in events) == [
            *["library.book.deleted", "library.comic.deleted", "library.manga.deleted"]
        ]
        assert {"volume": 7, "drawer": "Ann", "title": "It"} in [event["data"] for event in events]

    def test_deletion_that_keeps_the_parents(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["deleted"])
        bucket.record(Comic, on=["deleted"])
        bucket.record(Manga, on=["deleted"])
        manga = Manga.objects.create()
        key = pk(manga)
        manga.delete(keep_parents=True)
        assert told(bucket) == [("manga.deleted", key)]
        assert Comic.objects.exists()

    def test_abstract_parents_child_is_a_model_of_its_own(self, bucket: Bucket) -> None:
        bucket.record(Author)
        Book.objects.create()
        assert told(bucket) == []


class TestManyToMany:
    @pytest.fixture
    def tags(self) -> list[Tag]:
        return [Tag.objects.create(name=name) for name in "abc"]

    @pytest.fixture
    def book(self) -> Book:
        return Book.objects.create()

    @pytest.fixture
    def told_links(self, bucket: Bucket) -> Callable[[], list[Any]]:
        """What was added and removed: subject, kind and keys."""
        bucket.record(Book, on=[], m2m=["tags"])

        def told_links() -> list[Any]:
            events = recorded(bucket)
            assert all(event["type"].startswith("library.book.tags.") for event in events)
            return [
                (event["subject"], event["type"].rpartition(".")[2], event["data"]["tags"])
                for event in events
            ]

        return told_links

    def test_not_unless_asked_for(self, bucket: Bucket, book: Book, tags: list[Tag]) -> None:
        bucket.record(Book)
        book.tags.add(*tags)
        assert told(bucket) == []

    def test_added(self, told_links: Any, book: Book, tags: list[Tag]) -> None:
        a, b, c = tags
        book.tags.add(b, a)
        book.tags.add(b.pk, str(c.pk))  # type: ignore[arg-type]
        book.tags.add(a, b)
        book.tags.add()
        assert told_links() == [
            (pk(book), "added", [a.pk, b.pk]),
            (pk(book), "added", [c.pk]),
        ]

    def test_created(self, told_links: Any, book: Book) -> None:
        tag = book.tags.create(name="x")
        assert told_links() == [(pk(book), "added", [tag.pk])]

    @pytest.mark.parametrize("given", [lambda tag: tag, lambda tag: tag.pk, lambda t: str(t.pk)])
    def test_removed(
        self, told_links: Any, book: Book, tags: list[Tag], given: Callable[[Tag], Any]
    ) -> None:
        a, b, _ = tags
        book.tags.set([a, b])
        told_links()
        book.tags.remove(given(b))
        assert told_links() == [(pk(book), "removed", [b.pk])]

    def test_removal_of_what_is_not_there(
        self, told_links: Any, book: Book, tags: list[Tag]
    ) -> None:
        a, b, c = tags
        book.tags.set([a])
        told_links()
        book.tags.remove(b)
        book.tags.remove(a, c)
        assert told_links() == [(pk(book), "removed", [a.pk])]

    def test_set(self, told_links: Any, book: Book, tags: list[Tag]) -> None:
        a, b, c = tags
        book.tags.set([a, b])
        told_links()
        book.tags.set([b, c])
        book.tags.set([b, c])
        assert told_links() == [
            (pk(book), "removed", [a.pk]),
            (pk(book), "added", [c.pk]),
        ]

    def test_cleared(self, told_links: Any, book: Book, tags: list[Tag]) -> None:
        book.tags.set(tags)
        told_links()
        book.tags.clear()
        book.tags.clear()
        assert told_links() == [(pk(book), "removed", [tag.pk for tag in tags])]

    def test_from_the_other_side(self, told_links: Any, book: Book, tags: list[Tag]) -> None:
        a, b, _ = tags
        other = Book.objects.create()
        a.books.add(book, other)
        a.books.remove(other, other.pk)
        b.books.set([other])
        b.books.clear()
        assert told_links() == [
            (pk(book), "added", [a.pk]),
            (pk(other), "added", [a.pk]),
            (pk(other), "removed", [a.pk]),
            (pk(other), "added", [b.pk]),
            (pk(other), "removed", [b.pk]),
        ]

    def test_removed_as_text_from_the_other_side(
        self, told_links: Any, book: Book, tags: list[Tag]
    ) -> None:
        tags[0].books.add(book)
        tags[0].books.remove(pk(book))  # type: ignore[arg-type]
        assert [kind for _, kind, _ in told_links()] == ["added", "removed"]

    def test_keys_of_another_kind(self, bucket: Bucket, tags: list[Tag]) -> None:
        bucket.record(Reader, on=[], m2m=["favourites"])
        reader = Reader.objects.create()
        tags[0].fans.add(reader)
        tags[0].fans.remove(str(reader.pk))  # type: ignore[arg-type]
        assert [(event["type"], event["subject"], event["data"]) for event in recorded(bucket)] == [
            (f"library.reader.favourites.{what}", pk(reader), {"favourites": [tags[0].pk]})
            for what in ("added", "removed")
        ]

    def test_of_a_child_by_the_field_of_its_parent(
        self, bucket: Bucket, told_links: Any, tags: list[Tag]
    ) -> None:
        comic = Comic.objects.create()
        comic.tags.add(tags[0])
        tags[0].books.remove(comic)
        assert [kind for _, kind, _ in told_links()] == ["added", "removed"]

    def test_of_a_recorded_child(self, bucket: Bucket, book: Book, tags: list[Tag]) -> None:
        bucket.record(Comic, on=[], m2m=["tags"])
        comic = Comic.objects.create()
        book.tags.add(tags[0])
        tags[1].books.add(book, comic)
        comic.tags.clear()
        assert told(bucket) == [
            ("comic.tags.added", pk(comic)),
            ("comic.tags.removed", pk(comic)),
        ]

    def test_with_a_model_in_between(self, bucket: Bucket, book: Book) -> None:
        bucket.record(Book, on=[], m2m=["shops"])
        shop = Shop.objects.create(name="x")
        book.shops.add(shop, through_defaults={"is_new": False})
        shop.book_set.clear()
        assert told(bucket) == [
            ("book.shops.added", pk(book)),
            ("book.shops.removed", pk(book)),
        ]
        assert not Offer.objects.exists()

    def test_with_itself_both_ways(self, bucket: Bucket) -> None:
        bucket.record(Author, on=[], m2m=["friends"])
        ann, bea = Author.objects.create(name="Ann"), Author.objects.create(name="Bea")
        ann.friends.add(bea)
        bea.friends.add(ann)
        bea.friends.remove(ann)
        ann.friends.clear()
        events = recorded(bucket)
        assert [(event["type"], event["subject"], event["data"]) for event in events] == [
            ("library.author.friends.added", pk(ann), {"friends": [bea.pk]}),
            ("library.author.friends.removed", pk(bea), {"friends": [ann.pk]}),
        ]

    def test_with_itself_one_way(self, bucket: Bucket) -> None:
        bucket.record(Author, on=[], m2m=["translators"])
        ann, bea = Author.objects.create(name="Ann"), Author.objects.create(name="Bea")
        ann.translators.add(bea)
        bea.translated.clear()
        events = recorded(bucket)
        assert [(event["type"], event["subject"], event["data"]) for event in events] == [
            ("library.author.translators.added", pk(ann), {"translators": [bea.pk]}),
            ("library.author.translators.removed", pk(ann), {"translators": [bea.pk]}),
        ]

    def test_rolled_back(self, told_links: Any, book: Book, tags: list[Tag]) -> None:
        with rolled_back():
            book.tags.set(tags)
        assert told_links() == []

    def test_is_told_in_order_with_the_rest(self, bucket: Bucket, tags: list[Tag]) -> None:
        bucket.record(Book, m2m=["tags"])
        with transaction.atomic():
            book = Book.objects.create()
            book.tags.add(tags[0])
            book.save()
        assert [kind for kind, _ in told(bucket)] == [
            *["book.created", "book.tags.added", "book.updated"]
        ]


class TestTransaction:
    def test_rollback_leaves_nothing(self, bucket: Bucket) -> None:
        bucket.record(Author)
        author = Author.objects.create(name="Ann")
        told(bucket)
        with rolled_back():
            Author.objects.create(name="Bea")
            author.save()
            author.delete()
        assert told(bucket) == []

    def test_rollback_of_a_part(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=["name"])
        with transaction.atomic():
            Author.objects.create(name="a")
            with rolled_back():
                Author.objects.create(name="b")
            Author.objects.create(name="c")
            assert bucket.status().pending == 0
        assert data(bucket) == [{"name": "a"}, {"name": "c"}]

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_is_that_of_the_models_database(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=["name"])
        with transaction.atomic():
            Author.objects.using("other").create(name="a")
            assert data(bucket) == [{"name": "a"}]
        with rolled_back(using="other"):
            Author.objects.create(name="b")
            Author.objects.using("other").create(name="c")
        assert data(bucket) == [{"name": "b"}]

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_old_values_are_those_of_the_same_database(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=["name"], m2m=["friends"], changes=True)
        Author.objects.create(pk=1, name="default")
        author = Author.objects.using("other").create(pk=1, name="a")
        author.name = "b"
        author.save()
        author.friends.add(Author.objects.using("other").create(pk=2, name="c"))
        author.friends.clear()
        author.delete()
        events = data(bucket)
        assert events[2]["changes"] == {"name": {"old": "a", "new": "b"}}
        assert events[4:6] == [{"friends": [2]}, {"friends": [2]}]
        assert events[6] == {"name": "b"}

    def test_gathered(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=["name"])
        with gathered():
            Author.objects.create(name="a")
            assert bucket.status().pending == 0
        assert data(bucket) == [{"name": "a"}]

    def test_redis_is_away(
        self, bucket: Bucket, unreachable: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.record(Author)
        author = Author.objects.create(name="Ann")
        author.delete()
        assert caplog.text.count("1 events are lost") == 2

    def test_of_async_code(self, bucket: Bucket) -> None:
        bucket.record(Author, changes=True)

        async def write() -> None:
            author = await Author.objects.acreate(name="Ann")
            author.name = "Bea"
            await author.asave()
            await author.adelete()

        asyncio.run(write())
        assert [kind for kind, _ in told(bucket)] == [
            *["author.created", "author.updated", "author.deleted"]
        ]


class TestTestCase(TestCase):
    def test_capture_runs_what_was_recorded(self) -> None:
        bucket = Bucket("changes")
        bucket.record(Author, fields=["name"])
        with self.captureOnCommitCallbacks(execute=True):
            Author.objects.create(name="Ann")
        Author.objects.create(name="Bea")
        assert data(bucket) == [{"name": "Ann"}]


class TestListeners:
    def test_none_of_a_model_that_nobody_records(self, bucket: Bucket) -> None:
        bucket.record(Author, changes=True, m2m=["friends"])
        for signal in SIGNALS:
            assert not signal.has_listeners(Book)
            assert not signal.has_listeners(Tag)
        assert not m2m_changed.has_listeners(Author.translators.through)
        assert m2m_changed.has_listeners(Author.friends.through)

    @pytest.mark.parametrize(
        ("options", "signals"),
        [
            ({"on": ["created"]}, [post_save]),
            ({"on": ["updated"]}, [post_save]),
            ({"on": ["updated"], "changes": True}, [pre_save, post_save]),
            ({"on": ["deleted"]}, [pre_delete, post_delete]),
            ({"on": ["deleted"], "changes": True}, [pre_delete, post_delete]),
            # Before Django 6.1, the signal of a link does not say whether a fixture made it.
            ({"on": [], "m2m": ["friends"]}, [] if django.VERSION >= (6, 1) else [pre_save]),
        ],
    )
    def test_no_more_than_needed(
        self, bucket: Bucket, options: dict[str, Any], signals: list[Signal]
    ) -> None:
        bucket.record(Author, **options)
        assert {id(s) for s in SIGNALS if s.has_listeners(Author)} == {id(s) for s in signals}

    def test_deletion_of_a_model_that_nobody_records_stays_fast(self, bucket: Bucket) -> None:
        bucket.record(Author)
        for name in "ab":
            Shop.objects.create(name=name)
        with CaptureQueriesContext(connection) as queries:
            Offer.objects.all().delete()
        assert not any(query["sql"].startswith("SELECT") for query in queries)


class TestLabel:
    def test_is_as_good_as_the_model(self, bucket: Bucket) -> None:
        bucket.record("library.Author", fields=["name"])
        Author.objects.create(name="Ann")
        assert data(bucket) == [{"name": "Ann"}]

    @pytest.mark.parametrize("model", ["library.Author", Author])
    def test_before_the_models_are_loaded(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, model: Any
    ) -> None:
        monkeypatch.setattr(apps, "models_ready", False)
        bucket.record(model, fields=["name"])
        bucket.record("library.Tag", fields=["name"])
        monkeypatch.setattr(apps, "models_ready", True)
        assert not post_save.has_listeners(Author)
        receivers.record_waiting()
        receivers.record_waiting()
        Author.objects.create(name="Ann")
        Tag.objects.create(name="x")
        assert data(bucket) == [{"name": "Ann"}, {"name": "x"}]

    def test_mistake_before_the_models_are_loaded(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(apps, "models_ready", False)
        bucket.record("library.Nothing")
        monkeypatch.setattr(apps, "models_ready", True)
        with pytest.raises(BufferMisconfigured, match=r"library\.Nothing"):
            receivers.record_waiting()


class TestMistakes:
    @pytest.mark.parametrize(
        ("model", "options", "what"),
        [
            (Author, {"on": ["made"]}, "'made'.*created, updated, deleted"),
            (Author, {"on": "made"}, "'made'"),
            (Author, {"fields": ["nmae"]}, "nmae.*name"),
            (Author, {"fields": "name"}, "fields='name'.*list"),
            (Author, {"exclude": "name"}, "exclude='name'.*list"),
            (Author, {"exclude": ["nmae"]}, "nmae"),
            (Author, {"fields": ["friends"]}, "friends"),
            (Author, {"fields": ["books"]}, "books"),
            (Author, {"fields": ["pk"]}, "pk"),
            (Author, {"m2m": ["name"]}, "name.*friends"),
            (Author, {"m2m": "friends"}, "m2m='friends'"),
            (Author, {"m2m": ["books"]}, "books"),
            (Tag, {"m2m": ["books"]}, "nothing"),
            (Record, {}, "abstract"),
            ("library.Nothing", {}, r"library\.Nothing"),
            ("Author", {}, "'Author'"),
            ("nowhere.Author", {}, "nowhere"),
            ("library.a.b", {}, "library"),
            (Author(), {}, "model"),
            (object, {}, "model"),
            (None, {}, "model"),
            (Ticket, {"changes": True}, "field 'changes'.*Exclude"),
            (Author, {"when": "name"}, "when"),
            (Author, {"payload": "name"}, "payload"),
        ],
    )
    def test_is_one_clear_error(
        self, bucket: Bucket, model: Any, options: dict[str, Any], what: str
    ) -> None:
        recordings = [*receivers.recordings]
        with pytest.raises(BufferMisconfigured, match=what) as caught:
            bucket.record(model, **options)
        assert str(caught.value).endswith((".", "nothing: there are none."))
        assert receivers.recordings == recordings

    def test_of_a_model_that_is_swapped(self, bucket: Bucket, settings: Settings) -> None:
        settings.AUTH_USER_MODEL = "library.Reader"
        with pytest.raises(BufferMisconfigured, match=r"swapped for library\.Reader"):
            bucket.record("auth.User")

    def test_recorded_twice(self, bucket: Bucket) -> None:
        bucket.record(Author, on=["created", "updated"], m2m=["friends"])
        with pytest.raises(BufferMisconfigured, match=r"library\.Author twice: updated"):
            Bucket("changes").record("library.Author", on=["updated", "deleted"])
        with pytest.raises(BufferMisconfigured, match=r"library\.Author twice: friends"):
            bucket.record(Author, on=[], m2m=["friends"])
        Author.objects.create(name="Ann")
        assert len(told(bucket)) == 1

    def test_unknown_option(self, bucket: Bucket) -> None:
        with pytest.raises(TypeError):
            bucket.record(Author, filds=["name"])  # type: ignore[call-arg]

    def test_field_named_changes_without_them(self, bucket: Bucket) -> None:
        bucket.record(Ticket)
        Ticket.objects.create(code="x", changes=3)
        assert data(bucket) == [{"code": "x", "changes": 3}]


@pytest.fixture
def user() -> User:
    return User.objects.create_superuser("ann", password="secret")


@pytest.fixture
def with_actor(settings: Settings) -> None:
    settings.MIDDLEWARE = [
        "django_jsonbuffer.middleware.actor_middleware",
        *settings.MIDDLEWARE,
        "django_jsonbuffer.middleware.gathering_middleware",
    ]


@pytest.mark.urls(__name__)
class TestActor:
    def actors(self, bucket: Bucket) -> list[tuple[str | None, str | None]]:
        return [(event.get("authtype"), event.get("authid")) for event in recorded(bucket)]

    @pytest.mark.usefixtures("with_actor")
    @pytest.mark.parametrize("url", ["/create/", "/acreate/"])
    def test_is_the_user_of_the_request(self, bucket: Bucket, user: User, url: str) -> None:
        bucket.record(Book, actor=True)
        client = Client()
        client.post(url)
        client.force_login(user)
        client.post(url)
        client.logout()
        client.post(url)
        nobody = (None, None)
        assert self.actors(bucket) == [nobody, ("app_user", pk(user)), nobody]

    @pytest.mark.usefixtures("with_actor")
    @pytest.mark.parametrize("url", ["/create/", "/acreate/"])
    def test_of_an_async_request(self, bucket: Bucket, user: User, url: str) -> None:
        bucket.record(Book, actor=True)

        async def request() -> None:
            client = AsyncClient()
            await client.post(url)
            await client.aforce_login(user)
            await client.post(url)
            await Book.objects.acreate()

        asyncio.run(request())
        assert self.actors(bucket) == [(None, None), ("app_user", pk(user)), (None, None)]

    @pytest.mark.usefixtures("with_actor")
    def test_not_unless_asked_for(self, bucket: Bucket, user: User) -> None:
        bucket.record(Book)
        client = Client()
        client.force_login(user)
        client.post("/create/")
        assert self.actors(bucket) == [(None, None)]

    def test_not_without_the_middleware(self, bucket: Bucket, user: User) -> None:
        bucket.record(Book, actor=True)
        client = Client()
        client.force_login(user)
        client.post("/create/")
        assert self.actors(bucket) == [(None, None)]

    @pytest.mark.usefixtures("with_actor")
    def test_is_forgotten_after_the_request(self, bucket: Bucket, user: User) -> None:
        bucket.record(Book, actor=True)
        client = Client()
        client.force_login(user)
        client.post("/create/")
        Book.objects.create()
        assert self.actors(bucket) == [("app_user", pk(user)), (None, None)]

    @pytest.mark.usefixtures("with_actor")
    def test_who_deleted_himself_is_nobody_then(self, bucket: Bucket, user: User) -> None:
        bucket.record(Book, actor=True)
        bucket.record(User, on=["deleted"], actor=True)
        client = Client()
        client.force_login(user)
        client.post("/delete-me/")
        assert self.actors(bucket) == [("app_user", pk(user)), (None, None)]

    @pytest.mark.usefixtures("with_actor")
    def test_of_links_and_bulk(self, bucket: Bucket, user: User) -> None:
        from django_jsonbuffer.middleware import actor_middleware

        bucket.record(Book, on=["created"], m2m=["tags"], actor=True)

        def view(request: HttpRequest) -> HttpResponse:
            book = Book.objects.create()
            book.tags.create(name="x")
            bucket.record_bulk([book], "updated")
            return HttpResponse()

        for who in (user, AnonymousUser()):
            request = HttpRequest()
            request.user = who
            actor_middleware(view)(request)
        assert self.actors(bucket) == [("app_user", pk(user))] * 3 + [(None, None)] * 3


class TestHook:
    @pytest.fixture
    def signal(self) -> Signal:
        return Signal()

    @pytest.mark.parametrize(
        ("result", "events"),
        [
            ({"a": 1}, [{"a": 1}]),
            ("text", ["text"]),
            (7, [7]),
            (0, [0]),
            ([1, 2], [1, 2]),
            ((1, 2), [1, 2]),
            ([], []),
            (None, []),
            ([[1]], [[1]]),
        ],
    )
    def test_appends_what_the_function_returns(
        self, bucket: Bucket, signal: Signal, result: Any, events: list[Any]
    ) -> None:
        bucket.hook(signal)(lambda **kwargs: result)
        signal.send(sender=None)
        assert bucket.take() == events

    def test_returns_the_function(self, bucket: Bucket, signal: Signal) -> None:
        def function(**kwargs: Any) -> int:
            return 1

        assert bucket.hook(signal)(function) is function

    def test_generator(self, bucket: Bucket, signal: Signal) -> None:
        @bucket.hook(signal)
        def function(count: int, **kwargs: Any) -> Iterator[int]:
            yield from range(count)

        signal.send(sender=None, count=3)
        signal.send(sender=None, count=0)
        assert bucket.take() == [0, 1, 2]

    def test_is_called_as_a_receiver_is(self, bucket: Bucket, signal: Signal) -> None:
        got: list[Any] = []
        bucket.hook(signal)(lambda **kwargs: got.append(kwargs))
        signal.send(sender="me", color="red")
        assert got == [{"signal": signal, "sender": "me", "color": "red"}]
        assert bucket.take() == []

    def test_coroutine_function(self, bucket: Bucket, signal: Signal) -> None:
        @bucket.hook(signal)
        async def function(number: int, **kwargs: Any) -> list[int]:
            await asyncio.sleep(0)
            return [number]

        async def send() -> None:
            await signal.asend(sender=None, number=2)

        signal.send(sender=None, number=1)
        asyncio.run(send())
        assert bucket.take() == [1, 2]

    def test_function_on_a_signal_of_async_code(self, bucket: Bucket, signal: Signal) -> None:
        bucket.hook(signal)(lambda **kwargs: 1)
        asyncio.run(signal.asend(sender=None))
        assert bucket.take() == [1]

    def test_coroutine_function_waits_for_the_commit(self, bucket: Bucket, signal: Signal) -> None:
        @bucket.hook(signal)
        async def function(**kwargs: Any) -> int:
            return 1

        with transaction.atomic():
            signal.send(sender=None)
            assert bucket.status().pending == 0
        assert bucket.take() == [1]

    def test_of_one_sender(self, bucket: Bucket, signal: Signal) -> None:
        bucket.hook(signal, sender=Author)(lambda sender, **kwargs: sender.__name__)
        signal.send(sender=Author)
        signal.send(sender=Book)
        assert bucket.take() == ["Author"]

    def test_of_a_sender_by_its_label(self, bucket: Bucket) -> None:
        bucket.hook(post_save, sender="library.Author")(lambda instance, **kw: instance.name)
        Author.objects.create(name="Ann")
        Tag.objects.create(name="x")
        assert bucket.take() == ["Ann"]

    def test_twice_is_once(self, bucket: Bucket, signal: Signal) -> None:
        def function(**kwargs: Any) -> int:
            return 1

        bucket.hook(signal)(function)
        bucket.hook(signal)(function)
        Bucket("others").hook(signal)(function)
        signal.send(sender=None)
        assert bucket.take() == [1]
        assert Bucket("others").take() == [1]

    def test_function_that_nobody_else_holds(self, bucket: Bucket, signal: Signal) -> None:
        bucket.hook(signal)(lambda **kwargs: 1)
        signal.send(sender=None)
        assert bucket.take() == [1]

    def test_rollback_leaves_nothing(self, bucket: Bucket) -> None:
        bucket.hook(post_save, sender=Author)(lambda instance, **kwargs: instance.name)
        with rolled_back():
            Author.objects.create(name="Ann")
            assert bucket.status().pending == 0
        Author.objects.create(name="Bea")
        assert bucket.take() == ["Bea"]

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_waits_for_the_database_that_the_signal_names(
        self, bucket: Bucket, signal: Signal
    ) -> None:
        bucket.hook(signal)(lambda event, **kwargs: event)
        with rolled_back(using="other"):
            signal.send(sender=None, using="default", event=1)
            signal.send(sender=None, using="other", event=2)
            signal.send(sender=None, using="no database", event=3)
            signal.send(sender=None, using=["other"], event=4)
        assert bucket.take() == [1]

    def test_error_of_the_function_is_the_senders(self, bucket: Bucket, signal: Signal) -> None:
        @bucket.hook(signal)
        def function(**kwargs: Any) -> int:
            raise KeyError("x")

        with pytest.raises(KeyError):
            signal.send(sender=None)

    def test_what_is_no_event(
        self, bucket: Bucket, signal: Signal, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.hook(signal)(lambda **kwargs: [1, {2}])
        with pytest.raises(InvalidEvent), transaction.atomic():
            signal.send(sender=None)
        assert not caplog.records
        signal.send(sender=None)
        assert f"Bucket {bucket.name}: 2 events are lost. An event is refused, with" in caplog.text
        assert bucket.take() == []

    def test_redis_is_away(
        self,
        bucket: Bucket,
        signal: Signal,
        unreachable: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        bucket.hook(signal)(lambda **kwargs: 1)
        signal.send(sender=None)
        assert "1 events are lost" in caplog.text

    @pytest.mark.urls("tests.urls")
    def test_login(self, bucket: Bucket, user: User) -> None:
        @bucket.hook(user_logged_in)
        def logged_in(user: User, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
            return {"user": user.pk, "path": request.path}

        url = "/admin/login/"
        Client().post(url, {"username": "ann", "password": "wrong"})
        Client().post(url, {"username": "ann", "password": "secret"})
        assert bucket.take() == [{"user": user.pk, "path": url}]


class TestRecordBulk:
    @pytest.fixture
    def authors(self) -> list[Author]:
        return [Author.objects.create(name=name) for name in "ab"]

    @pytest.mark.parametrize("action", receivers.ACTIONS)
    def test_as_the_model_is_recorded(
        self, bucket: Bucket, authors: list[Author], action: str
    ) -> None:
        bucket.record(Author, fields=["name"], when=lambda author: author.name > "a")
        bucket.record_bulk(authors, action)
        event = recorded(bucket)[0]
        assert (event["type"], event["subject"], event["data"]) == (
            f"library.author.{action}",
            pk(authors[1]),
            {"name": "b"},
        )

    def test_of_a_model_that_is_not_recorded(self, bucket: Bucket, authors: list[Author]) -> None:
        Bucket("others").record(Author, fields=["born"])
        bucket.record_bulk(authors, "created")
        assert [event["name"] for event in data(bucket)] == ["a", "b"]

    def test_password_is_left_out(self, bucket: Bucket) -> None:
        bucket.record_bulk([Reader(name="Ann", password="x")], "created")
        assert "password" not in data(bucket)[0]

    def test_takes_the_recording_of_that_action(
        self, bucket: Bucket, authors: list[Author]
    ) -> None:
        bucket.record(Author, on=["updated"], fields=["born"])
        bucket.record(Author, on=["created"], fields=["name"])
        bucket.record_bulk(authors, "created")
        assert data(bucket) == [{"name": "a"}, {"name": "b"}]

    def test_takes_the_nearest_recording(self, bucket: Bucket) -> None:
        comic = Comic.objects.create(title="It", drawer="Ann")
        bucket.record(Book, fields=["title"])
        bucket.record(Comic, fields=["drawer"])
        bucket.record_bulk([comic, ShortComic(pk=comic.pk, drawer="Bea")], "updated")
        bucket.record_bulk([Bestseller(pk=comic.pk, title="At")], "updated")
        assert [(event["type"], event["data"]) for event in recorded(bucket)] == [
            ("library.comic.updated", {"drawer": "Ann"}),
            ("library.comic.updated", {"drawer": "Bea"}),
            ("library.book.updated", {"title": "At"}),
        ]

    def test_payload(self, bucket: Bucket, authors: list[Author]) -> None:
        bucket.record(Author, payload=lambda author: author.name)
        bucket.record_bulk(iter(authors), "updated")
        assert data(bucket) == ["a", "b"]

    def test_of_several_models_and_by_generator(
        self, bucket: Bucket, authors: list[Author]
    ) -> None:
        tag = Tag.objects.create(name="x")
        bucket.record_bulk((thing for thing in [authors[0], tag]), "created")
        assert told(bucket) == [("author.created", pk(authors[0])), ("tag.created", pk(tag))]

    def test_queryset(
        self,
        bucket: Bucket,
        authors: list[Author],
        django_assert_num_queries: Callable[[int], Any],
    ) -> None:
        with django_assert_num_queries(1):
            bucket.record_bulk(Author.objects.all(), "updated")
        assert len(told(bucket)) == 2

    def test_what_was_read_costs_no_query(
        self, bucket: Bucket, django_assert_num_queries: Callable[[int], Any]
    ) -> None:
        for title in "abc":
            Book.objects.create(title=title)
        books = [*Book.objects.all()]
        with django_assert_num_queries(1):
            bucket.record_bulk(books, "updated")
        assert [event["loud_title"] for event in data(bucket)] == [*"ABC"]

    def test_of_what_is_gone(self, bucket: Bucket) -> None:
        Book.objects.create(title="a")
        books = [*Book.objects.all()]
        Book.objects.all().delete()
        bucket.record_bulk(books, "deleted")
        assert data(bucket)[0]["loud_title"] == "A"

    def test_nothing(self, bucket: Bucket) -> None:
        bucket.record_bulk([], "created")
        assert told(bucket) == []

    @pytest.mark.parametrize("objects", [[], [Author()]])
    def test_unknown_action(self, bucket: Bucket, objects: list[Model]) -> None:
        with pytest.raises(BufferMisconfigured, match="'made'"):
            bucket.record_bulk(objects, "made")

    @pytest.mark.parametrize("wrong", [1, {"name": "a"}, Author])
    def test_what_is_no_instance(self, bucket: Bucket, authors: list[Author], wrong: Any) -> None:
        with pytest.raises(InvalidEvent, match="instances"):
            bucket.record_bulk([authors[0], wrong], "created")
        assert told(bucket) == []

    def test_one_that_is_no_series(self, bucket: Bucket) -> None:
        with pytest.raises((InvalidEvent, TypeError)):
            bucket.record_bulk(Author(), "created")  # type: ignore[arg-type]

    def test_rollback_leaves_nothing(self, bucket: Bucket, authors: list[Author]) -> None:
        with rolled_back():
            bucket.record_bulk(authors, "updated")
        assert told(bucket) == []

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_of_a_database(self, bucket: Bucket) -> None:
        Author.objects.using("other").create(name="a")
        authors = [*Author.objects.using("other").defer("name")]
        with rolled_back():
            bucket.record_bulk(authors, "updated", using="other")
            bucket.record_bulk(authors, "updated")
        assert [event["name"] for event in data(bucket)] == ["a"]

    def test_child_and_its_proxies(self, bucket: Bucket) -> None:
        bucket.record(Loan, fields=["number"])
        bucket.record_bulk([LongLoan(pk=1, number=1), Rental(id=2, number=2)], "created")
        assert told(bucket) == [("loan.created", "1"), ("loan.created", "2")]
