"""Each test fails if Django no longer has the API, or if the API means something else."""

import sqlite3
import uuid
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Manager, Model, QuerySet
from django.db.models.signals import post_init
from django.test.utils import isolate_apps

from django_jsonbuffer.django_internals import inserts
from tests.sinks.models import Cell, Computed, Count, PageView, Product, Stock

pytestmark = pytest.mark.django_db(transaction=True)


def columns_of(model: type[Model], *names: str) -> list[Any]:
    return [field for field in model._meta.concrete_fields if field.attname in names]


class TestInsertSql:
    def test_is_one_statement_with_all_rows(self) -> None:
        fields = columns_of(Cell, "x", "y", "value")
        rows = [Cell(x=n, y=f"{n}") for n in range(3)]
        sql, params = inserts.insert_sql(Cell, fields, rows, connection)
        assert sql.startswith('INSERT INTO "sinks_cell" ("x", "y", "value") ')
        assert list(params) == [0, "0", 0, 1, "1", 0, 2, "2", 0]
        with connection.cursor() as cursor:
            cursor.execute(f"{sql} ON CONFLICT (x, y) DO UPDATE SET value = 1", params)
        assert Cell.objects.count() == 3

    def test_prepares_what_is_not_stored_unchanged(self) -> None:
        key = uuid.uuid4()
        names = ("id", "path", "number", "rest", "is_robot", "recorded")
        fields = columns_of(PageView, *names)
        row = PageView(id=key, path="a", number="12", rest=[1])
        _, params = inserts.insert_sql(PageView, fields, [row], connection)
        assert list(params[:2]) == [key.hex, "a"]
        assert params[2:5] == (12, False, "[1]")
        assert params[5] is not None  # auto_now_add

    def test_leaves_defaults_to_the_database(self) -> None:
        row = Computed(name="a")
        fields = columns_of(Computed, "name", "number", "other")
        sql, params = inserts.insert_sql(Computed, fields, [row], connection)
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
        assert Computed.objects.get().number == 3


class TestNewRows:
    @pytest.mark.parametrize("model", [Product, PageView, Stock, Count, Cell])
    def test_are_what_the_class_makes(self, model: Any) -> None:
        given = {field.attname: None for field in model._meta.concrete_fields[:1]}
        (row,) = inserts.new_rows(model, [given])
        usual = model(**given)
        assert vars(row).keys() == vars(usual).keys()
        for name in vars(usual).keys() - {"_state", "token"}:
            assert vars(row)[name] == vars(usual)[name]

    def test_have_defaults_of_their_own(self) -> None:
        rows = inserts.new_rows(PageView, [{"path": "a"}, {"path": "b"}])
        assert rows[0].pk != rows[1].pk
        rows[0].save()
        assert PageView.objects.get().path == "a"

    def test_receivers_are_told(self) -> None:
        told: list[Any] = []

        def receive(instance: Any, **kwargs: Any) -> None:
            told.append(instance)

        post_init.connect(receive, sender=Cell)
        try:
            rows = inserts.new_rows(Cell, [{"x": 1}, {"x": 2}])
        finally:
            post_init.disconnect(receive, sender=Cell)
        assert told == rows

    def test_init_of_the_project_is_called(self) -> None:
        with isolate_apps("tests.sinks"):

            class Shouting(Model):
                class Meta:
                    app_label = "sinks"

                def __init__(self, *args: Any, **kwargs: Any) -> None:
                    super().__init__(*args, **kwargs)
                    self.shout = True

        (row,) = inserts.new_rows(Shouting, [{"id": 5}])
        assert row.shout


def test_own_bulk_create_is_found() -> None:
    class OwnQuerySet(QuerySet[Any]):
        def bulk_create(self, *args: Any, **kwargs: Any) -> Any:
            return super().bulk_create(*args, **kwargs)

    class OtherQuerySet(QuerySet[Any]):
        pass

    class OwnManager(Manager[Any]):
        def bulk_create(self, *args: Any, **kwargs: Any) -> Any:
            return super().bulk_create(*args, **kwargs)

    with isolate_apps("tests.sinks"):

        def has_plain(manager: Any) -> bool:
            meta = type("Meta", (), {"app_label": "sinks"})
            body = {"objects": manager, "Meta": meta, "__module__": __name__}
            cls = type(f"Made{uuid.uuid4().hex}", (Model,), body)
            return inserts.bulk_creates_by_django(cls)

        assert has_plain(Manager())
        assert has_plain(OtherQuerySet.as_manager())
        assert not has_plain(OwnQuerySet.as_manager())
        assert not has_plain(OwnManager())


def test_parameters_of_sqlite_are_those_that_it_takes() -> None:
    connection.ensure_connection()
    kind = sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER
    before = connection.connection.setlimit(kind, 10)
    try:
        assert inserts.most_parameters(connection) == 10
    finally:
        connection.connection.setlimit(kind, before)


def test_on_conflict_words_make_a_statement() -> None:
    begin, given = inserts.on_conflict_words(connection)
    Cell.objects.create(x=1, y="a", value=1)
    sql = "INSERT INTO sinks_cell (x, y, value) VALUES (1, 'a', 5) "
    with connection.cursor() as cursor:
        cursor.execute(f"{sql}{begin.format(key='x, y')} value = {given.format(column='value')}")
    assert Cell.objects.get().value == 5
    assert inserts.has_on_conflict(connection)


def test_autocommit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inserts.commits_by_itself("default")
    monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)
    assert not inserts.commits_by_itself("default")


def test_options_of_fields() -> None:
    has_default = {
        field.name: inserts.has_database_default(field) for field in Computed._meta.concrete_fields
    }
    assert has_default == {"name": False, "number": True, "other": False, "double": False}
    assert inserts.has_database_constraint(PageView._meta.get_field("product"))
    assert not inserts.has_database_constraint(PageView._meta.get_field("loose"))


def test_deferred_constraints_are_not_checked_on_sqlite() -> None:
    """PostgreSQL checks them: see the tests of the sinks."""
    with pytest.raises(IntegrityError), transaction.atomic():
        PageView.objects.create(path="a", product_id=10**9)
        inserts.check_deferred_constraints(connection)
        assert PageView.objects.count() == 1
