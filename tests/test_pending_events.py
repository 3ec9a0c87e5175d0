import json
from typing import Any

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.pending_events import peek, peek_raw, take
from django_jsonbuffer.store import pending
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers

pytestmark = both_servers


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders", batch_size=2)


class TestUnreadable:
    """Another client put an entry into the stream that looks like a batch and cannot be read."""

    @pytest.fixture(autouse=True)
    def _between_two_of_ours(self, bucket: Bucket, client_of_server: Redis) -> None:
        bucket.extend([1, 2])
        fields: Any = {"events": '["secret', "count": 3, "opened": 1}
        client_of_server.xadd(f"{bucket.key}:batches", fields)
        bucket.extend([3, 4, 5])

    def test_is_kept_as_a_dead_letter_by_take(
        self, bucket: Bucket, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert bucket.take() == [1, 2, 3, 4, 5]
        [(_, letter)] = client_of_server.xrange(f"{bucket.key}:dead")
        assert letter[b"event"] == b'["secret'
        assert "dead letters: 1" in caplog.text
        assert [vars(record)["bucket"] for record in caplog.records] == ["orders"]

    def test_costs_a_taker_nothing_on_a_full_server(self, private_server: Redis) -> None:
        bucket = Bucket("orders", batch_size=2)
        bucket.extend([1, 2])
        private_server.xadd(f"{bucket.key}:batches", {"events": "no", "count": 1, "opened": 1})
        private_server.config_set("maxmemory", 1)
        assert bucket.take() == [1, 2]
        assert bucket.status().dead == 1

    def test_costs_a_taker_nothing_when_it_cannot_be_kept(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def unavailable(*args: Any, **options: Any) -> None:
            raise BufferUnavailable("gone")

        monkeypatch.setattr(pending, "set_aside", unavailable)
        try:
            raise ValueError("card 4111")
        except ValueError:
            assert bucket.take() == [1, 2, 3, 4, 5]
        [record] = caplog.records
        assert record.getMessage().endswith("are lost: 1. gone")
        assert vars(record)["bucket"] == "orders"
        assert "4111" not in caplog.handler.format(record)

    def test_is_passed_over_by_peek(self, bucket: Bucket) -> None:
        assert bucket.peek() == [1, 2, 3, 4, 5][: len(bucket.peek())]
        assert bucket.peek(100) == [1, 2, 3, 4, 5]


class TestPeek:
    @pytest.fixture
    def store(self, bucket: Bucket) -> Store:
        bucket.extend([1, [2], "three", {"four": 4}, 5])
        return bucket._definition.parts.store

    def test_returns_the_oldest_and_leaves_them(self, store: Store) -> None:
        for _ in range(2):
            assert peek([store], json.loads, 3) == [1, [2], "three"]
        assert len(peek([store], json.loads, 100)) == 5

    @pytest.mark.usefixtures("unreachable")
    @pytest.mark.parametrize("limit", [0, -1])
    def test_of_no_event_asks_nobody(self, limit: int) -> None:
        assert peek([Store("orders", configuration())], json.loads, limit) == []

    def test_raw_are_the_bytes_that_were_appended(self, store: Store) -> None:
        events = [b"1", b"[2]", b'"three"', b'{"four":4}']
        assert peek_raw([store], 4, most_bytes=1000) == [(event, True) for event in events]

    def test_raw_says_which_event_is_cut(self, store: Store) -> None:
        found = peek_raw([store], 9, most_bytes=len('[1,[2]]["th'))
        assert found == [(b"1", True), (b"[2]", True), (b'"th', False)]

    def test_raw_does_not_decode(self, store: Store, client_of_server: Redis) -> None:
        batch: dict[Any, Any] = {"events": "[ NaN , \t]", "count": 2, "opened": 1}
        client_of_server.xadd(store.keys.batches, batch)
        store.seal()
        found = dict(peek_raw([store], 9, most_bytes=1000))
        assert (found[b"NaN"], found[b""]) == (True, True)


class TestTake:
    def test_returns_all_and_removes_it(self, bucket: Bucket) -> None:
        bucket.extend([1, 2, 3])
        store = bucket._definition.parts.store
        assert take([store], json.loads) == [1, 2, 3]
        assert take([store], json.loads) == []

    @pytest.mark.parametrize("error", [ValueError, KeyError, RecursionError])
    def test_keeps_what_the_encoder_cannot_decode(
        self, bucket: Bucket, error: type[Exception]
    ) -> None:
        def decode(array: bytes) -> list[Any]:
            if b"3" in array:
                raise error
            return json.loads(array)  # type: ignore[no-any-return]

        bucket.extend([1, 2, 3, 4, 5])
        store = bucket._definition.parts.store
        assert peek([store], decode, 9) == [1, 2, 5]
        assert take([store], decode) == [1, 2, 5]
        assert [letter.raw for letter in bucket.dead] == [b"[3,4]"]
        assert bucket.status().pending == 0
