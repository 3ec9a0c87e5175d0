from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from django_jsonbuffer.contrib.receipts import ledger
from django_jsonbuffer.contrib.receipts.ledger import Ledger
from django_jsonbuffer.contrib.receipts.models import Receipt
from django_jsonbuffer.contrib.receipts.places import Places
from django_jsonbuffer.exceptions import ReceiptTaken
from django_jsonbuffer.store.origins import Origins

pytestmark = pytest.mark.django_db


def ledger_of(bucket: str = "audit", *, kept: timedelta = timedelta(days=1)) -> Ledger:
    return Ledger(bucket, "default", kept=kept)


def origins(text: str) -> Origins:
    return Origins.read(text)


def receipts() -> list[tuple[str, str, str]]:
    return [*Receipt.objects.order_by("origin").values_list("bucket", "origin", "places")]


class TestWrite:
    def test_of_a_batch_is_one_row(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        book, batch = ledger_of(), origins("1-a-0:0:1000")
        with django_assert_num_queries(2):
            book.write(batch, book.read(batch))
        assert receipts() == [("audit", "1-a-0", "0-999")]

    def test_of_a_half_extends_the_row_of_the_other_half(self) -> None:
        book = ledger_of()
        for half in (origins("1-a-0:5:5"), origins("1-a-0:0:5")):
            book.write(half, book.read(half))
        assert receipts() == [("audit", "1-a-0", "0-9")]

    def test_of_events_of_several_origins(self) -> None:
        book, batch = ledger_of(), origins("2-b-0:7:1 1-a-0:3:2 2-b-0:9:1")
        book.write(batch, book.read(batch))
        assert receipts() == [("audit", "1-a-0", "3-4"), ("audit", "2-b-0", "7,9")]

    @pytest.mark.parametrize("before", ["", "1-a-0:0:2"])
    def test_after_another_worker_is_refused(self, before: str) -> None:
        book, batch = ledger_of(), origins("1-a-0:2:3")
        book.write(origins(before), {})
        known = book.read(batch)
        book.write(origins("1-a-0:4:1"), known)
        with pytest.raises(ReceiptTaken), transaction.atomic():
            book.write(batch, known)
        assert str(book.read(batch)["1-a-0"]) == ("0-1,4" if before else "4")

    def test_of_no_event_writes_nothing(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_num_queries(0):
            ledger_of().write(Origins(), {})


class TestRead:
    def test_finds_the_receipts_of_this_bucket_alone(self) -> None:
        batch = origins("1-a-0:0:2")
        ledger_of("another").write(batch, {})
        assert ledger_of().read(batch) == {}
        assert ledger_of("another").read(batch) == {"1-a-0": Places.read("0-1")}


class TestPrune:
    def test_deletes_receipts_that_are_older_than_the_bucket_keeps_them(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledger, "_PORTION", 2)
        for number in range(5):
            ledger_of().write(origins(f"{number}-a-0:0:1"), {})
        ledger_of("another").write(origins("0-a-0:0:1"), {})
        day_ago = timezone.now() - timedelta(days=1, minutes=1)
        Receipt.objects.exclude(bucket="audit", origin="4-a-0").update(at=day_ago)
        ledger_of().prune()
        assert receipts() == [("another", "0-a-0", "0"), ("audit", "4-a-0", "0")]

    def test_looks_once_an_hour(
        self, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        book = ledger_of()
        with django_assert_num_queries(1):
            book.prune()
            book.prune()
        book._next_prune_at -= ledger.PRUNE_INTERVAL_SECONDS
        with django_assert_num_queries(1):
            book.prune()
