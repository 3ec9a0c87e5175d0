"""Each test fails if Django no longer has the API, or if the API means something else."""

import functools
import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import models
from django.db.models import Model
from django.test.utils import isolate_apps
from pytest_django import Settings

from django_jsonbuffer.django_internals import models as django_internals
from tests.library.models import (
    Author,
    Bestseller,
    Book,
    Comic,
    Copy,
    Odd,
    Reader,
    Shop,
    ShortComic,
    Stamped,
    Tag,
    Titled,
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


class TestStoring:
    @pytest.mark.parametrize(
        ("model", "name", "cls"),
        [
            (Book, "title", models.CharField),
            (Book, "author", models.ForeignKey),
            (Titled, "name", models.CharField),
            (Odd, "name", None),
            (Odd, "price", None),
            (Stamped, "stamp", None),
        ],
    )
    def test_own_class_of_django(self, model: type[Model], name: str, cls: type | None) -> None:
        assert django_internals.own_class_of_django(model._meta.get_field(name)) is cls

    def test_field_that_was_changed_itself(self) -> None:
        field: Any = models.CharField()
        field.get_prep_value = str.lower
        assert django_internals.own_class_of_django(field) is None

    def test_methods_that_decide_exist(self) -> None:
        """Each is a method of a field of Django, so that a renamed one is noticed."""
        fields = [getattr(models, name) for name in dir(models) if name.endswith("Field")]
        for name in django_internals._STORING:
            is_optional = name in ("get_placeholder", "get_placeholder_sql", "from_db_value")
            assert is_optional or any(hasattr(field, name) for field in fields), name

    def test_method_that_is_wrapped(self) -> None:
        class Wrapped(models.IntegerField):  # type: ignore[type-arg]
            @functools.wraps(models.IntegerField.get_prep_value)
            def get_prep_value(self, value: Any) -> Any:  # type: ignore[override]
                return 0

        assert django_internals.own_class_of_django(Wrapped()) is None

    @isolate_apps("tests.library")
    def test_plain_attribute(self) -> None:
        class Translated(Book):
            class Meta:
                proxy = True
                app_label = "library"

            title = property(lambda self: "It")

        for name in ("title", "author", "cover", "loud_title", "extras"):
            field: Any = Book._meta.get_field(name)
            assert django_internals.has_plain_attribute(Book, field)
            assert django_internals.has_plain_attribute(Translated, field) is (name != "title")
