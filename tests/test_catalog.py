import json
from collections.abc import Callable

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.catalog import (
    declared_buckets,
    deliveries,
    has_processor,
    histories,
    known_buckets,
    leading_events,
    options_of,
    redacted,
    statuses,
)
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import KeyOccupied
from django_jsonbuffer.operations import retry_now
from django_jsonbuffer.store.status import BucketStatus
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers
from tests.store.steps import MINUTE, append, claimed

pytestmark = both_servers


class TestRegister:
    def test_declared_buckets_were_found_in_the_apps(self) -> None:
        assert "page-views" in [bucket.name for bucket in declared_buckets()]

    def test_known_are_the_declared_and_those_appended_to(
        self, client_of_server: Redis, prefix: str
    ) -> None:
        Bucket("user-1").append(1)
        client_of_server.sadd(f"{prefix}:buckets", "not a name", b"\xff", "<script>")
        assert [bucket.name for bucket in known_buckets()] == [
            *["foreign", "page-views", "scripted", "timed", "user-1"]
        ]

    def test_statuses_of_several(self) -> None:
        Bucket("a").append(1)
        Bucket("b").extend([1, 2])
        found = statuses([Bucket("b"), Bucket("empty"), Bucket("a")])
        assert [s.pending for s in found if isinstance(s, BucketStatus)] == [2, 0, 1]

    def test_bucket_with_a_processor_counts_as_declared(self) -> None:
        Bucket("ad-hoc").processor(lambda batch: None)
        assert "ad-hoc" in [bucket.name for bucket in declared_buckets()]


class TestBucket:
    def test_options_are_those_in_force(self, configure: Callable[..., None]) -> None:
        bucket = Bucket("orders", batch_size=5)
        assert options_of(bucket).batch_size == 5
        configure(BUCKETS={"orders": {"batch_size": 7}})
        assert options_of(bucket).batch_size == 7

    def test_has_a_processor_under_any_handle(self) -> None:
        assert not has_processor(Bucket("orders"))
        Bucket("orders").processor(lambda batch: None)
        assert has_processor(Bucket("orders"))

    def test_deliveries_are_the_oldest(self) -> None:
        bucket = Bucket("orders", batch_size=1)
        bucket.extend([1, 2, 3])
        store = bucket._definition.parts.store
        ids = [claimed(store, f"worker-{number}").id for number in range(3)]
        assert [delivery.batch for delivery in deliveries(bucket).batches] == ids
        assert [delivery.batch for delivery in deliveries(bucket, 2).batches] == ids[:2]

    def test_leading_events_stay(self) -> None:
        bucket = Bucket("orders")
        bucket.extend([1, "long" * 10])
        for _ in range(2):
            assert leading_events(bucket, 9, most_bytes=9) == [(b"1", True), (b'"longl', False)]
        assert leading_events(bucket, 1, most_bytes=9) == [(b"1", True)]

    def test_histories_of_several_are_in_their_order(self) -> None:
        busy = Bucket("busy")
        busy.append(1)
        busy._definition.parts.store.beat("worker", lease=MINUTE)
        none, [sample] = histories([Bucket("empty"), busy])
        assert (none, sample.pending) == ([], 1)

    def test_statuses_keep_the_error_of_one(self, client_of_server: Redis) -> None:
        client_of_server.lpush(Bucket("a").key, "theirs")
        Bucket("b").append(1)
        broken, whole = statuses([Bucket("a"), Bucket("b")])
        assert isinstance(broken, KeyOccupied)
        assert isinstance(whole, BucketStatus)


class TestRedacted:
    def test_without_the_option_is_the_event(self) -> None:
        assert redacted(Bucket("orders"), b'{"card": 4111}') == b'{"card":4111}'

    def test_is_what_the_function_makes_of_it(self) -> None:
        bucket = Bucket("orders", redact=lambda event: {**event, "card": "hidden"})
        assert json.loads(redacted(bucket, b'{"card": 4111, "n": 1}')) == {"card": "hidden", "n": 1}

    def test_raises_what_the_function_raises(self) -> None:
        with pytest.raises(KeyError):
            redacted(Bucket("orders", redact=lambda event: event["x"]), b"{}")

    @pytest.mark.parametrize("raw", [b"", b"[", b"1,2", b"NaN", b"1]"])
    def test_refuses_what_is_not_one_event(self, raw: bytes) -> None:
        with pytest.raises(ValueError):
            redacted(Bucket("orders"), raw)


class TestRetryNow:
    @pytest.mark.parametrize("shard", [0, 3])
    def test_finds_the_batch_in_its_shard(self, shard: int) -> None:
        store = Store("orders", configuration(), shard)
        append(store, 1)
        claim = claimed(store)
        store.release(claim, lease=MINUTE, backoff=MINUTE)
        bucket = Bucket("orders", shards=4)
        [delivery] = deliveries(bucket).batches
        assert (delivery.batch, delivery.worker) == (claim.id, "")
        assert retry_now(bucket, claim.id)
        assert claimed(store).id == claim.id
        assert not retry_now(bucket, claim.id)

    @pytest.mark.parametrize("batch", ["", "x", "5-5", "5-5#x", "5-5#0", "5-5#9", "#1", "5-5#1#2"])
    def test_of_no_batch(self, batch: str) -> None:
        assert not retry_now(Bucket("orders", shards=4), batch)
