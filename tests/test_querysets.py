import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import django
import pytest
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import IntegrityError, NotSupportedError, connection, transaction
from django.db.models import Count, F, Model, Q, Subquery, Sum, Value
from django.db.models.functions import Random
from pytest_django import Settings

from django_jsonbuffer import Bucket
from tests.library.models import Book, Fine, Loan, LongLoan, Reader, Rental
from tests.recorded import data, recorded, rolled_back, told

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("changes")


@pytest.fixture
def loans() -> list[Loan]:
    """Numbers 1 to 3."""
    return [Loan.objects.create(number=number) for number in (1, 2, 3)]


@pytest.fixture
def few_parameters() -> Callable[[int], None]:
    """Lets SQLite take that many in one statement; other databases as they do."""

    def few_parameters(count: int) -> None:
        connection.ensure_connection()
        if connection.vendor == "sqlite":
            connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, count)

    return few_parameters


class TestBulkCreate:
    def test_each_is_recorded(self, bucket: Bucket) -> None:
        bucket.record(Loan, fields=["number", "twice"])
        created = Loan.objects.bulk_create(Loan(number=n, days=n) for n in (1, 2))
        events = recorded(bucket)
        assert [(e["type"], e["subject"], e["data"]) for e in events] == [
            ("library.loan.created", str(loan.pk), {"number": loan.number, "twice": 2 * loan.days})
            for loan in created
        ]

    def test_in_every_bucket_that_records_the_model(self, bucket: Bucket) -> None:
        bucket.record(Loan, fields=["number"])
        Bucket("others").record(Loan, payload=lambda loan: -loan.number)
        Bucket("updates").record(Loan, on=["updated"])
        Loan.objects.bulk_create([Loan(number=1)])
        assert data(bucket) == [{"number": 1}]
        assert data(Bucket("others")) == [-1]
        assert data(Bucket("updates")) == []

    def test_condition(self, bucket: Bucket) -> None:
        bucket.record(Loan, fields=["number"], when=lambda loan: loan.number > 1)
        Loan.objects.bulk_create([Loan(number=1), Loan(number=2)])
        assert data(bucket) == [{"number": 2}]

    def test_nothing(self, bucket: Bucket) -> None:
        bucket.record(Loan)
        assert Loan.objects.bulk_create([]) == []
        assert told(bucket) == []

    def test_expression_is_what_it_came_to(self, bucket: Bucket) -> None:
        bucket.record(Loan, fields=["days"])
        Loan.objects.bulk_create([Loan(number=1, days=Value(1) + 2)])
        assert data(bucket) == [{"days": 3}]

    def test_computed_fields_cost_one_query_for_all(
        self, bucket: Bucket, django_assert_max_num_queries: Callable[[int], Any]
    ) -> None:
        bucket.record(Loan, fields=["twice"])
        with django_assert_max_num_queries(4):  # BEGIN and COMMIT are two
            Loan.objects.bulk_create(Loan(number=n, days=n) for n in range(50))
        assert [event["twice"] for event in data(bucket)] == [2 * n for n in range(50)]

    @pytest.mark.parametrize(
        "options",
        [
            {"ignore_conflicts": True},
            {
                "update_conflicts": True,
                "update_fields": ["days"],
                "unique_fields": ["number"],
            },
        ],
    )
    def test_with_conflicts_nobody_knows(
        self, bucket: Bucket, loans: list[Loan], options: dict[str, Any]
    ) -> None:
        bucket.record(Loan)
        Loan.objects.bulk_create([Loan(number=1, days=1), Loan(number=4)], **options)
        assert Loan.objects.count() == 4
        assert told(bucket) == []

    def test_that_fails(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan)
        with pytest.raises(IntegrityError):
            Loan.objects.bulk_create([Loan(number=4), Loan(number=1)])
        assert told(bucket) == []

    def test_rollback_leaves_nothing(self, bucket: Bucket) -> None:
        bucket.record(Loan)
        with rolled_back():
            Loan.objects.bulk_create([Loan(number=4)])
        assert told(bucket) == []

    def test_in_batches(self, bucket: Bucket) -> None:
        bucket.record(Loan, fields=["number", "twice"])
        Loan.objects.bulk_create([Loan(number=n) for n in range(1200)], batch_size=500)
        assert [event["number"] for event in data(bucket)] == [*range(1200)]

    def test_of_a_proxy(self, bucket: Bucket) -> None:
        bucket.record(Loan, fields=["number"])
        LongLoan.objects.bulk_create([LongLoan(number=1)])
        assert [kind for kind, _ in told(bucket)] == ["loan.created"]

    def test_of_a_composite_key(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Fine, fields=["cents"])
        Fine.objects.bulk_create([Fine(loan=loans[0], day=1), Fine(loan=loans[0], day=2)])
        key = loans[0].pk
        assert told(bucket) == [("fine.created", f"{key},1"), ("fine.created", f"{key},2")]

    def test_async(self, bucket: Bucket) -> None:
        bucket.record(Loan, fields=["number"])
        asyncio.run(Loan.objects.abulk_create([Loan(number=1)]))
        assert data(bucket) == [{"number": 1}]

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_in_another_database(self, bucket: Bucket) -> None:
        bucket.record(Loan, fields=["number", "twice"])
        with transaction.atomic():
            Loan.objects.using("other").bulk_create([Loan(number=1)])
            assert data(bucket) == [{"number": 1, "twice": 28}]


class Replica:
    """A router: one database is read, and the other one written."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return "other"

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return "default"


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class TestReplica:
    @pytest.fixture(autouse=True)
    def _is_read(self, settings: Settings) -> None:
        settings.DATABASE_ROUTERS = [Replica()]

    def test_creation_and_its_events_are_one_transaction(self) -> None:
        strict = Bucket("changes", on_unavailable="raise")
        strict.record(Loan, payload=lambda loan: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            Loan.objects.bulk_create([Loan(number=1)])
        assert not Loan.objects.using("default").exists()

    def test_rows_that_are_updated_are_read_where_they_are_written(
        self, bucket: Bucket, loans: list[Loan]
    ) -> None:
        bucket.record(Loan, fields=["days"], changes=True)
        assert Loan.objects.filter(number=1).update(days=15) == 1
        assert data(bucket) == [{"days": 15, "changes": {"days": {"old": 14, "new": 15}}}]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("using", ["default", "other"])
class TestThatCannotBeRecorded:
    @pytest.fixture
    def bucket(self) -> Bucket:
        return Bucket("changes", on_unavailable="raise")

    def test_creates_nothing(self, bucket: Bucket, using: str) -> None:
        bucket.record(Loan, payload=lambda loan: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            Loan.objects.using(using).bulk_create([Loan(number=1)])
        assert not Loan.objects.using(using).exists()

    def test_updates_nothing(self, bucket: Bucket, using: str) -> None:
        Loan.objects.using(using).create(number=1)
        bucket.record(Loan, payload=lambda loan: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            Loan.objects.using(using).update(days=1)
        assert Loan.objects.using(using).get().days == 14


class TestRowThatCannotBeRead:
    def test_is_updated_and_its_event_is_lost(
        self,
        bucket: Bucket,
        loans: list[Loan],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fail(cls: type[Model], *args: Any, **kwargs: Any) -> Any:
            raise ValueError

        bucket.record(Loan, fields=["number"])
        monkeypatch.setattr(Loan, "from_db", classmethod(fail))
        assert Loan.objects.update(days=1) == 3
        monkeypatch.undo()
        assert {loan.days for loan in Loan.objects.all()} == {1}
        assert caplog.text.count("An event of library.Loan was refused with ValueError") == 3

    def test_loses_no_other_event(
        self, bucket: Bucket, loans: list[Loan], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(self: Any, value: Any, *args: Any) -> Any:
            if value == 3:
                raise ValueError
            return value

        bucket.record(Loan, fields=["number", "days"], changes=True)
        monkeypatch.setattr(
            type(Loan._meta.get_field("number")), "from_db_value", fail, raising=False
        )
        assert Loan.objects.filter(number__gt=0).update(days=1) == 3
        monkeypatch.undo()
        assert data(bucket) == [{"number": 1, "days": 1}, {"number": 2, "days": 1}]


class TestRowsThatAreNotCertain:
    @pytest.mark.parametrize(
        "choose",
        [
            lambda: Loan.objects.filter(pk__in=Loan.objects.order_by("?").values("pk")[:10]),
            lambda: Loan.objects.annotate(luck=Random()).filter(luck__lt=0.5),
        ],
    )
    def test_are_refused_before_any_is_changed(
        self, bucket: Bucket, choose: Callable[[], Any]
    ) -> None:
        Loan.objects.bulk_create(Loan(number=number) for number in range(40))
        bucket.record(Loan)
        with transaction.atomic():
            with pytest.raises(NotSupportedError, match="others at each evaluation"):
                choose().update(days=1)
            assert {loan.days for loan in Loan.objects.all()} == {14}
        assert told(bucket) == []


class TestMistake:
    """Django refuses these before it sends a query, so a surrounding block goes on."""

    @pytest.mark.parametrize(
        "update",
        [
            lambda: Loan.objects.update(nothing=1),  # type: ignore[misc]
            lambda: Loan.objects.update(days=F("reader__name")),
            lambda: Loan.objects.bulk_create([Loan(number=1)], batch_size=-1),
        ],
    )
    def test_breaks_no_block_around_it(self, bucket: Bucket, update: Callable[[], Any]) -> None:
        bucket.record(Loan)
        with transaction.atomic():
            with pytest.raises((FieldDoesNotExist, FieldError, ValueError)):
                update()
            Loan.objects.create(number=2)
        assert [kind for kind, _ in told(bucket)] == ["loan.created"]

    def test_update_of_nothing_is_no_event(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan)
        assert Loan.objects.update() == 0
        assert told(bucket) == []


class TestUpdate:
    def test_each_row_is_recorded_as_it_has_become(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, fields=["number", "days", "twice"])
        assert Loan.objects.filter(number__gt=1).update(days=F("days") + F("number")) == 2
        assert [(e["type"], e["subject"], e["data"]) for e in recorded(bucket)] == [
            ("library.loan.updated", str(loans[1].pk), {"number": 2, "days": 16, "twice": 32}),
            ("library.loan.updated", str(loans[2].pk), {"number": 3, "days": 17, "twice": 34}),
        ]

    def test_of_the_field_that_is_filtered_by(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, fields=["number", "days"])
        assert Loan.objects.filter(days=14).update(days=15) == 3
        assert {event["days"] for event in data(bucket)} == {15}
        assert Loan.objects.filter(days=14).update(days=15) == 0
        assert told(bucket) == []

    def test_changes(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, fields=["number", "days", "twice"], changes=True)
        Loan.objects.filter(number=1).update(days=15)
        assert Loan.objects.update(days=15) == 3
        changes = {"days": {"old": 14, "new": 15}, "twice": {"old": 28, "new": 30}}
        assert data(bucket) == [
            {"number": number, "days": 15, "twice": 30, "changes": changes} for number in (1, 2, 3)
        ]

    def test_condition_and_payload(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, when=lambda loan: loan.number > 2, payload=lambda loan: loan.days)
        Loan.objects.update(days=15)
        assert data(bucket) == [15]

    def test_costs_the_same_for_any_number_of_rows(
        self, bucket: Bucket, django_assert_max_num_queries: Callable[[int], Any]
    ) -> None:
        bucket.record(Loan, changes=True)
        Loan.objects.bulk_create(Loan(number=n) for n in range(50))
        with django_assert_max_num_queries(5):  # BEGIN and COMMIT are two
            Loan.objects.update(days=15)

    def test_unrecorded_costs_no_more(
        self, bucket: Bucket, django_assert_num_queries: Callable[[int], Any]
    ) -> None:
        bucket.record(Loan, on=["created", "deleted"])
        with django_assert_num_queries(1):
            Loan.objects.update(days=15)

    def test_lock_and_distinct_of_the_queryset_change_nothing(
        self, bucket: Bucket, loans: list[Loan]
    ) -> None:
        bucket.record(Loan, fields=["number"])
        for queryset in (Loan.objects.distinct(), Loan.objects.select_for_update(skip_locked=True)):
            assert queryset.update(days=1) == 3
            assert len(told(bucket)) == 3

    def test_distinct_fields_are_ignored_or_refused_as_by_django(
        self, bucket: Bucket, loans: list[Loan]
    ) -> None:
        bucket.record(Loan, fields=["number"])
        queryset = Loan.objects.order_by("reader").distinct("reader")
        if django.VERSION >= (6, 1):
            with pytest.raises(TypeError, match="distinct"):
                queryset.update(days=1)
        else:
            assert queryset.update(days=1) == 3
        assert len(told(bucket)) == (0 if django.VERSION >= (6, 1) else 3)

    def test_rows_that_the_database_would_choose_are_refused(
        self, bucket: Bucket, loans: list[Loan]
    ) -> None:
        Loan.objects.update(reader=Reader.objects.create(name="Ann"))
        bucket.record(Loan)
        queryset = Loan.objects.filter(reader__name="Ann").order_by("reader").distinct("reader")
        with pytest.raises(NotSupportedError, match="Read the primary keys first"):
            queryset.update(days=1)
        assert {loan.days for loan in Loan.objects.all()} == {14}
        assert told(bucket) == []

    def test_filtered_over_relations(self, bucket: Bucket, loans: list[Loan]) -> None:
        reader = Reader.objects.create(name="Ann")
        Loan.objects.filter(number=2).update(reader=reader)
        bucket.record(Loan, fields=["number"])
        Fine.objects.create(loan=loans[0], day=1)
        Fine.objects.create(loan=loans[0], day=2)
        assert Loan.objects.filter(reader__name="Ann").update(days=1) == 1
        assert Loan.objects.filter(fines__day__gt=0).update(days=2) == 1
        assert Loan.objects.exclude(fines__day=1).order_by("reader__name").update(days=3) == 2
        assert Loan.objects.filter(Q(reader=None) | Q(number=1)).distinct().update(days=4) == 2
        assert [sorted(e["number"] for e in data(bucket))] == [[1, 1, 2, 2, 3, 3]]

    def test_of_a_related_manager(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, fields=["number", "reader"])
        reader = Reader.objects.create()
        Loan.objects.filter(number=1).update(reader=reader)
        reader.loans.update(days=1)
        reader.loans.clear()
        key = str(reader.pk)
        assert [event["reader_id"] for event in data(bucket)] == [key, key, None]

    def test_annotated(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, fields=["number", "days"])
        Fine.objects.create(loan=loans[0], day=1, cents=70)
        Fine.objects.create(loan=loans[0], day=2, cents=30)
        fined = Loan.objects.annotate(fined=Count("fines"), sum=Sum("fines__cents"))
        assert fined.filter(fined=2).update(days=1) == 1
        assert Loan.objects.annotate(next=F("number") + 1).filter(next=3).update(days=F("next") * 2)
        assert data(bucket) == [{"number": 1, "days": 1}, {"number": 2, "days": 6}]

    @pytest.mark.parametrize("count", [499, 500, 501, 1001])
    def test_more_rows_than_a_statement_takes(
        self, bucket: Bucket, few_parameters: Callable[[int], None], count: int
    ) -> None:
        Loan.objects.bulk_create(Loan(number=n) for n in range(count))
        few_parameters(999)
        bucket.record(Loan, fields=["number", "days"], changes=True)
        assert Loan.objects.filter(days=14).update(days=F("number") + 20) == count
        events = data(bucket)
        assert sorted(event["number"] for event in events) == [*range(count)]
        assert all(
            event["changes"]["days"] == {"old": 14, "new": event["number"] + 20} for event in events
        )

    def test_more_composite_keys_than_a_statement_takes(
        self, bucket: Bucket, loans: list[Loan], few_parameters: Callable[[int], None]
    ) -> None:
        Fine.objects.bulk_create(Fine(loan=loans[0], day=day) for day in range(600))
        few_parameters(999)
        bucket.record(Fine, fields=["cents"], changes=True)
        assert Fine.objects.filter(loan=loans[0]).update(cents=F("cents") * 2) == 600
        assert data(bucket) == [{"cents": 100, "changes": {"cents": {"old": 50, "new": 100}}}] * 600

    def test_of_no_row(self, bucket: Bucket) -> None:
        bucket.record(Loan)
        assert Loan.objects.update(days=1) == 0
        assert Loan.objects.none().update(days=1) == 0
        assert Loan.objects.filter(pk__in=[]).update(days=1) == 0
        assert told(bucket) == []

    def test_unknown_field_of_no_row(self, bucket: Bucket) -> None:
        bucket.record(Loan)
        with pytest.raises(FieldDoesNotExist):
            Loan.objects.update(dasy=1)  # type: ignore[misc]

    def test_sliced_and_combined_are_refused_as_ever(
        self, bucket: Bucket, loans: list[Loan]
    ) -> None:
        bucket.record(Loan)
        with pytest.raises(TypeError, match="slice"):
            Loan.objects.all()[:2].update(days=1)
        with pytest.raises(Exception, match="not supported"):
            Loan.objects.filter(number=1).union(Loan.objects.filter(number=2)).update(days=1)
        assert told(bucket) == []

    def test_that_fails(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan)
        with pytest.raises(IntegrityError):
            Loan.objects.update(number=1)
        assert told(bucket) == []

    def test_rollback_leaves_nothing(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan)
        with rolled_back():
            Loan.objects.update(days=1)
        assert told(bucket) == []

    def test_forgets_what_was_read(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan)
        rows = Loan.objects.filter(number=1)
        assert rows[0].days == 14
        assert len(rows) == 1
        rows.update(days=1)
        assert [loan.days for loan in rows] == [1]

    def test_of_values(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, fields=["days"])
        assert Loan.objects.values("number").filter(number=1).update(days=1) == 1
        assert Loan.objects.only("number").filter(number=1).update(days=2) == 1
        assert Loan.objects.select_related("reader").filter(number=1).update(days=3) == 1
        assert data(bucket) == [{"days": 1}, {"days": 2}, {"days": 3}]

    def test_of_a_proxy(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, fields=["number"])
        LongLoan.objects.filter(number=1).update(days=1)
        assert [kind for kind, _ in told(bucket)] == ["loan.updated"]

    def test_of_a_child(self, bucket: Bucket) -> None:
        Rental.objects.create(number=1)
        bucket.record(Rental, fields=["days", "car"], changes=True)
        bucket.record(Loan, fields=["days"], changes=True)
        assert Rental.objects.update(days=1, car="x") == 1
        days = {"old": 14, "new": 1}
        assert [(e["type"], e["data"]["changes"]) for e in recorded(bucket)] == [
            ("library.rental.updated", {"days": days, "car": {"old": "", "new": "x"}}),
            ("library.loan.updated", {"days": days}),
        ]

    def test_async(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, fields=["days"])
        assert asyncio.run(Loan.objects.filter(number=1).aupdate(days=1)) == 1
        assert data(bucket) == [{"days": 1}]

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_in_another_database(self, bucket: Bucket) -> None:
        Loan.objects.using("other").create(number=1)
        bucket.record(Loan, fields=["days"], changes=True)
        with transaction.atomic():
            Loan.objects.using("other").update(days=1)
            assert data(bucket) == [{"days": 1, "changes": {"days": {"old": 14, "new": 1}}}]

    def test_save_is_recorded_once(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, fields=["days"])
        loans[0].days = 1
        loans[0].save()
        Loan.objects.update_or_create(number=4, defaults={"days": 2})
        assert [event["days"] for event in data(bucket)] == [1, 2]

    @pytest.mark.parametrize("limit", [None, 999])
    def test_condition_that_the_update_itself_changes(
        self, bucket: Bucket, few_parameters: Callable[[int], None], limit: int | None
    ) -> None:
        Loan.objects.bulk_create(Loan(number=n, days=7) for n in range(1200))
        bucket.record(Loan, fields=["days"])
        if limit:
            few_parameters(limit)
        weekly = Loan.objects.filter(days=7).values("days").annotate(count=Count("*"))
        several = Loan.objects.annotate(alike=Subquery(weekly.values("count"))).filter(
            alike__gte=1000
        )
        assert several.update(days=8) == 1200
        assert data(bucket) == [{"days": 8}] * 1200

    def test_of_the_key_is_not_recorded(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan)
        assert Loan.objects.update(id=F("id") + 1000) == len(loans)
        assert data(bucket) == []


class TestBulkUpdate:
    def test_each_is_recorded(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, fields=["number", "days", "twice"], changes=True)
        for loan in loans:
            loan.days += loan.number
        assert Loan.objects.bulk_update(loans, ["days"]) == 3
        assert [event["changes"] for event in data(bucket)] == [
            {"days": {"old": 14, "new": 14 + n}, "twice": {"old": 28, "new": 28 + 2 * n}}
            for n in (1, 2, 3)
        ]

    def test_in_batches(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, fields=["number"])
        assert Loan.objects.bulk_update(iter(loans), ["days"], batch_size=2) == 3
        assert [event["number"] for event in data(bucket)] == [1, 2, 3]

    def test_of_none(self, bucket: Bucket) -> None:
        bucket.record(Loan)
        assert Loan.objects.bulk_update([], ["days"]) == 0

    def test_mistakes_are_refused_as_ever(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan)
        with pytest.raises(ValueError, match="positive"):
            Loan.objects.bulk_update(loans, ["days"], batch_size=-1)
        with pytest.raises(ValueError, match="Field names"):
            Loan.objects.bulk_update(loans, [])  # type: ignore[misc]
        with pytest.raises(ValueError, match="primary key"):
            Loan.objects.bulk_update([Loan(number=9)], ["days"])

    def test_more_than_a_statement_takes(
        self, bucket: Bucket, few_parameters: Callable[[int], None]
    ) -> None:
        loans = Loan.objects.bulk_create(Loan(number=n) for n in range(700))
        bucket.record(Loan, fields=["number", "days"])
        for loan in loans:
            loan.days = loan.number
        few_parameters(999)
        assert Loan.objects.bulk_update(loans, ["days"]) == 700
        assert sorted(event["days"] for event in data(bucket)) == [*range(700)]

    def test_async(self, bucket: Bucket, loans: list[Loan]) -> None:
        bucket.record(Loan, fields=["number"])
        asyncio.run(Loan.objects.abulk_update(loans[:1], ["days"]))
        assert data(bucket) == [{"number": 1}]


def test_deletion_sends_signals_and_is_recorded_once(bucket: Bucket, loans: list[Loan]) -> None:
    bucket.record(Loan, fields=["number"], on=["deleted"])
    Loan.objects.filter(number__lt=3).delete()
    assert sorted(event["number"] for event in data(bucket)) == [1, 2]


def test_model_without_the_mixin_is_not_recorded(bucket: Bucket) -> None:
    bucket.record(Book)
    Book.objects.bulk_create([Book(title="It")])
    Book.objects.update(title="At")
    assert told(bucket) == []
