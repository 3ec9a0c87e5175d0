import json
import time
from dataclasses import fields, replace
from typing import Any

import pytest

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import KeyOccupied, LeaseLost
from django_jsonbuffer.store import pending
from django_jsonbuffer.store.keys import Keys
from django_jsonbuffer.store.status import BucketStatus, read_status
from django_jsonbuffer.store.statuses import statuses
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers
from tests.store.steps import MINUTE, NOW, append, claim, claimed, facts, fail, split

pytestmark = both_servers


class TestStatus:
    def test_age_is_that_of_the_oldest_pending_event(self, store: Store) -> None:
        began = time.monotonic()
        append(store, 1)
        time.sleep(0.12)
        append(store, 2, batch_size=2)
        time.sleep(0.06)
        third_at = time.monotonic()
        append(store, 3)
        assert 0.17 < seconds(store) < time.monotonic() - began + 0.01
        held = claimed(store)
        assert seconds(store) < time.monotonic() - third_at + 0.01
        store.release(held, lease=MINUTE, backoff=MINUTE)
        assert seconds(store) > 0.17

    def test_nothing_waits(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        claimed(store)
        assert read_status(store).oldest is None

    @pytest.mark.parametrize(
        ("missing", "left"),
        [
            ("open", (4, 2, 3, 15)),
            ("batches", (1, 0, 1, 3)),
            ("dead", (5, 2, 4, 18)),
            ("stats", (5, 2, 4, 18)),
        ],
    )
    def test_each_key_missing_in_turn(
        self,
        store: Store,
        client_of_server: Redis,
        missing: str,
        left: tuple[int, int, int, int],
    ) -> None:
        append(store, *range(7), batch_size=2)
        store.release(claimed(store, "gave back"), lease=MINUTE, backoff=MINUTE)
        held = claimed(store, "busy")
        client_of_server.delete(getattr(store.keys, missing))
        assert facts(read_status(store)) == left

        append(store, 7, 8, batch_size=2)
        if missing == "batches":
            with pytest.raises(LeaseLost):
                store.ack(held)
        else:
            store.ack(held)
        waiting = [event for array in pending.peek(store, 99) for event in json.loads(array)]
        assert read_status(store).pending == len(waiting)
        assert read_status(store).in_flight == 0
        drained = []
        while found := claim(store, lease=NOW):
            drained += json.loads(found.array)
            store.ack(found)
        assert drained == waiting
        assert facts(read_status(store)) == (0, 0, 0, 0)

    def test_deleted_batch_leaves_no_phantom(self, store: Store, client_of_server: Redis) -> None:
        append(store, *range(4), batch_size=2)
        [(first, _), _] = client_of_server.xrange(store.keys.batches)
        client_of_server.xdel(store.keys.batches, first)
        assert facts(read_status(store)) == (2, 0, 1, 5)
        assert pending.take(store) == [b"[2,3]"]
        append(store, 5)
        assert facts(read_status(store)) == (1, 0, 1, 3)

    def test_deleted_stream_leaves_no_phantom(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2, batch_size=1)
        claimed(store)
        client_of_server.delete(store.keys.batches)
        assert facts(read_status(store)) == (0, 0, 0, 0)

    @pytest.mark.parametrize("kind", ["open", "batches", "dead", "stats", "appends"])
    def test_key_of_another_type(self, store: Store, client_of_server: Redis, kind: str) -> None:
        client_of_server.sadd(getattr(store.keys, kind), "foreign")
        with pytest.raises(KeyOccupied):
            read_status(store)

    def test_many_in_one_round_trip_each_with_its_own_fault(self, client_of_server: Redis) -> None:
        names = [f"bucket-{number}" for number in range(50)]
        for number, name in enumerate(names):
            append(Store(name, configuration()), *range(number)) if number else None
        client_of_server.script_flush()
        client_of_server.set(Store("bucket-7", configuration()).keys.dead, "foreign")
        found = statuses(names, configuration())
        assert isinstance(found[7], KeyOccupied)
        for number, status in enumerate(found):
            assert number == 7 or (isinstance(status, BucketStatus) and status.pending == number)

    def test_of_hundreds_are_those_of_each(self, client_of_server: Redis) -> None:
        names = [f"bucket-{number}" for number in range(230)]
        for number in range(0, 230, 3):
            append(Store(names[number], configuration()), *range(number % 7 + 1), batch_size=3)
        claimed(Store("bucket-3", configuration()))
        client_of_server.set(Store("bucket-120", configuration()).keys.paused, "1")
        client_of_server.set(Store("bucket-150", configuration()).keys.dead, "foreign")
        client_of_server.set(Store("bucket-151", configuration()).keys.open, "[1,2]")
        found = statuses(names, configuration())
        assert isinstance(found[150], KeyOccupied)
        for name, status in zip(names, found, strict=True):
            if name != "bucket-150":
                alone = read_status(Store(name, configuration()))
                assert isinstance(status, BucketStatus)
                assert replace(status, oldest=None, paused=None) == replace(
                    alone, oldest=None, paused=None
                )

    def test_age_beside_a_group_of_another_name(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, batch_size=1)
        client_of_server.xgroup_create(store.keys.batches, "other", "$")
        claimed(store)
        assert read_status(store).oldest is not None

    def test_entry_that_is_no_batch_has_no_age(self, store: Store, client_of_server: Redis) -> None:
        client_of_server.xadd(store.keys.batches, {"opened": "x"})
        assert read_status(store).oldest is None

    @pytest.mark.parametrize("spoilt", ["?", "-9"])
    @pytest.mark.parametrize(
        "counter",
        [
            *["appends.open", "appends.opened"],
            *["stats.sealed", "stats.claimed", "stats.sealed_bytes", "stats.sealed_batches"],
        ],
    )
    def test_spoilt_counter_is_counted_anew(
        self, store: Store, client_of_server: Redis, counter: str, spoilt: str
    ) -> None:
        append(store, 1, 2, 3, batch_size=2)
        claimed(store, linger=None)
        key, _, field = counter.partition(".")
        client_of_server.hset(getattr(store.keys, key), field, spoilt)
        assert facts(read_status(store)) == (1, 2, 2, 8)
        assert 0 <= seconds(store) < 60
        assert pending.take(store) == [b"[3]"]
        assert facts(read_status(store)) == (0, 2, 1, 5)


def seconds(store: Store) -> float:
    oldest = read_status(store).oldest
    assert oldest is not None
    return oldest.total_seconds()


class TestRates:
    def put(self, store: Store, plain: Redis, *samples: tuple[int, int, int]) -> None:
        """Write samples to the history: seconds ago, and the two totals at that time."""
        now_ms = int(time.time() * 1000)
        texts = [f"{now_ms - ago * 1000} 0 0 {one} {other}" for ago, one, other in samples]
        plain.rpush(store.keys.history, *texts)

    def test_are_those_of_the_last_minute_or_two(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, *range(1000))
        self.put(store, client_of_server, (500, 0, 0), (100, 0, 0), (40, 500, 0))
        status = read_status(store)
        assert status.appended_per_minute == pytest.approx(600, rel=0.05)
        assert status.processed_per_minute == 0
        assert status.sampled is not None
        assert 39 < status.sampled.total_seconds() < 60

    def test_are_not_known_without_a_history(self, store: Store) -> None:
        append(store, 1)
        status = read_status(store)
        assert (status.appended_per_minute, status.processed_per_minute) == (None, None)

    def test_are_not_known_over_a_few_seconds(self, store: Store, client_of_server: Redis) -> None:
        self.put(store, client_of_server, (10, 0, 0))
        assert read_status(store).appended_per_minute is None

    def test_are_not_known_when_a_total_began_again(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        self.put(store, client_of_server, (60, 500, 500))
        status = read_status(store)
        assert (status.appended_per_minute, status.processed_per_minute) == (None, None)


@pytest.mark.parametrize(
    "key", [field.name for field in fields(Keys) if field.name != "old_appends"]
)
def test_status_says_which_bucket_has_a_key_of_another_type(
    store: Store, client_of_server: Redis, key: str
) -> None:
    append(store, 1)
    place = getattr(store.keys, key)
    client_of_server.delete(place)
    client_of_server.sadd(place, "theirs")
    with pytest.raises(KeyOccupied, match="'orders'"):
        read_status(store)


class TestAgeOfHalves:
    def put(self, store: Store, plain: Redis, *ages: int) -> None:
        """Put a batch of two events for each age, opened this many seconds ago."""
        now_ms = int(time.time() * 1000)
        for ago in ages:
            batch: dict[Any, Any] = {"events": "[1,2]", "count": 2, "opened": now_ms - ago * 1000}
            plain.xadd(store.keys.batches, batch)

    def age(self, store: Store) -> float:
        oldest = read_status(store).oldest
        assert oldest is not None
        return round(oldest.total_seconds(), -1)

    def test_is_that_of_the_batch_though_they_lie_behind_younger_ones(
        self, store: Store, client_of_server: Redis
    ) -> None:
        self.put(store, client_of_server, 7200, 60)
        held = claimed(store)
        assert self.age(store) == 60
        split(store, held)
        assert self.age(store) == 7200
        self.put(store, client_of_server, 10)
        store.ack(claimed(store))
        assert self.age(store) == 7200
        store.ack(claimed(store))
        store.ack(claimed(store))
        assert self.age(store) == 10

    def test_is_that_of_the_oldest_of_several(self, store: Store, client_of_server: Redis) -> None:
        self.put(store, client_of_server, 7200, 3600, 60)
        for consumer in ("one", "two"):
            split(store, claimed(store, consumer))
        assert self.age(store) == 7200

    def test_is_forgotten_when_they_are_gone(self, store: Store, client_of_server: Redis) -> None:
        self.put(store, client_of_server, 7200)
        split(store, claimed(store))
        pending.purge(store)
        self.put(store, client_of_server, 600, 60)
        assert self.age(store) == 600
        split(store, claimed(store))
        assert self.age(store) == 600

    def test_is_that_of_the_first_of_those_that_were_given_back(
        self, store: Store, client_of_server: Redis
    ) -> None:
        self.put(store, client_of_server, 7200, 600, 60)
        held = [claimed(store, consumer) for consumer in ("one", "two")]
        for each in held:
            fail(store, each)
        assert self.age(store) == 7200

    def test_counts_beside_a_batch_that_was_given_back(
        self, store: Store, client_of_server: Redis
    ) -> None:
        self.put(store, client_of_server, 7200, 60)
        old, young = claimed(store, "one"), claimed(store, "two")
        fail(store, young)
        assert self.age(store) == 60
        split(store, old)
        assert self.age(store) == 7200

    @pytest.mark.parametrize("text", ["", "x", "1-", "9" * 30, b"\xff"])
    def test_is_that_of_the_first_when_it_is_spoilt(
        self, store: Store, client_of_server: Redis, text: str | bytes
    ) -> None:
        self.put(store, client_of_server, 60)
        for name in ("split_last", "split_opened"):
            client_of_server.hset(store.keys.stats, name, text)
            assert self.age(store) == 60


class TestFailing:
    def test_is_a_batch_from_its_failure_to_its_success(self, store: Store) -> None:
        append(store, 1, 2, 3, batch_size=1)
        fail(store, claimed(store))
        status = read_status(store)
        assert (status.failing, status.attempt, status.error) == (1, 1, "KeyError")
        assert (status.batches_sealed, status.batches_in_flight) == (3, 0)
        again = claimed(store, "another")
        status = read_status(store)
        assert (status.failing, status.attempt, status.error) == (1, 2, "KeyError")
        assert (status.batches_sealed, status.batches_in_flight) == (2, 1)
        store.ack(again)
        assert read_status(store).failing == 0

    def test_is_one_whose_worker_died(self, store: Store) -> None:
        append(store, 1)
        claimed(store, "one")
        assert read_status(store).failing == 0
        claimed(store, "two", lease=NOW)
        status = read_status(store)
        assert (status.failing, status.attempt, status.error) == (1, 2, "")

    def test_is_none_that_was_only_given_back(self, store: Store) -> None:
        append(store, 1)
        claimed(store, "one")
        store.retire("one", lease=MINUTE)
        status = read_status(store)
        assert (status.failing, status.batches_in_flight, status.batches_sealed) == (0, 0, 1)

    def test_tells_the_error_of_the_oldest_failing_batch(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        for worker, error in [("a", "KeyError"), ("b", "ValueError")]:
            fail(store, claimed(store, worker), error=error, backoff=MINUTE)
        status = read_status(store)
        assert (status.failing, status.error) == (2, "KeyError")

    def test_is_each_half_of_what_was_split(self, store: Store) -> None:
        append(store, 1, 2, batch_size=2)
        held = claimed(store)
        split(store, held, error="KeyError")
        claimed(store, "one")
        claimed(store, "two")
        status = read_status(store)
        assert (status.failing, status.attempt, status.error) == (2, 1, "KeyError")
