from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models.signals import post_delete, post_init, post_save, pre_delete, pre_save
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.recording import rows
from django_jsonbuffer.recording.selects import read_rows
from tests.library.models import Author, Book, Comic
from tests.recorded import data, pk, recorded, told

pytestmark = pytest.mark.django_db(transaction=True)


class TestByHand:
    """Other code may send these signals, and leave arguments out."""

    @pytest.mark.parametrize("changes", [False, True])
    @pytest.mark.parametrize("signal", [pre_save, post_save, pre_delete, post_delete])
    @pytest.mark.parametrize("arguments", [{}, {"using": "default"}, {"created": False}])
    def test_missing_arguments_are_no_error(
        self, bucket: Bucket, changes: bool, signal: Signal, arguments: dict[str, Any]
    ) -> None:
        author = Author.objects.create(name="Ann")
        bucket.record(Author, changes=changes)
        signal.send(sender=Author, instance=author, **arguments)
        expected = [("author.updated", pk(author))] if signal is post_save else []
        assert told(bucket) == expected

    @pytest.mark.parametrize("signals", [[post_save], [pre_save, post_save]])
    def test_values_are_those_of_the_row(self, bucket: Bucket, signals: list[Signal]) -> None:
        author = Author.objects.create(name="Ann")
        bucket.record(Author, fields=["name"])
        author.name = "never saved"
        for signal in signals:
            signal.send(sender=Author, instance=author, created=False, raw=False)
        assert data(bucket) == [{"name": "Ann"}]

    def test_changes_in_between_are_recorded(self, bucket: Bucket) -> None:
        author = Author.objects.create(name="Ann")
        bucket.record(Author, fields=["name"], changes=True)
        pre_save.send(sender=Author, instance=author)
        Author.objects.update(name="Bea")
        post_save.send(sender=Author, instance=author, created=False)
        assert data(bucket) == [{"name": "Bea", "changes": {"name": {"old": "Ann", "new": "Bea"}}}]

    def test_deletion(self, bucket: Bucket) -> None:
        author = Author.objects.create(name="Ann")
        bucket.record(Author, fields=["name"])
        author.name = "never saved"
        pre_delete.send(sender=Author, instance=author)
        post_delete.send(sender=Author, instance=author)
        assert data(bucket) == [{"name": "never saved"}]

    @pytest.mark.parametrize("instance", [None, Book(title="It")])
    @pytest.mark.parametrize("signal", [pre_save, post_save, pre_delete, post_delete])
    def test_signal_about_no_instance(self, bucket: Bucket, signal: Signal, instance: Any) -> None:
        bucket.record(Author, changes=True)
        signal.send(sender=Author, instance=instance, origin="cleanup")
        signal.send(sender=Author)
        assert told(bucket) == []

    def test_origin_of_another_kind(self, bucket: Bucket) -> None:
        author = Author.objects.create(name="Ann")
        bucket.record(Author, fields=["name"])
        for signal in (pre_delete, post_delete):
            signal.send(sender=Author, instance=author, origin="cleanup")
        assert data(bucket) == [{"name": "Ann"}]

    def test_row_of_a_save_that_failed_is_not_taken(self, bucket: Bucket) -> None:
        author = Author.objects.create(name="a")
        bucket.record(Author, fields=["name"], changes=True)
        author.name = None  # type: ignore[assignment]
        with pytest.raises(IntegrityError):
            author.save()
        Author.objects.update(name="b")
        post_save.send(sender=Author, instance=author, created=False)
        assert data(bucket) == [{"name": "b"}]

    def test_row_of_a_save_that_failed_is_no_deletion(self, bucket: Bucket) -> None:
        author = Author.objects.create(name="a")
        bucket.record(Author, changes=True, mask=["name"])
        author.name = None  # type: ignore[assignment]
        with pytest.raises(IntegrityError):
            author.save()
        post_delete.send(sender=Author, instance=author)
        assert recorded(bucket) == []


class TestReceiversOfOthers:
    def test_that_make_the_save_a_copy(self, bucket: Bucket) -> None:
        def copy(instance: Author, **kwargs: Any) -> None:
            instance.pk = None
            instance._state.adding = True

        author = Author.objects.create(name="a")
        bucket.record(Author, fields=["name"], changes=True)
        pre_save.connect(copy, sender=Author)
        author.name = "b"
        author.save()
        assert told(bucket) == [("author.created", pk(author))]

    def test_that_change_the_instance_after_the_save(self, bucket: Bucket) -> None:
        def rename(instance: Author, **kwargs: Any) -> None:
            instance.name = "of memory"

        post_save.connect(rename, sender=Author)
        pre_delete.connect(rename, sender=Author)
        bucket.record(Author, fields=["name"])
        Author.objects.create(name="stored")
        Author.objects.all().delete()
        assert data(bucket) == [{"name": "stored"}] * 2

    def test_that_write_another_column_before_the_save(self, bucket: Bucket) -> None:
        def publish(instance: Book, **kwargs: Any) -> None:
            Book.objects.filter(pk=instance.pk).update(pages=7)

        bucket.record(Book, fields=["title", "pages"], changes=True, on=["updated"])
        book = Book.objects.create(title="a")
        pre_save.connect(publish, sender=Book)
        book.title = "b"
        book.save(update_fields=["title"])
        assert data(bucket)[0]["pages"] == 7

    def test_that_change_what_is_read(self, bucket: Bucket) -> None:
        def shout(instance: Author, **kwargs: Any) -> None:
            instance.name = instance.name.upper()

        Author.objects.create(name="stored")
        post_init.connect(shout, sender=Author)
        try:
            bucket.record(Author, fields=["name"])
            Author.objects.all().delete()
        finally:
            post_init.disconnect(shout, sender=Author)
        assert data(bucket) == [{"name": "stored"}]


class TestRaw:
    def test_values_of_parents_are_read(self, bucket: Bucket) -> None:
        book = Book.objects.create(title="It", pages=3)
        bucket.record(Comic, fields=["title", "pages", "drawer"], raw=True)
        Comic(book_ptr_id=book.pk, drawer="Ann").save_base(raw=True)
        assert data(bucket) == [{"title": "It", "pages": 3, "drawer": "Ann"}]


class TestFailure:
    @pytest.fixture
    def broken_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As if a field could not convert what the database returns."""

        def fail(*args: Any, **kwargs: Any) -> None:
            raise ValueError("secret")

        for name in ("read_row", "read_rows", "read_row_before_write"):
            monkeypatch.setattr(rows, name, fail)

    @pytest.mark.usefixtures("broken_reads")
    def test_loses_the_event_and_nothing_else(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.record(Book, fields=["title", "loud_title"], changes=True)
        with transaction.atomic():
            book = Book.objects.create(title="a")
            book.title = "b"
            book.save()
            book.delete()
        assert told(bucket) == []
        assert caplog.text.count("An event of library.Book was refused with ValueError at") == 3
        assert "secret" not in caplog.text
        bucket.append("counts the lost")
        assert bucket.status().lost == 3

    def test_row_that_cannot_be_read_loses_no_other(
        self,
        bucket: Bucket,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def read(model: Any, pks: list[int], fields: Any, **kwargs: Any) -> Any:
            if bad.pk in pks:
                raise ValueError
            return read_rows(model, pks, fields, **kwargs)

        bad, *good = (Book.objects.create(title=title) for title in "abc")
        bucket.record(Book, fields=["loud_title"])
        monkeypatch.setattr(rows, "read_rows", read)
        bucket.record_bulk([bad, *good], "updated")
        assert data(bucket) == [{"loud_title": "B"}, {"loud_title": "C"}]
        assert caplog.text.count("1 events are lost") == 1

    @pytest.mark.usefixtures("broken_reads")
    def test_is_raised_if_the_bucket_says_so(self) -> None:
        Bucket("strict", on_unavailable="raise").record(Book, changes=True)
        with pytest.raises(ValueError, match="secret"):
            Book.objects.create(title="a")

    def test_that_aborts_the_transaction_is_raised(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """PostgreSQL refuses every query after one that failed."""

        def fail(*args: Any, **kwargs: Any) -> None:
            raise DatabaseError("aborted")

        bucket.record(Book, fields=["loud_title"])
        monkeypatch.setattr(rows, "read_row", fail)
        Book.objects.create(title="no transaction")
        with transaction.atomic():
            Book.objects.create(title="not aborted")
        monkeypatch.setattr("django_jsonbuffer.recording.destination.run_smallest_query", fail)
        with pytest.raises(DatabaseError, match="aborted"), transaction.atomic():
            Book.objects.create(title="aborted")
        assert [book.title for book in Book.objects.all()] == ["no transaction", "not aborted"]

    def test_mistake_in_the_settings_is_raised(
        self, bucket: Bucket, configure: Callable[..., None]
    ) -> None:
        bucket.record(Author)
        configure(CACHE="")
        with pytest.raises(BufferMisconfigured):
            Author.objects.create(name="Ann")

    def test_source_that_fails_loses_the_event(
        self, bucket: Bucket, configure: Callable[..., None], caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.record(Author)
        configure(SOURCE=lambda: None)
        Author.objects.create(name="Ann")
        assert recorded(bucket) == []
        assert "must return a URI reference" in caplog.text


class TestQueries:
    def test_unsaved_fields_are_read(self, bucket: Bucket) -> None:
        author = Author.objects.create(name="Ann")
        bucket.record(Author, changes=True)
        author.name = "Bea"
        with CaptureQueriesContext(connection) as queries:
            author.save(update_fields=["name"])
        assert len(queries) == 3
        assert data(bucket)[0]["born"] is None
