import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from django.db.models.signals import (
    post_save,
)

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import InvalidEvent
from tests.library.models import (
    Author,
    Book,
    Comic,
    Copy,
    Loan,
    Reader,
    Tag,
    Ticket,
)
from tests.recorded import data, pk, recorded, told

pytestmark = pytest.mark.django_db(transaction=True)


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

    def test_decides_for_a_child_as_for_its_save(self, bucket: Bucket) -> None:
        bucket.record(Book, when=lambda book: not isinstance(book, Comic))
        Comic.objects.create().delete()
        assert told(bucket) == []

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

    def test_with_changes_must_be_a_dict(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.record(Book, payload=lambda book: book.title, changes=True, on=["updated"])
        book = Book.objects.create(title="It")
        book.pages = 3
        book.save()
        assert told(bucket) == []
        assert "The payload of library.Book must be a dict" in caplog.text

    def test_that_fails_loses_the_event_alone(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.record(Book, payload=lambda book: [book.pages, 6 // book.pages])
        with transaction.atomic():
            for pages in (0, 1):
                Book.objects.create(pages=pages).delete()
        assert data(bucket) == [[1, 6], [1, 6]]
        assert caplog.text.count("An event of library.Book was refused with ZeroDivision") == 2
        assert f"{Path(__file__).name}:" in caplog.text

    def test_that_is_no_json_is_an_error_if_the_bucket_says_so(self) -> None:
        strict = Bucket("changes", on_unavailable="raise")
        strict.record(Book, payload=lambda book: {1, 2})
        with transaction.atomic(), pytest.raises(InvalidEvent, match="set"):
            Book.objects.create()
        assert told(strict) == []


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
        assert [event["changes"] for event in data(bucket)] == [
            {"title": {"old": "", "new": "b"}},
            {"pages": {"old": 0, "new": 1}},
            {"pages": {"old": 1, "new": 2}},
        ]

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
