from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import F
from djmoney.money import Money

from tests.packages.ledger import Ledger
from tests.packages.together.models import Account

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ledger(record: Callable[..., Ledger]) -> Ledger:
    return record(Account)


@pytest.mark.parametrize(
    "balance", [Money("9.5", "USD"), 7, 0.25, "3.10", Decimal("1E+2"), ("4", "CHF")]
)
def test_each_way_to_set_an_amount(ledger: Ledger, balance: Any) -> None:
    account = Account.objects.create(balance=balance)
    assert ledger.told() == ["account.created"]
    account.balance = Money("1234567.891", "USD")  # more digits than the column
    account.save()
    account.balance = balance
    account.save()
    assert ledger.told() == ["account.updated"] * 2


def test_unchanged_save(ledger: Ledger) -> None:
    account = Account.objects.create(balance=Money("9.5", "USD"), limit=Money(5, "EUR"))
    assert account.balance == Money("9.50", "USD")
    account.balance = Money("9.500", "USD")
    account.save()
    read = Account.objects.get()
    assert read.limit == Money(5, "EUR")
    read.save()
    assert ledger.told() == ["account.created"]


def test_only_the_currency_changes(ledger: Ledger) -> None:
    account = Account.objects.create(balance=Money(5, "USD"))
    account.balance = Money(5, "EUR")
    account.save()
    account.balance_currency = "CHF"
    account.save(update_fields=["balance_currency"])
    assert ledger.told() == ["account.created", *["account.updated"] * 2]


def test_amount_that_may_be_null(ledger: Ledger) -> None:
    account = Account.objects.create(limit=None)
    account.limit = Money("0.00015", "EUR")
    account.save()
    account.limit = None
    account.save()
    assert ledger.told() == ["account.created", *["account.updated"] * 2]


def test_arithmetic_of_the_database(ledger: Ledger) -> None:
    account = Account.objects.create(balance=Money(5, "EUR"))
    account.balance = F("balance") + Money("0.25", "EUR")
    account.save()
    assert ledger.told() == ["account.created", "account.updated"]
    account.refresh_from_db()
    account.balance += Money(1, "EUR")
    account.save(update_fields=["balance"])
    assert ledger.told() == ["account.updated"]


def test_deferred_amount_and_deletion(ledger: Ledger) -> None:
    Account.objects.create(balance=Money(5, "USD"), limit=Money(2, "EUR"))
    account = Account.objects.defer("limit").get(balance=Money(5, "USD"))
    account.balance = Money(6, "USD")
    account.save()
    Account.objects.all().delete()
    assert ledger.told() == ["account.created", "account.updated", "account.deleted"]
