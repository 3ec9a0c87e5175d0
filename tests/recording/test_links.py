from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.db.models.fields.related import RelatedField
from django.db.models.signals import m2m_changed

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.recording import declaring
from tests.library.models import (
    Author,
    Book,
    Club,
    Comic,
    Membership,
    Offer,
    Reader,
    Shop,
    Tag,
)
from tests.recorded import pk, recorded, rolled_back, told

pytestmark = pytest.mark.django_db(transaction=True)


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


class TestForeignKeysToOtherFields:
    """The links point to unique fields, and not to primary keys."""

    @pytest.fixture
    def members(self) -> list[Membership]:
        return [Membership.objects.create(number=number) for number in ("b", "a")]

    @pytest.fixture
    def clubs(self) -> list[Club]:
        return [Club.objects.create(name=name) for name in ("chess", "go")]

    def links(self, bucket: Bucket) -> list[Any]:
        return [
            (event["type"].removeprefix("library."), event["subject"], event["data"])
            for event in recorded(bucket)
        ]

    def test_events_have_primary_keys(
        self, bucket: Bucket, members: list[Membership], clubs: list[Club]
    ) -> None:
        bucket.record(Membership, on=[], m2m=["clubs"])
        ann, bea = members
        chess, go = clubs
        ann.clubs.add(go, chess)
        ann.clubs.remove(go)
        ann.clubs.clear()
        chess.members.set([ann, bea])
        chess.members.remove(bea)
        chess.members.clear()
        assert self.links(bucket) == [
            ("membership.clubs.added", pk(ann), {"clubs": [chess.pk, go.pk]}),
            ("membership.clubs.removed", pk(ann), {"clubs": [go.pk]}),
            ("membership.clubs.removed", pk(ann), {"clubs": [chess.pk]}),
            ("membership.clubs.added", pk(ann), {"clubs": [chess.pk]}),
            ("membership.clubs.added", pk(bea), {"clubs": [chess.pk]}),
            ("membership.clubs.removed", pk(bea), {"clubs": [chess.pk]}),
            ("membership.clubs.removed", pk(ann), {"clubs": [chess.pk]}),
        ]

    def test_change_by_another_field_with_the_same_table(
        self, bucket: Bucket, members: list[Membership], clubs: list[Club]
    ) -> None:
        bucket.record(Membership, on=[], m2m=["clubs"])
        bucket.record(Club, on=[], m2m=["guests"])
        ann, chess = members[0], clubs[0]
        chess.guests.add(ann)
        ann.visited.remove(chess)
        change = {"clubs": [chess.pk]}
        assert [event for event in self.links(bucket) if event[0].startswith("membership")] == [
            ("membership.clubs.added", pk(ann), change),
            ("membership.clubs.removed", pk(ann), change),
        ]


class TestOtherRelations:
    def test_key_given_as_text(self, bucket: Bucket) -> None:
        bucket.record(Book, on=[], m2m=["tags"])
        book, tag = Book.objects.create(), Tag.objects.create(name="x")
        Tag(pk=str(tag.pk)).books.add(book.pk)
        Book(pk=str(book.pk)).tags.clear()
        assert [(event["subject"], event["data"]) for event in recorded(bucket)] == [
            (pk(book), {"tags": [tag.pk]}),
            (pk(book), {"tags": [tag.pk]}),
        ]

    def test_one_owner_that_fails_loses_its_event_alone(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.record(Book, on=[], m2m=["tags"], when=lambda book: 1 // book.pages)
        books = [Book.objects.create(pages=pages) for pages in (0, 1)]
        Tag.objects.create(name="x").books.add(*books)
        assert told(bucket) == [("book.tags.added", pk(books[1]))]
        assert "An event of library.Book was refused with ZeroDivisionError" in caplog.text

    def test_what_is_not_a_many_to_many_field_is_refused(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Manager(RelatedField):  # type: ignore[type-arg]  # as the tags of django-taggit
            many_to_many = True
            name = attname = "labels"

            def __init__(self) -> None:
                pass

        monkeypatch.setattr(declaring, "many_to_many_fields", lambda model: [Manager()])
        with pytest.raises(BufferMisconfigured, match="out of: none"):
            bucket.record(Book, m2m=["labels"])

    @pytest.mark.parametrize("arguments", [{}, {"action": "post_add"}, {"action": "post_clear"}])
    def test_signal_sent_by_hand(self, bucket: Bucket, arguments: dict[str, Any]) -> None:
        bucket.record(Book, on=[], m2m=["tags"])
        m2m_changed.send(sender=Book.tags.through, instance=Book.objects.create(), **arguments)
        assert told(bucket) == []

    def test_signal_about_another_model(self, bucket: Bucket) -> None:
        bucket.record(Book, on=[], m2m=["tags"])
        author = Author.objects.create(name="Ann")
        m2m_changed.send(sender=Book.tags.through, instance=author, action="post_add", pk_set={1})
        assert told(bucket) == []
