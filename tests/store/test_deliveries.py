import time
from datetime import timedelta

import pytest

from django_jsonbuffer.store.claims import Reason
from django_jsonbuffer.store.deliveries import Deliveries, read_deliveries
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers
from tests.store.steps import MINUTE, NOW, append, claimed, fail

pytestmark = both_servers


class TestDeliveries:
    def test_of_a_bucket_that_nobody_drains(self, store: Store) -> None:
        append(store, 1, batch_size=1)
        assert read_deliveries(store, 10) == Deliveries({}, [])

    def test_tell_who_holds_which_batch_since_when_at_which_attempt(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        store.beat("one", lease=MINUTE)
        first, second = claimed(store, "one"), claimed(store, "two")
        told = read_deliveries(store, 10)
        assert set(told.workers) == {"one"}
        assert told.workers["one"] < MINUTE
        assert [(batch.batch, batch.worker, batch.attempt) for batch in told.batches] == [
            (first.id, "one", 1),
            (second.id, "two", 1),
        ]
        for batch in told.batches:
            assert batch.claimed is not None
            assert NOW <= batch.claimed < MINUTE
            assert (batch.failures, batch.deaths, batch.error) == (0, 0, "")

    def test_hold_for_as_long_as_the_lease_is_renewed(self, store: Store) -> None:
        append(store, 1)
        held = claimed(store)
        time.sleep(0.05)
        store.renew(held)
        [batch] = read_deliveries(store, 10).batches
        assert batch.claimed is not None
        assert batch.claimed >= timedelta(milliseconds=50)
        assert batch.idle < batch.claimed

    def test_tell_what_a_batch_that_was_given_back_failed_with(self, store: Store) -> None:
        append(store, 1)
        fail(store, claimed(store))
        [batch] = read_deliveries(store, 10).batches
        assert (batch.worker, batch.failures, batch.error) == ("", 1, "KeyError")
        assert MINUTE <= batch.idle < 2 * MINUTE
        assert batch.retry_in(MINUTE) == NOW
        assert NOW < batch.retry_in(5 * MINUTE) <= 4 * MINUTE
        again = claimed(store, "another")
        fail(store, again, reason=Reason.RETRY, error="Operational\nError")
        [batch] = read_deliveries(store, 10).batches
        assert (batch.attempt, batch.failures, batch.error) == (2, 1, "Operational\nError")

    @pytest.mark.parametrize("error", ["KeyError", "KeyError: 'a: b'", "f.<locals>.Fault: x"])
    def test_tell_the_class_of_an_error_alone(self, store: Store, error: str) -> None:
        append(store, 1)
        store.release(claimed(store), lease=MINUTE, backoff=NOW, error=error)
        [batch] = read_deliveries(store, 10).batches
        assert (batch.error, batch.error_kind) == (error, error.split(":")[0])

    def test_tell_how_many_workers_died(self, store: Store) -> None:
        append(store, 1)
        claimed(store, "one")
        claimed(store, "two", lease=NOW)
        [batch] = read_deliveries(store, 10).batches
        assert (batch.worker, batch.attempt, batch.deaths) == ("two", 2, 1)

    def test_are_the_oldest(self, store: Store) -> None:
        append(store, 1, 2, 3, batch_size=1)
        ids = [claimed(store, f"worker-{n}").id for n in range(3)]
        assert [batch.batch for batch in read_deliveries(store, 2).batches] == ids[:2]

    def test_survive_what_another_client_has_spoilt(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        held = claimed(store, "one")
        client_of_server.hset(store.keys.attempts, held.stream_id, b"\xff\x00")
        client_of_server.hset(store.keys.workers, b"\xff", "x")
        [batch] = read_deliveries(store, 10).batches
        assert (batch.claimed, batch.failures) == (None, 0)
        assert list(read_deliveries(store, 10).workers) == ["\ufffd"]
