"""Each test fails if Django no longer has the API, or if the API means something else."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model, QuerySet
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from django_jsonbuffer.django_internals import queries
from tests.library.models import Book, Copy, Loan, Tag

pytestmark = pytest.mark.django_db(transaction=True)


class TestCompiledQueries:
    def test_select_runs_again_with_another_parameter(self) -> None:
        keys = [Book.objects.create(title=title, price=3, extras=[title]).pk for title in "ab"]
        queryset = Book.objects.filter(pk=keys[0]).values_list("pk", "title", "price", "extras")
        select, params = queries.compiled_select(queryset, connection)
        assert [*params] == [keys[0]]
        with CaptureQueriesContext(connection) as captured:
            found = [[*row] for key in keys for row in select.rows(connection, [key])]
        assert found == [
            [keys[0], "a", Decimal("3.00"), ["a"]],
            [keys[1], "b", Decimal("3.00"), ["b"]],
        ]
        assert {type(price) for _, _, price, _ in found} == {Decimal}
        assert len(captured) == 2

    def test_select_of_no_row(self) -> None:
        select, _ = queries.compiled_select(Book.objects.filter(pk=1).values_list("pk"), connection)
        assert [*select.rows(connection, [1])] == []

    def test_parameters_are_all_of_the_statement(self) -> None:
        queryset = Copy.objects.filter(pk=(7, 2)).values_list("pk")
        _, params = queries.compiled_select(queryset, connection)
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
            assert queries.is_sliced_or_combined(queryset)
            with pytest.raises(Exception, match=r"slice|not supported"):
                QuerySet.update(queryset, days=1)

    def test_update_of_any_other_one_is_not(self) -> None:
        for queryset in (Loan.objects.all(), Loan.objects.filter(number=1).order_by("days")):
            assert not queries.is_sliced_or_combined(queryset)

    def test_database_for_writing(self, settings: Settings) -> None:
        settings.DATABASE_ROUTERS = [Router()]
        queryset = Loan.objects.all()
        assert queryset.db == "other"
        queries.use_database_for_writing(queryset)
        assert queryset.db == "default"

    def test_database_that_was_chosen_stays(self, settings: Settings) -> None:
        settings.DATABASE_ROUTERS = [Router()]
        queryset = Loan.objects.using("other")
        queries.use_database_for_writing(queryset)
        assert queryset.db == "other"

    def test_rows_are_forgotten(self) -> None:
        tag = Tag.objects.create(name="a")
        queryset = Tag.objects.all()
        assert [found.name for found in queryset] == ["a"]
        Tag.objects.filter(pk=tag.pk).update(name="b")
        assert [found.name for found in queryset] == ["a"]
        queries.forget_rows(queryset)
        assert [found.name for found in queryset] == ["b"]

    def test_distinct_fields_count_only_over_joins(self) -> None:
        loans = Loan.objects.order_by("reader")
        for counts, queryset in (
            (False, loans.distinct("reader")),
            (False, loans.filter(reader__name="Ann").distinct()),
            (True, loans.filter(reader__name="Ann").distinct("reader")),
        ):
            assert queries.counts_distinct_fields(queryset) is counts

    def test_distinct_and_lock_are_taken_back(self) -> None:
        Loan.objects.create(number=1)
        queryset = Loan.objects.distinct("reader").select_for_update(skip_locked=True)
        plain = queries.without_distinct_and_lock(queryset)
        assert [loan.number for loan in plain] == [1]
        assert "DISTINCT" not in str(plain.query)
        assert not plain.query.select_for_update
        assert queryset.query.select_for_update
