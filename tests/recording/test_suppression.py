import asyncio
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest

from django_jsonbuffer import Bucket, not_recorded
from django_jsonbuffer.exceptions import BufferMisconfigured
from tests.library.models import Author, Book, Comic, Loan, Tag
from tests.recorded import told

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bucket() -> Bucket:
    bucket = Bucket("changes")
    bucket.record(Author, changes=True)
    bucket.record(Book, m2m=["tags"], changes=True)
    bucket.record(Loan)
    return bucket


def change_everything() -> None:
    author = Author.objects.create(name="Ann")
    author.name = "Bea"
    author.save()
    author.delete()
    book = Book.objects.create()
    book.tags.add(Tag.objects.create(name="x"))
    book.delete()
    Loan.objects.bulk_create([Loan(number=1)])
    Loan.objects.update(days=1)


def test_models_that_are_named(bucket: Bucket) -> None:
    with not_recorded(Book, "library.Loan"):
        change_everything()
    assert [kind for kind, _ in told(bucket)] == [
        *["author.created", "author.updated", "author.deleted"]
    ]


def test_everything(bucket: Bucket) -> None:
    with not_recorded():
        change_everything()
    assert told(bucket) == []


def test_costs_no_query(bucket: Bucket, django_assert_num_queries: Callable[[int], Any]) -> None:
    author = Author.objects.create(name="Ann")
    with not_recorded(Author), django_assert_num_queries(1):
        author.save()
    with not_recorded(Loan), django_assert_num_queries(1):
        Loan.objects.update(days=1)


def test_children_and_bulk(bucket: Bucket) -> None:
    with not_recorded(Book):
        Comic.objects.create()
        bucket.record_bulk([Book(pk=1)], "updated")
    assert told(bucket) == []


def test_deletion_of_a_child(bucket: Bucket) -> None:
    comics = [Comic.objects.create() for _ in range(2)]
    told(bucket)
    with not_recorded(Comic):
        comics[0].delete()
        Comic.objects.all().delete()
    assert told(bucket) == []


def test_nested_blocks_add_up(bucket: Bucket) -> None:
    with not_recorded(Book):
        with not_recorded(Author):
            Author.objects.create(name="Ann")
            Book.objects.create()
        Book.objects.create()
        Author.objects.create(name="Bea")
    Book.objects.create()
    assert [kind for kind, _ in told(bucket)] == ["author.created", "book.created"]


def test_ends_with_an_error(bucket: Bucket) -> None:
    with pytest.raises(ZeroDivisionError), not_recorded():
        1 // 0  # noqa: B018
    Author.objects.create(name="Ann")
    assert len(told(bucket)) == 1


def test_counts_for_this_thread_alone() -> None:
    bucket = Bucket("tags")
    bucket.record(Tag, payload=lambda tag: tag.name)

    def note() -> None:
        bucket.record_bulk([Tag(pk=1, name="x")], "deleted")

    with not_recorded():
        thread = Thread(target=note)
        thread.start()
        thread.join()
    assert len(told(bucket)) == 1


def test_counts_in_tasks(bucket: Bucket) -> None:
    async def create() -> None:
        with not_recorded(Author):
            await asyncio.gather(*(Author.objects.acreate(name=name) for name in "ab"))
        await Author.objects.acreate(name="c")

    asyncio.run(create())
    assert len(told(bucket)) == 1


@pytest.mark.parametrize("wrong", ["Book", "library.Nobody", 1, Author(name="Ann")])
def test_mistake(wrong: Any) -> None:
    with pytest.raises(BufferMisconfigured, match="not_recorded"), not_recorded(wrong):
        pass
