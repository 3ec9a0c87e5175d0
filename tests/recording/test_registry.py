from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.test.utils import isolate_apps

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured
from tests.library.models import AudioBestseller, Author, Bestseller, Book, Comic, Tag
from tests.recorded import data, pk, told

pytestmark = pytest.mark.django_db(transaction=True)

SIGNALS = [m2m_changed, post_delete, post_save, pre_delete, pre_save]


def new_proxy(model: Any, name: str) -> Any:
    meta = type("Meta", (), {"proxy": True, "app_label": "library"})
    return type(name, (model,), {"__module__": __name__, "Meta": meta})


class TestLaterClass:
    @pytest.fixture(autouse=True)
    def _apps(self) -> Iterator[None]:
        with isolate_apps("tests.library"):
            yield

    def test_proxy(self, bucket: Bucket) -> None:
        bucket.record(Book, changes=True)
        book = Book.objects.create()
        cls = new_proxy(Book, "Later")
        later = cls.objects.get()
        later.title = "It"
        later.save()
        later.delete()
        assert told(bucket) == [
            ("book.created", pk(book)),
            ("book.updated", pk(book)),
            ("book.deleted", pk(book)),
        ]

    def test_proxy_of_a_child_and_of_a_proxy(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["created", "deleted"])
        for model in (new_proxy(Comic, "LaterComic"), new_proxy(Bestseller, "LaterBestseller")):
            model.objects.create().delete()
        assert [kind for kind, _ in told(bucket)] == ["book.created", "book.deleted"] * 2

    def test_links(self, bucket: Bucket) -> None:
        bucket.record(Book, on=[], m2m=["tags"])
        new_proxy(Book, "Linked").objects.create().tags.add(Tag.objects.create(name="x"))
        assert [kind for kind, _ in told(bucket)] == ["book.tags.added"]

    def test_of_another_model_gets_no_receiver(self, bucket: Bucket) -> None:
        bucket.record(Book)
        cls = new_proxy(Author, "LaterAuthor")
        assert not any(signal.has_listeners(cls) for signal in SIGNALS)

    def test_after_the_end_of_the_recording(self, bucket: Bucket) -> None:
        bucket.record(Book)
        bucket.unrecord(Book)
        cls = new_proxy(Book, "Late")
        assert not any(signal.has_listeners(cls) for signal in SIGNALS)


class TestChildOfAProxy:
    def test_deletion_is_recorded_by_the_proxy(self, bucket: Bucket) -> None:
        bucket.record(Bestseller, fields=["title"])
        book = AudioBestseller.objects.create(title="It", speaker="Ann")
        key = pk(book)
        book.delete()
        assert told(bucket) == [("bestseller.created", key), ("bestseller.deleted", key)]

    def test_deletion_of_rows_of_all_kinds(self, bucket: Bucket) -> None:
        bucket.record(Bestseller, on=["deleted"], fields=["title"])
        for model in (AudioBestseller, Bestseller, Book):
            model.objects.create(title=model.__name__)
        Book.objects.all().delete()
        assert data(bucket) == [{"title": "AudioBestseller"}]

    def test_deletion_that_keeps_the_parent(self, bucket: Bucket) -> None:
        bucket.record(Bestseller, on=["deleted"])
        AudioBestseller.objects.create().delete(keep_parents=True)
        assert told(bucket) == []


class TestUnrecord:
    @pytest.mark.parametrize("model", [Book, "library.Book"])
    def test_ends_all_recordings_of_the_model(self, bucket: Bucket, model: Any) -> None:
        bucket.record(Book, on=["created"], m2m=["tags"])
        bucket.record(Book, on=["updated", "deleted"], changes=True)
        bucket.record(Author)
        bucket.unrecord(model)
        comic = Comic.objects.create()
        comic.tags.add(Tag.objects.create(name="x"))
        comic.save()
        comic.delete()
        Author.objects.create(name="Ann")
        assert [kind for kind, _ in told(bucket)] == ["author.created"]
        assert not any(
            signal.has_listeners(cls)
            for signal in SIGNALS
            for cls in (Book, Comic, Bestseller, Book.tags.through)
        )

    def test_leaves_other_buckets_alone(self, bucket: Bucket) -> None:
        bucket.record(Author)
        Bucket("others").record(Author)
        Bucket("others").unrecord(Author)
        Author.objects.create(name="Ann")
        assert len(told(bucket)) == 1

    def test_allows_another_recording(self, bucket: Bucket) -> None:
        bucket.record(Author)
        bucket.unrecord(Author)
        bucket.record(Author, fields=["name"])
        Author.objects.create(name="Ann")
        assert data(bucket) == [{"name": "Ann"}]

    @pytest.mark.parametrize("model", [Author, Bestseller, "library.Nobody", Model])
    def test_of_a_model_that_is_not_recorded(self, bucket: Bucket, model: Any) -> None:
        bucket.record(Book)
        with pytest.raises(BufferMisconfigured):
            bucket.unrecord(model)
