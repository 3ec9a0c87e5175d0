"""Each test fails if Django no longer has the API, or if the API means something else."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, models
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from django_jsonbuffer.django_internals import models as django_internals
from tests.library.models import (
    Author,
    Bestseller,
    Book,
    Comic,
    Copy,
    Loan,
    Reader,
    Shop,
    ShortComic,
    Tag,
)

pytestmark = pytest.mark.django_db(transaction=True)


class TestModels:
    def test_models_are_loaded_before_any_app_is_ready(self) -> None:
        program = """
import sys
from types import ModuleType

import django
from django.apps import AppConfig
from django.conf import settings

from django_jsonbuffer.django_internals.models import models_are_loaded

class Config(AppConfig):
    name = "project"
    path = "."

    def import_models(self):
        print("importing", models_are_loaded())

    def ready(self):
        print("ready", models_are_loaded())

sys.modules["project"] = ModuleType("project")
sys.modules["project"].Config = Config
settings.configure(INSTALLED_APPS=["project.Config"])
print("start", models_are_loaded())
django.setup()
"""
        output = subprocess.check_output([sys.executable, "-c", program], text=True)
        assert output.splitlines() == ["start False", "importing False", "ready True"]

    def test_attname_is_the_attribute_with_the_columns_value(self) -> None:
        author = Author.objects.create(name="Ann")
        Book.objects.create(title="It", author=author)
        book = Book.objects.defer("title").get()
        attnames = {
            field.name: field.attname for field in Book._meta.get_fields() if field.concrete
        }
        assert attnames["author"] == "author_id"
        assert attnames["title"] == "title"
        assert book.__dict__[attnames["author"]] == author.pk
        assert attnames["title"] not in book.__dict__

    @pytest.mark.parametrize(
        ("model", "attname"),
        [(Author, "id"), (Comic, "book_ptr_id"), (ShortComic, "book_ptr_id"), (Copy, "pk")],
    )
    def test_key_field(self, model: type[Model], attname: str) -> None:
        assert django_internals.key_field(model).attname == attname

    def test_value_of_a_composite_key(self) -> None:
        copy = Copy(book_id=1, number=2)
        assert getattr(copy, django_internals.key_field(Copy).attname) == (1, 2)

    def test_concrete_fields_are_in_order(self) -> None:
        names = [field.name for field in django_internals.concrete_fields(Comic)]
        assert names[:3] == ["id", "title", "status"]
        assert names[-4:] == ["author", "sequel_of", "book_ptr", "drawer"]
        assert not {"tags", "offer"} & {*names}
        assert "pk" not in [field.name for field in django_internals.concrete_fields(Copy)]

    def test_many_to_many_fields(self) -> None:
        def names(model: type[Model]) -> list[str]:
            return [field.name for field in django_internals.many_to_many_fields(model)]

        assert names(Author) == ["friends", "translators"]
        assert names(Comic) == ["tags", "shops"]
        assert names(Tag) == []

    def test_models_of_one_table(self) -> None:
        assert django_internals.have_one_table(Bestseller, Book)
        assert django_internals.have_one_table(Comic, ShortComic)
        assert not django_internals.have_one_table(Comic, Book)

    def test_swapped_model(self, settings: Settings) -> None:
        assert django_internals.swapped_for(User) is None
        settings.AUTH_USER_MODEL = "library.Reader"
        assert django_internals.swapped_for(User) == "library.Reader"
        assert django_internals.swapped_for(Reader) is None

    @pytest.mark.parametrize(
        ("model", "field", "names"),
        [
            (Book, "tags", ("book", "tag")),
            (Book, "shops", ("book", "shop")),
            (Author, "translators", ("from_author", "to_author")),
        ],
    )
    def test_names_of_link_fields(
        self, model: type[Model], field: Any, names: tuple[str, str]
    ) -> None:
        found = django_internals.names_of_link_fields(model._meta.get_field(field))  # type: ignore[arg-type]
        assert found == names

    def test_links_are_found_by_these_names(self) -> None:
        book, shop = Book.objects.create(), Shop.objects.create(name="x")
        book.shops.add(shop)
        own, other = django_internals.names_of_link_fields(Book._meta.get_field("shops"))
        links = Book.shops.through._default_manager.filter(**{own: book})
        assert [*links.values_list(f"{other}_id", flat=True)] == [shop.pk]


class TestCompiledQueries:
    def test_select_runs_again_with_another_parameter(self) -> None:
        keys = [Book.objects.create(title=title, price=3, extras=[title]).pk for title in "ab"]
        queryset = Book.objects.filter(pk=keys[0]).values_list("pk", "title", "price", "extras")
        select, params = django_internals.compiled_select(queryset, connection)
        assert [*params] == [keys[0]]
        with CaptureQueriesContext(connection) as queries:
            found = [[*row] for key in keys for row in select.rows(connection, [key])]
        assert found == [
            [keys[0], "a", Decimal("3.00"), ["a"]],
            [keys[1], "b", Decimal("3.00"), ["b"]],
        ]
        assert {type(price) for _, _, price, _ in found} == {Decimal}
        assert len(queries) == 2

    def test_select_of_no_row(self) -> None:
        select, _ = django_internals.compiled_select(
            Book.objects.filter(pk=1).values_list("pk"), connection
        )
        assert [*select.rows(connection, [1])] == []

    def test_parameters_are_all_of_the_statement(self) -> None:
        queryset = Copy.objects.filter(pk=(7, 2)).values_list("pk")
        _, params = django_internals.compiled_select(queryset, connection)
        assert [*params] == [7, 2]


class Router:
    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return "other"

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return "default"


class TestQuerysets:
    def test_update_of_a_sliced_or_combined_one_is_refused(self) -> None:
        for queryset in (
            Loan.objects.all()[:2],
            Loan.objects.all()[1:],
            Loan.objects.filter(number=1).union(Loan.objects.filter(number=2)),
        ):
            assert django_internals.is_sliced_or_combined(queryset)
            with pytest.raises(Exception, match=r"slice|not supported"):
                models.QuerySet.update(queryset, days=1)

    def test_update_of_any_other_one_is_not(self) -> None:
        for queryset in (Loan.objects.all(), Loan.objects.filter(number=1).order_by("days")):
            assert not django_internals.is_sliced_or_combined(queryset)

    def test_database_for_writing(self, settings: Settings) -> None:
        settings.DATABASE_ROUTERS = [Router()]
        queryset = Loan.objects.all()
        assert queryset.db == "other"
        django_internals.use_database_for_writing(queryset)
        assert queryset.db == "default"

    def test_database_that_was_chosen_stays(self, settings: Settings) -> None:
        settings.DATABASE_ROUTERS = [Router()]
        queryset = Loan.objects.using("other")
        django_internals.use_database_for_writing(queryset)
        assert queryset.db == "other"

    def test_rows_are_forgotten(self) -> None:
        tag = Tag.objects.create(name="a")
        queryset = Tag.objects.all()
        assert [found.name for found in queryset] == ["a"]
        Tag.objects.filter(pk=tag.pk).update(name="b")
        assert [found.name for found in queryset] == ["a"]
        django_internals.forget_rows(queryset)
        assert [found.name for found in queryset] == ["b"]


class TestDatabases:
    @pytest.fixture
    def few_parameters(self) -> Iterator[int]:
        """Lets SQLite take this number of parameters in one statement."""
        connection.ensure_connection()
        limit = connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
        yield 999
        connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, limit)

    def test_sqlite_limits_parameters(self) -> None:
        assert connection.vendor == "sqlite"
        assert django_internals.limits_parameters("default")

    def test_statement_takes_this_number_of_keys(self, few_parameters: int) -> None:
        pks = [*range(few_parameters + 1)]
        with pytest.raises(OperationalError):
            list(Loan.objects.filter(pk__in=pks))
        size = django_internals.keys_per_statement(Loan, pks, using="default")
        assert 1 < size <= few_parameters
        assert list(Loan.objects.filter(pk__in=pks[:size])) == []

    def test_statement_takes_this_number_of_composite_keys(self, few_parameters: int) -> None:
        pks = [(number, number) for number in range(few_parameters)]
        with pytest.raises(OperationalError):
            list(Copy.objects.filter(pk__in=pks))
        size = django_internals.keys_per_statement(Copy, pks, using="default")
        assert 1 < size <= few_parameters // 2
        assert list(Copy.objects.filter(pk__in=pks[:size])) == []
