import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models.signals import (
    m2m_changed,
    post_delete,
    post_save,
    pre_delete,
    pre_save,
)
from django.dispatch import Signal
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from django_jsonbuffer import Bucket, gathered
from tests.library.models import (
    AudioBestseller,
    Author,
    Bestseller,
    Book,
    Comic,
    Manga,
    Offer,
    Reader,
    Shop,
    ShortComic,
    Tag,
)
from tests.recorded import data, pk, recorded, rolled_back, told

pytestmark = pytest.mark.django_db(transaction=True)

SIGNALS = [m2m_changed, post_delete, post_save, pre_delete, pre_save]


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
