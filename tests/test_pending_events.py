from typing import Any

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store import pending
from tests.server import Redis


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
        assert bucket.take() == [1, 2, 3, 4, 5]
        assert "are lost: 1" in caplog.text

    def test_is_passed_over_by_peek(self, bucket: Bucket) -> None:
        assert bucket.peek() == [1, 2, 3, 4, 5][: len(bucket.peek())]
        assert bucket.peek(100) == [1, 2, 3, 4, 5]
