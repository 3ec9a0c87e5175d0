import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import KeyOccupied
from django_jsonbuffer.store import pending
from django_jsonbuffer.store.claims import Claim, Reason
from django_jsonbuffer.store.deliveries import Deliveries, read_deliveries, retry_now
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers
from tests.store.steps import MINUTE, NOW, append, claim, claimed, dump, facts, fail, split
from tests.threads import at_once

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


def backed_off(store: Store, *events: int, **options: Any) -> Claim:
    """A batch that has failed, and waits for a minute. Its claim is over."""
    append(store, *events)
    held = claimed(store)
    fail(store, held, backoff=MINUTE, **options)
    return held


class TestRetryNow:
    def test_lets_a_released_batch_be_claimed_at_once(self, store: Store) -> None:
        first = backed_off(store, 1)
        assert claim(store) is None
        before = facts(read_status(store))
        assert retry_now(store, first.stored_id)
        assert facts(read_status(store)) == before
        again = claimed(store, "another")
        assert (again.id, again.attempt, again.failures) == (first.id, 2, 1)
        assert again.error == "KeyError"

    def test_lets_it_come_before_all_others(self, store: Store) -> None:
        backed_off(store, 1)
        second = backed_off(store, 2)
        append(store, 3, batch_size=1)
        assert retry_now(store, second.stored_id)
        assert claimed(store).id == second.id

    def test_holds_whatever_the_lease_of_the_worker_is(self, store: Store) -> None:
        first = backed_off(store, 1)
        assert retry_now(store, first.stored_id)
        assert claimed(store, lease=timedelta(days=30)).id == first.id

    def test_ends_the_pause_of_an_outage(self, store: Store) -> None:
        outage = {"reason": Reason.OUTAGE, "weight": 1, "pause": MINUTE}
        first = backed_off(store, 1, **outage)
        assert store.claim("worker", lease=MINUTE, linger=NOW).reason == "outage"
        assert retry_now(store, first.stored_id)
        assert read_status(store).outage is not None
        assert claimed(store).id == first.id

    def test_of_a_piece_that_waits_already_leaves_it_so(self, store: Store) -> None:
        append(store, 1, 2)
        split(store, claimed(store))
        [left, _] = read_deliveries(store, 10).batches
        assert retry_now(store, left.batch)
        assert claimed(store).id == left.batch

    def test_in_a_paused_bucket_waits_until_it_is_resumed(self, store: Store) -> None:
        first = backed_off(store, 1)
        pending.pause(store)
        assert retry_now(store, first.stored_id)
        assert claim(store) is None
        pending.resume(store)
        assert claimed(store).id == first.id

    def test_twice_is_once(self, store: Store) -> None:
        first = backed_off(store, 1)
        results: list[bool] = []
        at_once([lambda: results.append(retry_now(store, first.stored_id))] * 4)
        assert results == [True] * 4
        claimed(store, "one")
        assert claim(store, "two") is None

    def test_of_no_released_batch_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        assert not retry_now(store, "5-5")
        assert dump(client_of_server, prefix) == {}
        first = backed_off(store, 1)
        append(store, 2, 3, batch_size=1)
        held = claimed(store)
        [sealed] = [id for id, _ in client_of_server.xrange(store.keys.batches)][2:]
        token = first.stored_id.rpartition("-")[2]
        others = [
            *(held.stored_id, sealed.decode(), first.stream_id, f"{first.stream_id}-0{token}"),
            *("", "x", "5-5", f"{first.stored_id}#1", "-", "1-1\n"),
        ]
        before = dump(client_of_server, prefix)
        assert [retry_now(store, other) for other in others] == [False] * len(others)
        assert dump(client_of_server, prefix) == before

    def test_of_a_batch_that_another_client_deleted_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        first = backed_off(store, 1)
        client_of_server.xdel(store.keys.batches, first.stream_id)
        before = dump(client_of_server, prefix)
        assert not retry_now(store, first.stored_id)
        assert dump(client_of_server, prefix) == before

    def test_after_the_batch_is_done_changes_nothing(self, store: Store) -> None:
        first = backed_off(store, 1)
        retry_now(store, first.stored_id)
        store.ack(claimed(store))
        assert not retry_now(store, first.stored_id)
        assert read_status(store).batches == 0

    @pytest.mark.parametrize("kind", ["batches", "stats", "attempts"])
    def test_is_refused_when_a_key_is_of_another_type(
        self, store: Store, client_of_server: Redis, prefix: str, kind: str
    ) -> None:
        first = backed_off(store, 1)
        client_of_server.delete(getattr(store.keys, kind))
        client_of_server.set(getattr(store.keys, kind), "theirs")
        before = dump(client_of_server, prefix)
        with suppress(KeyOccupied):
            assert not retry_now(store, first.stored_id)
        assert dump(client_of_server, prefix) == before

    def test_goes_on_on_a_full_server(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        first = backed_off(store, 1, reason=Reason.OUTAGE, weight=1, pause=MINUTE)
        private_server.config_set("maxmemory", 1)
        assert retry_now(store, first.stored_id)
        assert claimed(store).id == first.id
