from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from django_jsonbuffer import Batch, Bucket
from tests.draining.test_drain import drain_until, report


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders", batch_size=2)


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
        bucket.extend([1, 2])
        assert bucket.drain() == report(failed=1)
        assert not Group.objects.exists()
        assert ("ValueError" if raises else "TransactionLeftOpen") in caplog.text
        drain_until(bucket, processed=2)
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
