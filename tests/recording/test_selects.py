import pytest
from django.db import connection, transaction
from django.db.models import Value
from django.test.utils import CaptureQueriesContext

from django_jsonbuffer import Bucket
from django_jsonbuffer.recording import selects
from tests.library.models import (
    Book,
)
from tests.recorded import data

pytestmark = pytest.mark.django_db(transaction=True)


class TestRow:
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
        monkeypatch.setattr(selects, "_MOST_SELECTS", 2)
        wrapper = transaction.get_connection()
        monkeypatch.setitem(wrapper.__dict__, "_jsonbuffer_queries", {})
        bucket.record(Book, changes=True)
        book = Book.objects.create(title="It")
        for field in ("title", "pages", "price"):
            book.save(update_fields=[field])
        book.refresh_from_db()
        for deferred in ("title", "pages", "price"):
            Book.objects.defer(deferred).get().save()
        assert 1 <= len(transaction.get_connection().__dict__["_jsonbuffer_queries"]) <= 2
