from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from django_jsonbuffer import Bucket, gathered
from django_jsonbuffer.appending import groups
from django_jsonbuffer.appending.spill import Spill, spill
from django_jsonbuffer.exceptions import BucketFull, BufferUnavailable, KeyOccupied
from django_jsonbuffer.store.links import Link
from django_jsonbuffer.store.store import Store
from tests.server import Redis

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class TestTransaction:
    @pytest.mark.parametrize(("limit", "one"), [("MAX_APPEND_BYTES", 2), ("MAX_APPEND_BATCHES", 1)])
    def test_portion_is_as_large_as_one_call_may_be(
        self, monkeypatch: pytest.MonkeyPatch, limit: str, one: int
    ) -> None:
        sent: list[int] = []

        async def note(
            store: Store, link: Link, events: Sequence[bytes], *args: Any, **options: Any
        ) -> None:
            sent.append(len(events))

        monkeypatch.setattr(Store, "append_by", note)
        bucket = Bucket("orders", batch_size=1)
        for number, allowed in ((7, 3), (2, 1)):
            monkeypatch.setattr(groups, limit, allowed * one)
            with transaction.atomic():
                for _ in range(number):
                    bucket.append(1)
        assert sent == [3, 3, 1, 1, 1]

    def test_more_than_one_call_may_hold_goes_in_portions(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(groups, "MAX_APPEND_BYTES", 30)
        with transaction.atomic():
            for number in range(100):
                bucket.append(number)
        assert bucket.peek(200) == [*range(100)]
        small = Bucket("small", batch_size=1)
        monkeypatch.setattr(groups, "MAX_APPEND_BATCHES", 3)
        with transaction.atomic():
            for number in range(10):
                small.extend([number, number])
        assert small.take() == [n for number in range(10) for n in (number, number)]


class TestFailure:
    def test_goes_to_the_caller_if_one_of_several_waits_for_it(
        self, unreachable: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(BufferUnavailable), gathered():
            with transaction.atomic():
                Bucket("orders").extend([1, 2])
                Bucket("orders").extend([3, 4])
            Bucket("orders").append(5)
        assert "Bucket orders: 4 events are lost." in caplog.text

    @pytest.mark.parametrize("choice", [None, "drop"])
    def test_after_a_commit_is_logged_and_the_rest_goes_on(
        self, bucket: Bucket, unreachable: str, caplog: pytest.LogCaptureFixture, choice: str | None
    ) -> None:
        ran: list[int] = []
        with transaction.atomic():
            Group.objects.create(name="kept")
            Bucket("orders", on_unavailable=choice).extend([1, 2, 3])
            transaction.on_commit(lambda: ran.append(1))
        assert ran == [1]
        assert Group.objects.exists()
        assert "Bucket orders: 3 events are lost. Redis cannot be reached" in caplog.text

    def test_of_a_handle_follows_the_options_of_that_handle(
        self, unreachable: str, tmp_path: Path
    ) -> None:
        """Another handle of the bucket, with other options, appends first in the transaction."""
        spilling = Bucket("orders", on_unavailable="spill", spill_dir=tmp_path)
        with transaction.atomic():
            Bucket("orders").append("plain")
            spilling.append("precious")
            Bucket("orders").append("plain")
        opened = spill(tmp_path)
        sent: list[bytes] = []
        opened.forward(spilling.key, lambda events, stamp: sent.extend(events))
        opened.close()
        assert sent == [b'"precious"']

    def test_of_a_handle_that_says_raise_is_not_decided_by_another(self) -> None:
        lenient = Bucket("orders", max_pending=1, overflow="drop_newest")
        strict = Bucket("orders", max_pending=1, on_unavailable="raise")
        lenient.append(0)
        with pytest.raises(BucketFull), gathered():
            lenient.append("plain")
            strict.append("precious")

    def test_while_spilling_an_interrupt_is_logged_for_all_that_was_not_sent(
        self,
        unreachable: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def interrupted(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Spill, "put", interrupted)
        with pytest.raises(KeyboardInterrupt), transaction.atomic():
            Bucket("orders", on_unavailable="spill", spill_dir=tmp_path).append(1)
            Bucket("others").extend([2, 3])
        assert "Bucket orders: 1 events may be lost" in caplog.text
        assert "Bucket others: 2 events may be lost" in caplog.text

    def test_after_a_commit_raises_if_the_bucket_says_so(
        self, unreachable: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(BufferUnavailable), transaction.atomic():
            Group.objects.create(name="kept")
            Bucket("orders", on_unavailable="raise").append(1)
        assert Group.objects.exists()
        assert "Bucket orders: 1 events are lost." in caplog.text
        assert caplog.records[-1].name == "django_jsonbuffer"

    def test_at_once_raises_if_not_told_otherwise(
        self, unreachable: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        for choice in (None, "raise"):
            with pytest.raises(BufferUnavailable):
                Bucket("orders", on_unavailable=choice).append(1)
            with pytest.raises(BufferUnavailable), transaction.atomic():
                Bucket("orders", on_unavailable=choice).append(1, now=True)
        assert not caplog.records
        Bucket("orders", on_unavailable="drop").append(1)
        assert "1 events are lost" in caplog.text

    def test_that_is_no_outage_is_logged_after_a_commit_only(
        self, bucket: Bucket, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        client_of_server.lpush(bucket.key, "theirs")
        with transaction.atomic():
            bucket.append(1)
        assert "1 events are lost. A key" in caplog.text
        with pytest.raises(KeyOccupied):
            Bucket("orders", on_unavailable="drop").append(1)

    def test_of_one_bucket_leaves_the_others_alone(
        self, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        first, second, third = Bucket("first"), Bucket("second"), Bucket("third")
        for occupied in (first, third):
            client_of_server.lpush(occupied.key, "theirs")
        with pytest.raises(KeyOccupied, match="first"), gathered():
            for bucket in (first, second, third):
                bucket.append(1)
        assert second.peek() == [1]

    def test_that_is_not_raised_is_logged(
        self, unreachable: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        first, second = Bucket("first"), Bucket("second")
        with pytest.raises(BufferUnavailable, match="first"), gathered():
            first.append(1)
            second.extend([1, 2])
        assert [record.getMessage()[:32] for record in caplog.records] == [
            "Bucket second: 2 events are lost"
        ]

    @pytest.mark.parametrize("error", [OSError("x"), TypeError("nonsense"), MemoryError()])
    def test_of_an_unforeseen_kind_is_logged_after_a_commit(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        async def fail(*args: object, **kwargs: object) -> None:
            raise error

        monkeypatch.setattr(Store, "append_by", fail)
        with transaction.atomic():
            Bucket("first").append(1)
            Bucket("second").append(1)
        for name in ("first", "second"):
            assert f"Bucket {name}: 1 events are lost. {type(error).__name__}" in caplog.text
        with pytest.raises(type(error)):
            Bucket("first").append(1)

    def test_by_an_interrupt_is_logged_for_all_that_was_not_sent(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent = Bucket("sent")
        append = Store.append_by

        async def interrupted(store: Store, *args: Any, **kwargs: Any) -> None:
            if store.name == "interrupted":
                raise KeyboardInterrupt
            await append(store, *args, **kwargs)

        monkeypatch.setattr(Store, "append_by", interrupted)
        with pytest.raises(KeyboardInterrupt), gathered():
            with transaction.atomic():
                for bucket in (sent, Bucket("interrupted"), Bucket("never")):
                    bucket.append(1)
            Bucket("never").append("whose caller hears of it")
        assert sent.peek() == [1]
        for name in ("interrupted", "never"):
            assert f"Bucket {name}: 1 events may be lost. KeyboardInterrupt at" in caplog.text
