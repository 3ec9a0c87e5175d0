from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange, NumericRange
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django_tenants.middleware.main import TenantMainMiddleware
from django_tenants.utils import schema_context, tenant_context

from django_jsonbuffer import Bucket
from tests.packages.ledger import Ledger
from tests.packages.tenants.models import Domain, Tenant
from tests.packages.tenants.shop.models import Order
from tests.recorded import recorded, rolled_back

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bucket() -> Bucket:
    bucket = Bucket("changes")
    bucket.record(Order, changes=True)
    return bucket


class TestSource:
    """``SOURCE`` is a function that names the tenant."""

    @pytest.fixture(autouse=True)
    def _named_by_schema(self, configure: Callable[..., None]) -> None:
        configure(SOURCE=lambda: f"/shop/{connection.schema_name}")

    def test_is_the_schema(self, bucket: Bucket, tenants: list[Tenant]) -> None:
        for tenant in tenants:
            with tenant_context(tenant):
                Order.objects.create().delete()
        assert sources(bucket) == ["/shop/ann", "/shop/ann", "/shop/bea", "/shop/bea"]

    @pytest.mark.usefixtures("tenants")
    def test_is_that_of_the_change_and_not_of_the_commit(self, bucket: Bucket) -> None:
        with transaction.atomic():
            for name in ("ann", "bea"):
                with schema_context(name):
                    Order.objects.create()
            connection.set_schema_to_public()
        assert sources(bucket) == ["/shop/ann", "/shop/bea"]

    @pytest.mark.usefixtures("tenants")
    def test_of_bulk_operations(self, bucket: Bucket) -> None:
        for name in ("bea", "ann"):
            with schema_context(name):
                bucket.record_bulk(Order.objects.bulk_create([Order(), Order()]), "created")
        assert sources(bucket) == ["/shop/bea", "/shop/bea", "/shop/ann", "/shop/ann"]

    @pytest.mark.usefixtures("tenants")
    def test_within_a_request(self, bucket: Bucket) -> None:
        def view(request: HttpRequest) -> HttpResponse:
            Order.objects.create()
            return HttpResponse()

        for name in ("ann", "bea"):
            request = RequestFactory().get("/", headers={"host": f"{name}.example"})
            assert TenantMainMiddleware(view)(request).status_code == 200
        assert sources(bucket) == ["/shop/ann", "/shop/bea"]


def sources(bucket: Bucket) -> list[str]:
    """Take the events and return the source of each."""
    return [event["source"] for event in recorded(bucket)]


class TestRows:
    def test_two_tenants_take_turns(self, bucket: Bucket, tenants: list[Tenant]) -> None:
        """Their rows have the same keys, and other values."""
        ledgers = []
        for tenant in tenants:
            with tenant:
                ledgers.append(Ledger(bucket, [Order]))
                Order.objects.create(pk=1, status=tenant.name)
                assert ledgers[-1].told() == ["order.created"]
        for total in ("9.5", 7):
            for tenant, ledger in zip(tenants, ledgers, strict=True):
                with tenant:
                    Order.objects.get().save()
                    order = Order.objects.only("total").get()
                    order.total = total
                    order.save()
                    assert ledger.told() == ["order.updated"]

    def test_instance_is_saved_in_another_schema(
        self, bucket: Bucket, tenants: list[Tenant]
    ) -> None:
        ann, bea = tenants
        with bea:
            Order.objects.create(pk=1, status="theirs")
            ledger = Ledger(bucket, [Order])
            bucket.purge()
        with ann:
            order = Order.objects.create(pk=1, status="ours")
            assert Ledger(bucket, [Order]).bucket.purge() == 1
        with bea:
            order.save()
            assert ledger.told() == ["order.updated"]

    @pytest.mark.usefixtures("tenants")
    def test_rollback(self, bucket: Bucket) -> None:
        with schema_context("ann"), rolled_back():
            Order.objects.create()
        assert recorded(bucket) == []

    @pytest.mark.parametrize(
        "values",
        [
            {"total": Decimal("1E+3"), "weight": float("nan")},
            {"sizes": ["1", 2], "floors": (1, 5)},
            {"floors": NumericRange(1, 5, "[]")},
            {"floors": NumericRange(None, 5, "()")},
            {"floors": NumericRange(3, 3)},  # becomes empty
            {"delivery": DateTimeTZRange(datetime(2026, 2, 3, tzinfo=UTC), None)},
        ],
    )
    @pytest.mark.usefixtures("tenants")
    def test_values_of_postgresql(
        self, record: Callable[..., Ledger], values: dict[str, Any]
    ) -> None:
        with schema_context("ann"):
            ledger = record(Order)
            order = Order.objects.create(**values)
            order.save()
            Order.objects.get().save()
            assert ledger.told() == ["order.created"]
            order.status = "paid"
            order.save(update_fields=["status"])
            order.delete()
            assert ledger.told() == ["order.updated", "order.deleted"]


def test_tenants_themselves(record: Callable[..., Ledger]) -> None:
    ledger = record(Tenant, Domain)
    tenant = Tenant(schema_name="cem", name="Cem")
    tenant.save(verbosity=0)
    Domain.objects.create(tenant=tenant, domain="cem.example")
    assert ledger.told() == ["tenant.created", "domain.created"]
    tenant.save(verbosity=0)
    with tenant:
        tenant.name = "Cem & Co."
        tenant.save(verbosity=0)
    assert ledger.told() == ["tenant.updated"]
    tenant.delete()
    assert sorted(ledger.told()) == ["domain.deleted", "tenant.deleted"]
