from collections import Counter
from collections.abc import Callable
from typing import Any
from zlib import crc32

import pytest
from django.db import transaction
from django.db.models import Model

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured, InvalidEvent
from django_jsonbuffer.recording.events import ACTIONS
from tests.library.models import (
    Author,
    Bestseller,
    Book,
    Comic,
    Loan,
    LongLoan,
    Reader,
    Rental,
    ShortComic,
    Tag,
)
from tests.recorded import data, pk, recorded, rolled_back, told
from tests.server import Redis

pytestmark = pytest.mark.django_db(transaction=True)


class TestShards:
    @pytest.fixture
    def bucket(self) -> Bucket:
        return Bucket("changes", shards=4)

    def test_of_one_object_have_all_its_events_in_order(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=["name"])
        authors = [Author.objects.create(name=f"author {number}") for number in range(8)]
        with transaction.atomic():
            for author in authors:
                author.name = "new"
                author.save()
        bucket.record_bulk(authors, "updated")
        batches: list[list[str]] = []
        bucket.processor(lambda batch: batches.append([event["subject"] for event in batch]))
        bucket.drain()
        subjects = [{*batch} for batch in batches]
        assert len(subjects) > 1
        assert sum(map(len, subjects)) == len(authors)
        assert all(Counter(batch) == dict.fromkeys(batch, 3) for batch in batches)

    def test_that_fail_do_not_keep_the_events_of_others(
        self, bucket: Bucket, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        authors = [Author.objects.create(name=f"author {number}") for number in range(20)]
        client_of_server.hset(bucket.key, "not", "a string")
        bucket.record_bulk(authors, "created")
        assert "events are lost" in caplog.text
        client_of_server.delete(bucket.key)
        first = [author for author in authors if crc32(str(author.pk).encode()) % 4 == 0]
        assert bucket.status().pending == len(authors) - len(first)


class TestRecordBulk:
    @pytest.fixture
    def authors(self) -> list[Author]:
        return [Author.objects.create(name=name) for name in "ab"]

    @pytest.mark.parametrize("action", ACTIONS)
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
        bucket.record_bulk([comic, ShortComic(pk=comic.pk, drawer="Bea")], "created")
        bucket.record_bulk([Bestseller(pk=comic.pk, title="At")], "created")
        assert [(event["type"], event["data"]) for event in recorded(bucket)] == [
            ("library.comic.created", {"drawer": "Ann"}),
            ("library.comic.created", {"drawer": "Bea"}),
            ("library.book.created", {"title": "At"}),
        ]

    def test_mask_of_a_proxy_holds_for_its_model(self, bucket: Bucket) -> None:
        bucket.record(Bestseller, fields=["title"], mask=["title"])
        bucket.record_bulk([Book(pk=1, title="It")], "deleted")
        assert data(bucket) == [{"title": "***"}]

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
        with django_assert_num_queries(2):
            bucket.record_bulk(Author.objects.all(), "updated")
        assert len(told(bucket)) == 2

    def test_updated_rows_are_read(self, bucket: Bucket, authors: list[Author]) -> None:
        Author.objects.update(name="c")
        authors[0].name = "never saved"
        bucket.record(Author, fields=["name"])
        bucket.record_bulk(authors, "updated")
        assert data(bucket) == [{"name": "c"}, {"name": "c"}]

    def test_recording_of_links_alone_comes_last(
        self, bucket: Bucket, authors: list[Author]
    ) -> None:
        bucket.record(Author, on=[], m2m=["friends"])
        bucket.record(Author, on=["created"], fields=["name"], mask=["name"])
        bucket.record_bulk(authors, "updated")
        assert data(bucket) == [{"name": "***"}] * 2

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
        kind = type(wrong).__name__
        with pytest.raises(InvalidEvent, match=f"takes model instances, not one {kind}"):
            bucket.record_bulk([authors[0], wrong], "created")
        assert told(bucket) == []

    def test_one_that_is_no_series(self, bucket: Bucket) -> None:
        with pytest.raises(InvalidEvent, match="several instances, not one Author"):
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
