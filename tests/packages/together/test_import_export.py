from collections.abc import Callable, Iterable
from typing import Any

import pytest
from django.db.models import Model
from import_export.resources import ModelResource, modelresource_factory
from tablib import Dataset

from tests.packages.ledger import Ledger
from tests.packages.together.models import Book, Topic, Volume

pytestmark = pytest.mark.django_db(transaction=True)

BOOKS = """isbn,title,price,published,is_lent
1,It,9.5,2026-02-03,1
2,That,,,0
3,This,10,2026-02-04,0
"""
CHANGED = """isbn,title,price
1,It,9.50
2,That,7
4,Those,3
"""
VOLUMES = "number,price\n1,9.5\n2,\n3,0.10\n"


def load(csv: str, model: type[Model], key: str, *, dry_run: bool = False, **meta: Any) -> Any:
    """Import the text of a CSV file."""
    data = Dataset().load(csv, format="csv")
    columns = [*(data.headers or []), *meta.pop("columns", [])]
    options = {"fields": columns, "import_id_fields": [key], "use_transactions": True, **meta}
    resource: ModelResource = modelresource_factory(model, meta_options=options)()
    return resource.import_data(data, dry_run=dry_run, raise_errors=True)


@pytest.fixture
def ledger(record: Callable[..., Ledger]) -> Ledger:
    return record(Book)


@pytest.mark.parametrize("with_transactions", [False, True])
def test_import(ledger: Ledger, with_transactions: bool) -> None:
    load(BOOKS, Book, "isbn", use_transactions=with_transactions)
    assert ledger.told() == ["book.created"] * 3
    load(CHANGED, Book, "isbn", use_transactions=with_transactions)
    assert ledger.told() == ["book.updated", "book.created"]


@pytest.mark.parametrize("skip_unchanged", [False, True])
def test_unchanged_rows(ledger: Ledger, skip_unchanged: bool) -> None:
    load(BOOKS, Book, "isbn")
    load(BOOKS, Book, "isbn", skip_unchanged=skip_unchanged)
    assert ledger.told() == ["book.created"] * 3


def test_dry_run(ledger: Ledger) -> None:
    load(BOOKS, Book, "isbn", dry_run=True)
    assert ledger.told() == []


def test_failed_import(ledger: Ledger) -> None:
    with pytest.raises(Exception, match="ninety"):
        load(f"{BOOKS}5,Bad,ninety,,0\n", Book, "isbn")
    assert ledger.told() == []
    assert not Book.objects.exists()


def test_rows_to_delete(ledger: Ledger) -> None:
    class Deleting(ModelResource):
        def for_delete(self, row: dict[str, str], instance: Model) -> bool:
            return row["title"] == ""

        class Meta:
            model = Book
            import_id_fields = ("isbn",)
            fields = ("isbn", "title")

    load(BOOKS, Book, "isbn")
    data = Dataset().load("isbn,title\n1,\n2,Other\n", format="csv")
    Deleting().import_data(data, raise_errors=True)
    assert ledger.told() == [*["book.created"] * 3, "book.deleted", "book.updated"]


def test_links(record: Callable[..., Ledger]) -> None:
    first, second = (Topic.objects.create(name=name) for name in "xy")
    ledger = record(Book)
    ledger.bucket.record(Book, on=[], m2m=["topics"])
    load(f'isbn,title,topics\n1,It,"{first.pk},{second.pk}"\n', Book, "isbn")
    created, added = ledger.bucket.take()
    assert created["type"] == "together.book.created"
    assert added["type"] == "together.book.topics.added"
    assert added["data"] == {"topics": [first.pk, second.pk]}


def in_bulk(csv: str, **meta: Any) -> None:
    load(csv, Volume, "number", use_bulk=True, **meta)


def test_bulk_import(record: Callable[..., Ledger]) -> None:
    ledger = record(Volume)
    in_bulk(VOLUMES)
    in_bulk("number,price\n1,9.50\n2,7\n3,\n4,2\n", batch_size=2)
    told = ["volume.created"] * 4 + ["volume.updated"] * 2
    assert sorted(ledger.told()) == told
    in_bulk(VOLUMES, skip_unchanged=True, skip_diff=True)
    assert ledger.told() == ["volume.updated"] * 2


def test_bulk_dry_run(record: Callable[..., Ledger]) -> None:
    ledger = record(Volume)
    in_bulk(VOLUMES, dry_run=True)
    assert ledger.told() == []


def test_bulk_import_into_a_model_without_the_mixin(ledger: Ledger) -> None:
    """It sends no signals. A resource tells the bucket what it has done."""

    class Telling(ModelResource):
        def bulk_create(
            self, using_transactions: bool, dry_run: bool, *args: Any, **kw: Any
        ) -> Any:
            created: Iterable[Model] = [*self.create_instances]
            super().bulk_create(using_transactions, dry_run, *args, **kw)
            ledger.bucket.record_bulk(created, "created")

        class Meta:
            model = Book
            import_id_fields = ("isbn",)
            fields = ("isbn", "title", "price", "published", "is_lent")
            use_bulk = True

    Telling().import_data(Dataset().load(BOOKS, format="csv"), raise_errors=True)
    assert ledger.told() == ["book.created"] * 3
