from functools import partial

import pytest
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jsonbuffer import Bucket, gathered
from tests.appending.transactions import Undo, rolled_back
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class TestTransaction:
    def test_outside_at_once(self, bucket: Bucket) -> None:
        bucket.append(1)
        assert bucket.peek() == [1]

    def test_with_autocommit_off_at_once(self, bucket: Bucket) -> None:
        transaction.set_autocommit(False)
        try:
            bucket.append(1)
            with transaction.atomic():
                bucket.append(2)
            assert bucket.peek() == [1, 2]
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

    def test_now_means_now(self, bucket: Bucket) -> None:
        with pytest.raises(Undo), transaction.atomic(), gathered():
            bucket.append(1, now=True)
            bucket.extend([2], now=True)
            assert bucket.peek() == [1, 2]
            raise Undo
        assert bucket.peek() == [1, 2]

    def test_now_is_once(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1, now=True)
        assert bucket.peek() == [1]


class TestDatabases:
    def test_each_event_waits_for_its_own(self, bucket: Bucket) -> None:
        with transaction.atomic():
            with transaction.atomic(using="other"):
                bucket.append("default")
                bucket.append("other", using="other")
            assert bucket.peek() == ["other"]
        assert bucket.peek() == ["other", "default"]

    def test_rollback_of_one_leaves_the_other_alone(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            rolled_back(using="other", appending=lambda: bucket.append("a", using="other"))
        assert bucket.peek() == [1]

    def test_transaction_of_any_is_found(self, bucket: Bucket) -> None:
        rolled_back(using="other", appending=lambda: bucket.append(1))
        assert bucket.peek() == []

    def test_of_several_it_waits_for_the_default_one(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        aliases = dict(reversed(connections.settings.items()))
        monkeypatch.setattr(connections, "settings", aliases)
        with transaction.atomic():
            with transaction.atomic(using="other"):
                bucket.append(1)
            assert bucket.peek() == []
        assert bucket.peek() == [1]

    def test_that_nobody_uses_is_left_alone(self, bucket: Bucket) -> None:
        used: list[object] = []

        def append() -> None:
            bucket.append(1)
            used.extend(each.connection for each in connections.all(initialized_only=True))

        at_once([append])
        assert bucket.peek() == [1]
        assert not any(used)

    def test_that_has_no_transaction_does_not_hold_up(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1, using="other")
            assert bucket.peek() == [1]

    def test_that_is_not_there(self, bucket: Bucket) -> None:
        with pytest.raises(Exception, match="nowhere"):
            bucket.append(1, using="nowhere")


class TestThread:
    def test_has_transactions_of_its_own(self, bucket: Bucket) -> None:
        def append(number: int) -> None:
            try:
                for _ in range(5):
                    rolled_back(appending=lambda: bucket.append("never"))
                    with transaction.atomic():
                        bucket.append([number, 1])
                        bucket.append([number, 2])
            finally:
                for own in connections.all(initialized_only=True):
                    BaseDatabaseWrapper.close(own)  # close() of a database in memory does nothing

        with transaction.atomic():
            bucket.append("mine")
            at_once(partial(append, number) for number in range(8))
            events = bucket.peek(100)
        assert len(events) == 80
        # The events of one transaction are next to each other.
        assert all(events[at + 1] == [events[at][0], 2] for at in range(0, 80, 2))
        assert bucket.peek(100) == [*events, "mine"]
