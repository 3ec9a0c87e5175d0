"""Each test fails if Django no longer has the API, or if the API means something else."""

import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Manager, Model, QuerySet

from django_jsonbuffer.django_internals import databases
from tests.library.models import (
    Book,
    Code,
    Comic,
    Copy,
    Imported,
    Loan,
    Reader,
    Stamped,
    Tag,
    Titled,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def few_parameters() -> Iterator[int]:
    """Lets SQLite take this number of parameters in one statement."""
    connection.ensure_connection()
    limit = connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    yield 999
    connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, limit)


class TestDatabases:
    def test_statement_takes_this_number_of_keys(self, few_parameters: int) -> None:
        pks = [*range(few_parameters + 1)]
        with pytest.raises(OperationalError):
            list(Loan.objects.filter(pk__in=pks))
        size = databases.keys_per_statement(Loan, pks, using="default")
        assert 1 < size <= few_parameters
        assert list(Loan.objects.filter(pk__in=pks[:size])) == []

    def test_statement_takes_this_number_of_composite_keys(self, few_parameters: int) -> None:
        pks = [(number, number) for number in range(few_parameters)]
        with pytest.raises(OperationalError):
            list(Copy.objects.filter(pk__in=pks))
        size = databases.keys_per_statement(Copy, pks, using="default")
        assert 1 < size <= few_parameters // 2
        assert list(Copy.objects.filter(pk__in=pks[:size])) == []

    def test_portion_has_a_limit_on_every_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection.ops, "bulk_batch_size", lambda fields, objs: len(objs))
        pks = [*range(50_000)]
        assert databases.keys_per_statement(Loan, pks, using="default") == 10_000


class TestStoresValuesUnchanged:
    @pytest.mark.parametrize("model", [Book, Comic, Titled])
    def test_table_of_django(self, model: type[Model]) -> None:
        assert databases.stores_values_unchanged(model, "default")

    @pytest.mark.parametrize("model", [Stamped, Imported])
    def test_pre_save_of_the_project_and_table_of_others(self, model: type[Model]) -> None:
        assert not databases.stores_values_unchanged(model, "default")

    def test_base_manager_that_saves_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Rows(QuerySet[Tag]):
            def _update(self, values: Any) -> int:
                return 0

        manager = Manager.from_queryset(Rows)()
        manager.model = Tag
        monkeypatch.setattr(Tag._meta, "base_manager", manager)
        assert not databases.stores_values_unchanged(Tag, "default")

    @pytest.mark.parametrize(("mode", "is_known"), [("STRICT_TRANS_TABLES", True), ("", False)])
    def test_mysql(self, monkeypatch: pytest.MonkeyPatch, mode: str, is_known: bool) -> None:
        monkeypatch.setattr(connection, "vendor", "mysql")
        monkeypatch.setattr(connection, "sql_mode", {mode}, raising=False)
        assert databases.stores_values_unchanged(Tag, "default") is is_known

    def test_database_with_a_time_zone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", "Asia/Tokyo")
        assert not databases.stores_values_unchanged(Tag, "default")

    def test_other_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "vendor", "oracle")
        assert not databases.stores_values_unchanged(Tag, "default")


class TestWithKeys:
    def test_any_number_is_one_parameter(self, few_parameters: int) -> None:
        loans = [Loan.objects.create(number=number) for number in range(3)]
        pks = [loan.pk for loan in loans[:2]] + [*range(1000, 1000 + few_parameters)]
        found = databases.with_keys(Loan.objects.all(), pks, using="default")
        assert {loan.number for loan in found} == {0, 1}
        assert databases.with_keys(Loan.objects.all(), pks, using="default").update(days=1) == 2

    def test_composite_keys(self) -> None:
        books = [Book.objects.create() for _ in range(2)]
        copies = [Copy.objects.create(book=book, number=n) for book in books for n in (1, 2)]
        pks = [copies[0].pk, copies[3].pk]
        found = databases.with_keys(Copy.objects.order_by("pk"), pks, using="default")
        assert [copy.pk for copy in found] == pks

    @pytest.mark.parametrize("key", [uuid.UUID(int=1), uuid.UUID(int=2**127)])
    def test_keys_of_other_types(self, key: uuid.UUID) -> None:
        Reader.objects.create(pk=key)
        found = databases.with_keys(Reader.objects.all(), [key], using="default")
        assert [reader.pk for reader in found] == [key]

    @pytest.mark.parametrize("key", ["%s", "it's", "\\", '"', "é%'"])
    def test_text_is_quoted(self, key: str) -> None:
        Code.objects.create(id=key)
        Code.objects.create(id="other")
        found = databases.with_keys(Code.objects.all(), [key], using="default")
        assert [code.pk for code in found] == [key]
        assert found.update(name="x") == 1

    def test_no_key(self) -> None:
        Loan.objects.create(number=1)
        assert not databases.with_keys(Loan.objects.all(), [], using="default").exists()


class TestWriteLock:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Iterator[BaseDatabaseWrapper]:
        """A database with a table, and an open transaction."""
        settings = {**connection.settings_dict, "NAME": str(tmp_path / "db.sqlite3")}
        wrapper = type(connections["default"])(settings)
        with wrapper.cursor() as cursor:
            cursor.execute("CREATE TABLE library_tag (name text)")
            cursor.execute("BEGIN")
            wrapper.in_atomic_block = True
            yield wrapper
        wrapper.in_atomic_block = False
        wrapper.close()

    @pytest.fixture
    def commit_of_rival(self, file: BaseDatabaseWrapper) -> Iterator[Timer]:
        """Ends the transaction of another connection, which has begun to write."""
        rival = sqlite3.connect(
            file.settings_dict["NAME"], isolation_level=None, check_same_thread=False
        )
        rival.execute("BEGIN IMMEDIATE")
        rival.execute("INSERT INTO library_tag VALUES ('rival')")
        timer = Timer(0.3, rival.execute, ["COMMIT"])
        timer.start()
        yield timer
        timer.join()
        rival.close()

    def test_transaction_waits_for_its_turn(
        self, file: BaseDatabaseWrapper, commit_of_rival: Timer
    ) -> None:
        databases.take_write_lock(file, Tag)
        with file.cursor() as cursor:
            names = cursor.execute("SELECT name FROM library_tag").fetchall()
            cursor.execute("INSERT INTO library_tag VALUES ('own')")
        assert names == [("rival",)]

    def test_transaction_that_has_read_cannot_wait(
        self, file: BaseDatabaseWrapper, commit_of_rival: Timer
    ) -> None:
        with file.cursor() as cursor:
            cursor.execute("SELECT name FROM library_tag").fetchall()
            with pytest.raises(OperationalError, match="locked"):
                cursor.execute("INSERT INTO library_tag VALUES ('own')")
            cursor.execute("ROLLBACK")  # or the rival could not commit

    def test_each_transaction_takes_it(self, file: BaseDatabaseWrapper) -> None:
        statements: list[str] = []
        file.connection.set_trace_callback(statements.append)
        with file.cursor() as cursor:
            for _ in range(2):
                databases.take_write_lock(file, Tag)
                cursor.execute("COMMIT")
                cursor.execute("BEGIN")
        assert sum(statement.startswith("DELETE") for statement in statements) == 2

    @pytest.mark.parametrize(
        ("attribute", "value"), [("vendor", "postgresql"), ("in_atomic_block", False)]
    )
    def test_does_nothing_elsewhere(
        self, file: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch, attribute: str, value: Any
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(file, attribute, value)
            patch.setattr(file, "connection", None)
            databases.take_write_lock(file, Tag)
