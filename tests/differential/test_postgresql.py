"""Forms of values and updates that only PostgreSQL has."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from django.contrib.postgres.fields import (
    ArrayField,
    DateRangeField,
    DateTimeRangeField,
    DecimalRangeField,
    HStoreField,
    IntegerRangeField,
)
from django.db import DatabaseError, connections, models, transaction
from django.db.backends.postgresql.psycopg_any import NumericRange
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoDbBlocker, Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.querysets import RecordingQuerySetMixin
from tests.differential.databases import Router, connected, postgresql
from tests.differential.worlds import ALIAS, APP
from tests.recorded import data, recorded


class RecordingQuerySet(RecordingQuerySetMixin[Any], models.QuerySet[Any]):
    pass


class Sample(models.Model):
    names: Any = ArrayField(models.CharField(max_length=9), null=True)
    table: Any = ArrayField(ArrayField(models.IntegerField()), null=True)
    prices: Any = ArrayField(models.DecimalField(max_digits=6, decimal_places=2), null=True)
    spans: Any = ArrayField(IntegerRangeField(), null=True)
    blobs: Any = ArrayField(models.BinaryField(), null=True)
    attributes: Any = HStoreField(null=True)
    ages: Any = IntegerRangeField(null=True)
    weights: Any = DecimalRangeField(null=True)
    days: Any = DateRangeField(null=True)
    times: Any = DateTimeRangeField(null=True)
    number = models.IntegerField(default=0)
    ratio = models.FloatField(null=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True)

    objects: Any = RecordingQuerySet.as_manager()

    class Meta:
        app_label = APP


NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, postgresql(Path(folder)) as config:
        yield config


@contextmanager
def table(config: dict[str, Any]) -> Iterator[None]:
    with connected(config):
        with connections[ALIAS].schema_editor() as editor:
            editor.create_model(Sample)
        try:
            yield
        finally:
            with connections[ALIAS].schema_editor() as editor:
                editor.delete_model(Sample)


@pytest.fixture
def bucket(
    server: dict[str, Any], settings: Settings, django_db_blocker: DjangoDbBlocker
) -> Iterator[Bucket]:
    settings.DATABASE_ROUTERS = [Router()]
    with django_db_blocker.unblock(), table(server):
        yield Bucket("samples")


@pytest.mark.parametrize(
    ("field", "given", "form"),
    [
        ("names", "{a,b}", ["a", "b"]),
        ("names", ("a", 1), ["a", "1"]),
        ("names", [], []),
        ("table", ((1, "2"), (3, 4)), [[1, 2], [3, 4]]),
        ("prices", [1, "2.5"], ["1.00", "2.50"]),
        ("spans", [(1, 3), NumericRange(empty=True)], [{"lower": 1, "upper": 3, "bounds": "[)"}]),
        ("blobs", [b"x", b""], ["eA==", ""]),
        ("attributes", {"n": 1, "b": True, "x": None}, {"n": "1", "b": "True", "x": None}),
        ("ages", "[1,10)", {"lower": 1, "upper": 10, "bounds": "[)"}),
        ("ages", NumericRange(1, 10, "[]"), {"lower": 1, "upper": 11, "bounds": "[)"}),
        ("ages", (None, 5), {"lower": None, "upper": 5, "bounds": "()"}),
        ("ages", "empty", {"empty": True}),
        ("weights", (Decimal(1), "2.50"), {"lower": "1", "upper": "2.50", "bounds": "[)"}),
        (
            "days",
            (date(2026, 1, 1), "2026-02-01"),
            {"lower": "2026-01-01", "upper": "2026-02-01", "bounds": "[)"},
        ),
        (
            "times",
            (NOON, None),
            {"lower": "2026-01-02T12:00:00Z", "upper": None, "bounds": "[)"},
        ),
        ("ratio", "nan", None),
        ("ratio", float("inf"), None),
    ],
)
def test_value_is_that_of_the_row(bucket: Bucket, field: str, given: Any, form: Any) -> None:
    if field == "spans":
        form = [*form, {"empty": True}]
    bucket.record(Sample, fields=[field], changes=True)
    sample = Sample.objects.create(**{field: given})
    sample.save()
    sample.refresh_from_db()
    sample.save()
    sample.delete()
    assert data(bucket) == [{field: form}, {field: form}]


class TestFailedQuery:
    """PostgreSQL refuses every later query of the transaction, up to a rollback."""

    @pytest.mark.parametrize("option", ["payload", "when"])
    def test_loses_the_event_alone(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture, option: str
    ) -> None:
        def fail(sample: Sample) -> None:
            with connections[ALIAS].cursor() as cursor:
                cursor.execute("SELECT 1 / 0")

        options: Any = {option: fail}
        bucket.record(Sample, **options)
        with transaction.atomic(using=ALIAS):
            Sample.objects.create().delete()
            Sample.objects.create()
        assert Sample.objects.count() == 1
        assert recorded(bucket) == []
        assert caplog.text.count("1 events are lost. An event of differential.Sample was") == 3

    def test_that_is_caught_loses_the_event_alone(self, bucket: Bucket) -> None:
        def fail(sample: Sample) -> dict[str, int]:
            with suppress(DatabaseError), connections[ALIAS].cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
            return {}

        bucket.record(Sample, payload=fail)
        with transaction.atomic(using=ALIAS):
            Sample.objects.create()
            Sample.objects.create()
        assert Sample.objects.count() == 2
        assert recorded(bucket) == []

    def test_of_a_mask(self, bucket: Bucket) -> None:
        def fail(name: str, value: Any) -> Any:
            return Sample.objects.extra(select={"x": "1 / 0"}).first()

        bucket.record(Sample, fields=["number"], mask=fail)
        with transaction.atomic(using=ALIAS):
            Sample.objects.create()
            Sample.objects.create()
        assert Sample.objects.count() == 2

    def test_savepoint_is_set_only_for_a_query(self, bucket: Bucket) -> None:
        bucket.record(Sample, payload=lambda sample: sample.number)
        with transaction.atomic(using=ALIAS):
            with CaptureQueriesContext(connections[ALIAS]) as quiet:
                Sample.objects.create()
            bucket.unrecord(Sample)
            bucket.record(Sample, payload=lambda sample: Sample.objects.count())
            with CaptureQueriesContext(connections[ALIAS]) as asking:
                Sample.objects.create()
        assert len(quiet) == 1
        assert [query["sql"].split()[0] for query in asking] == [
            *["INSERT", "SAVEPOINT", "SELECT", "RELEASE"]
        ]
        assert data(bucket) == [0, 2]


class TestUpdate:
    def test_of_more_rows_than_a_statement_has_parameters(
        self, server: dict[str, Any], settings: Settings, django_db_blocker: DjangoDbBlocker
    ) -> None:
        settings.DATABASE_ROUTERS = [Router()]
        config = {**server, "OPTIONS": {"server_side_binding": True}}
        bucket = Bucket("samples")
        with django_db_blocker.unblock(), table(config):
            with connections[ALIAS].cursor() as cursor:
                cursor.execute(
                    "INSERT INTO differential_sample (number) SELECT generate_series(1, 70000)"
                )
            bucket.record(Sample, fields=["number"], changes=True)
            assert Sample.objects.filter(number__gt=5).update(number=0) == 69_995
            assert bucket.status().pending == 69_995
            bucket.purge()

    def test_ignores_the_lock_of_the_queryset(self, bucket: Bucket) -> None:
        for number in (1, 2):
            Sample.objects.create(number=number)
        bucket.record(Sample, fields=["number"])
        assert Sample.objects.select_for_update(skip_locked=True).update(number=3) == 2
        assert data(bucket) == [{"number": 3}] * 2

    def test_leaves_out_a_row_that_left_the_queryset_before_its_lock(self, bucket: Bucket) -> None:
        samples = [Sample.objects.create(number=1) for _ in range(3)]
        bucket.record(Sample, fields=["number"])
        rival = connections[ALIAS].copy()
        with rival.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(
                "UPDATE differential_sample SET number = 9 WHERE id = %s", [samples[0].pk]
            )
            commit = Timer(0.3, cursor.execute, ["COMMIT"])
            commit.start()
            assert Sample.objects.filter(number=1).update(number=2) == 2
            commit.join()
        rival.close()
        assert sorted(sample.number for sample in Sample.objects.all()) == [2, 2, 9]
        assert data(bucket) == [{"number": 2}] * 2
