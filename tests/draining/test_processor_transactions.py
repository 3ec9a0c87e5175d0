import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, connections, transaction
from pytest_django import Settings

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured
from tests.draining.drains import drain_until, report
from tests.library.models import Tag


@pytest.mark.django_db(transaction=True)
class TestTransaction:
    @pytest.mark.parametrize(
        "leave_open",
        [
            lambda: transaction.atomic().__enter__(),
            lambda: transaction.set_autocommit(False),
        ],
        ids=["atomic", "autocommit"],
    )
    @pytest.mark.parametrize("raises", [False, True])
    def test_left_open_is_rolled_back_and_the_batch_is_kept(
        self,
        bucket: Bucket,
        caplog: pytest.LogCaptureFixture,
        leave_open: Callable[[], None],
        raises: bool,
    ) -> None:
        def store(batch: Batch) -> None:
            if batch.attempt == 1:
                leave_open()
            Group.objects.create(name=str(batch[0]))
            if batch.attempt == 1 and raises:
                raise ValueError

        bucket.processor(store)
        bucket.append(1)
        assert bucket.drain() == report(failed=1)
        assert not Group.objects.exists()
        assert ("ValueError" if raises else "TransactionLeftOpen") in caplog.text
        drain_until(bucket, processed=1)
        assert Group.objects.get().name == "1"

    def test_that_an_interrupt_left_half_begun_is_rolled_back(self, bucket: Bucket) -> None:
        def store(batch: Batch) -> None:
            if batch.attempt == 1:
                connection.set_autocommit(False)
                connection.in_atomic_block = True
                raise KeyboardInterrupt
            Group.objects.create(name=str(batch[0]))

        bucket.processor(store)
        bucket.append(1)
        with pytest.raises(KeyboardInterrupt):
            bucket.drain()
        assert not connection.in_atomic_block
        assert bucket.drain() == report(processed=1, batches=1)
        connection.close()
        assert Group.objects.exists()

    def test_around_the_drain_is_left_alone(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: Group.objects.create(name="x"))
        bucket.append(1)
        with transaction.atomic():
            assert bucket.drain() == report(processed=1, batches=1)
        assert Group.objects.exists()

    def test_connection_that_the_processor_closed_is_made_anew(self, bucket: Bucket) -> None:
        def store(batch: Batch) -> None:
            connection.close()
            Group.objects.create(name=str(batch[0]))
            connection.close()

        bucket.processor(store)
        bucket.extend([1, 2, 3, 4])
        assert bucket.drain() == report(processed=4, batches=2)


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class TestAtomic:
    def test_keeps_what_the_processor_wrote(self, bucket: Bucket) -> None:
        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            assert connection.in_atomic_block
            Tag.objects.bulk_create(Tag(name=name) for name in batch)

        bucket.extend(["a", "b"])
        assert bucket.drain() == report(processed=2, batches=1)
        assert Tag.objects.count() == 2

    def test_undoes_it_when_the_processor_fails(self, bucket: Bucket) -> None:
        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            Tag.objects.create(name="half")
            raise ValueError

        bucket.append("a")
        assert bucket.drain() == report(failed=1)
        assert Tag.objects.count() == 0

    def test_undoes_it_when_the_lease_was_lost(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        heir = Bucket("orders", lease=timedelta(0))

        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            if batch.attempt == 1:
                assert heir.drain() == report(processed=1, batches=1)
            Tag.objects.create(name=f"attempt {batch.attempt}")

        bucket.append("a")
        assert bucket.drain() == report()
        assert [tag.name for tag in Tag.objects.all()] == []
        assert "rolled back" in caplog.text
        assert bucket.status().batches == 0

    def test_of_another_database(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: Tag.objects.using("other").create(name="x"), atomic="other")
        bucket.append("a")
        assert bucket.drain().processed == 1
        assert Tag.objects.using("other").count() == 1

    def test_of_a_coroutine(self, bucket: Bucket) -> None:
        @bucket.processor(atomic="default")
        async def store(batch: Batch) -> None:
            await Tag.objects.acreate(name="x")
            raise ValueError

        bucket.append("a")
        assert bucket.drain() == report(failed=1)
        assert Tag.objects.count() == 0

    def test_undoes_it_after_an_error_that_was_caught_within(self, bucket: Bucket) -> None:
        """Django rolls this transaction back without an error, and the batch must not be acked."""
        Tag.objects.create(id=2, name="taken")

        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            for event in batch:
                try:
                    Tag(id=event, name="new").save(force_insert=True)
                except IntegrityError as error:
                    batch.reject(event, error)

        bucket.extend([1, 2])
        assert bucket.drain() == report(processed=1, batches=1, failed=2)
        assert [tag.id for tag in Tag.objects.order_by("id")] == [1, 2]
        assert bucket.peek() == [2]
        assert bucket.status().dead == 0

    def test_keeps_the_rest_after_an_error_within_a_savepoint(self, bucket: Bucket) -> None:
        Tag.objects.create(id=2, name="taken")

        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            for event in batch:
                try:
                    with transaction.atomic():
                        Tag(id=event, name="new").save(force_insert=True)
                except IntegrityError as error:
                    batch.reject(event, error)

        bucket.extend([1, 2])
        assert bucket.drain() == report(processed=1, batches=1, buried=1)
        assert sorted(tag.id for tag in Tag.objects.all()) == [1, 2]

    def test_undoes_it_when_the_connection_was_closed_within(self, bucket: Bucket) -> None:
        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            Tag.objects.create(name="x")
            connections["default"].needs_rollback = True

        bucket.append(1)
        assert bucket.drain() == report(failed=1)
        assert bucket.status().pending == 1

    def test_is_done_when_only_a_function_behind_the_commit_fails(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Processing the batch again would store the same rows twice."""
        full = Bucket("full", max_pending=1, on_unavailable="raise")
        full.append(0)

        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            Tag.objects.create(name="x")
            full.append("stored")

        bucket.append("a")
        assert bucket.drain() == report(processed=1, batches=1)
        assert Tag.objects.count() == 1
        assert "is committed" in caplog.text
        assert "BucketFull" in caplog.text

    @pytest.mark.parametrize("hides", ["redact", "LOG_ERRORS"])
    def test_error_of_a_function_behind_the_commit_may_be_private(
        self, hides: str, caplog: pytest.LogCaptureFixture, settings: Settings
    ) -> None:
        if hides == "LOG_ERRORS":
            settings.JSONBUFFER = settings.JSONBUFFER | {"LOG_ERRORS": False}
        bucket = Bucket("private", redact=str if hides == "redact" else None)

        def refuse() -> None:
            message = "card " + str(4111)
            raise ValueError(message)

        bucket.processor(atomic="default")(lambda batch: transaction.on_commit(refuse))
        bucket.append(1)
        assert bucket.drain() == report(processed=1, batches=1)
        [record] = [each for each in caplog.records if each.levelname == "ERROR"]
        text = logging.Formatter().format(record)
        assert "failed with ValueError, and" in text
        assert "in refuse" in text
        assert "4111" not in text
        shown = vars(record)
        assert (shown["bucket"], shown["attempt"], shown["error_type"]) == (
            "private",
            1,
            "ValueError",
        )

    def test_of_a_database_without_autocommit_is_refused(
        self, bucket: Bucket, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(settings.DATABASES["default"], "AUTOCOMMIT", False)
        with pytest.raises(BufferMisconfigured, match="AUTOCOMMIT"):
            bucket.processor(atomic="default")(lambda batch: None)

    def test_with_autocommit_switched_off_is_no_success(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: Tag.objects.create(name="x"), atomic="default")
        bucket.append(1)
        transaction.set_autocommit(False)
        try:
            assert bucket.drain() == report(failed=1)
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        assert bucket.status().pending == 1
        assert not Tag.objects.exists()

    def test_of_no_database_is_refused(self, bucket: Bucket) -> None:
        with pytest.raises(BufferMisconfigured, match="'archive'"):
            bucket.processor(atomic="archive")(lambda batch: None)


@pytest.mark.django_db
def test_atomic_within_a_test_case_moves_no_function_that_waits_for_the_commit(
    bucket: Bucket, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    """The test tools of Django find them by their place in Django's list."""
    ran: list[str] = []
    transaction.on_commit(lambda: ran.append("before"))
    bucket.processor(
        lambda batch: transaction.on_commit(lambda: ran.append("within")), atomic="default"
    )
    bucket.append(1, now=True)
    with django_capture_on_commit_callbacks(execute=True):
        assert bucket.drain().processed == 1
    assert ran == ["within"]
