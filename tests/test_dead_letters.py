from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_jsonbuffer import Batch, Bucket, DeadLetter
from django_jsonbuffer.exceptions import BufferOutOfMemory, InvalidEvent, KeyOccupied
from django_jsonbuffer.store import dead_letters
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers
from tests.threads import at_once

pytestmark = both_servers


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders", batch_size=10)


def bury(bucket: Bucket, *events: Any) -> list[DeadLetter]:
    """Bury these events, and return their dead letters."""

    def refuse(batch: Batch) -> None:
        for event in batch:
            batch.reject(event, f"no {event}")

    bucket.extend(events)
    bucket.processor(refuse)
    assert bucket.drain().buried == len(events)
    return list(bucket.dead)


class TestLook:
    def test_tells_what_and_why_and_when(self, bucket: Bucket) -> None:
        [letter] = bury(bucket, {"total": 12345678901234567890})
        assert letter.event == {"total": 12345678901234567890}
        assert letter.raw == b'{"total":12345678901234567890}'
        assert letter.error == "no {'total': 12345678901234567890}"
        assert letter.attempts == 1
        assert letter.batch.count("-") == 2
        assert letter.last_failed is not None
        assert abs(datetime.now(UTC) - letter.last_failed) < timedelta(minutes=5)
        assert bucket.dead[letter.id] == letter

    @pytest.mark.parametrize("others_succeed", [False, True])
    def test_counts_a_rejection_and_the_failures_that_count(self, others_succeed: bool) -> None:
        """The event is delivered four times: it fails three times, and is rejected."""
        bucket, failures = Bucket("orders", lease=timedelta(0), batch_size=1), [1, 2, 3]

        def store(batch: Batch) -> None:
            for event in batch:
                if event == "bad" and not failures:
                    batch.reject(event, "no")
                elif event == "bad" and failures.pop():
                    raise ValueError

        bucket.processor(store)
        bucket.append("bad")
        bucket.drain()
        if others_succeed:
            bucket.append("good")
        for _ in range(3):
            bucket.drain()
        [letter] = bucket.dead
        assert letter.attempts == (2 if others_succeed else 1)

    def test_pages_follow_on_each_other(self, bucket: Bucket) -> None:
        bury(bucket, *range(250))
        assert [letter.event for letter in bucket.dead] == list(range(250))
        first = bucket.dead.page(3)
        assert [letter.event for letter in first] == [0, 1, 2]
        assert [letter.event for letter in bucket.dead.page(2, after=first[-1].id)] == [3, 4]

    def test_empty_bucket(self, bucket: Bucket) -> None:
        assert list(bucket.dead) == []
        assert bucket.dead.page() == []

    @pytest.mark.parametrize("id", ["1-1", "", "-", "+", "(", "newest", "1", "x-1", "1-1\n", 7])
    def test_of_no_such_id(self, bucket: Bucket, id: Any) -> None:
        bury(bucket, 1)
        with pytest.raises(KeyError):
            bucket.dead[id]

    @pytest.mark.parametrize("after", ["", "x", "1-1\n", "+"])
    def test_page_behind_what_is_no_id(self, bucket: Bucket, after: str) -> None:
        with pytest.raises(ValueError, match="not the id"):
            bucket.dead.page(after=after)

    def test_repr_shows_no_event(self, bucket: Bucket) -> None:
        assert "secret" not in repr(bury(bucket, "secret"))

    def test_of_another_client_may_hold_anything(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        key = f"{bucket.key}:dead"
        client_of_server.xadd(key, {"strange": "x"})
        client_of_server.xadd(
            key, {"event": b"\xff", "attempts": "-1", "first_failed": "9" * 15, "error": b"\xff"}
        )
        strange, spoilt = bucket.dead
        assert (strange.raw, strange.attempts, strange.first_failed) == (b"", 0, None)
        assert (spoilt.attempts, spoilt.first_failed, spoilt.error) == (0, None, "\ufffd")
        for letter in (strange, spoilt):
            with pytest.raises(InvalidEvent, match=letter.id):
                letter.event  # noqa: B018


class TestReplay:
    def test_lets_the_events_be_processed_again(self, bucket: Bucket) -> None:
        letters = bury(bucket, "a", {"b": 1.5}, "c")
        bucket.append("fresh")
        assert bucket.dead.replay(letters[0], letters[1].id) == 2
        assert [letter.event for letter in bucket.dead] == ["c"]
        got: list[Any] = []
        bucket.processor(got.extend)
        bucket.drain()
        assert sorted(got, key=str) == ["a", "fresh", {"b": 1.5}]
        assert bucket.status().batches == 0

    def test_again_does_nothing(self, bucket: Bucket) -> None:
        [letter] = bury(bucket, 1)
        assert bucket.dead.replay(letter) == 1
        assert bucket.dead.replay(letter) == 0
        assert bucket.dead.replay("no id", "1-1") == 0
        assert bucket.dead.replay() == 0
        assert bucket.take() == [1]

    def test_that_arrives_again_leaves_no_empty_batch(self, bucket: Bucket) -> None:
        [letter] = bury(bucket, 1)
        assert dead_letters.replay(bucket._definition.parts.store, [letter.id]) == 1
        assert dead_letters.replay(bucket._definition.parts.store, [letter.id]) == 0
        assert bucket.status().batches == 1

    def test_begins_a_new_life(self) -> None:
        bucket = Bucket("orders", batch_size=1, lease=timedelta(0), max_attempts=2)
        bucket.processor(lambda batch: 1 / batch[0])
        bucket.extend([0, 1])
        assert [bucket.drain().buried for _ in range(3)] == [0, 0, 1]
        assert bucket.dead.replay_all() == 1
        bucket.append(1)
        assert [bucket.drain().buried for _ in range(3)] == [0, 0, 1]

    def test_of_what_is_no_event_is_refused_whole(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        [letter] = bury(bucket, 1)
        client_of_server.set(bucket.key, "rubbish")
        bucket.drain()
        rubbish = list(bucket.dead)[-1]
        with pytest.raises(InvalidEvent, match=rubbish.id):
            bucket.dead.replay(letter, rubbish)
        assert len(list(bucket.dead)) == 2
        assert bucket.status().pending == 0

    @pytest.mark.parametrize("value", ["1],[2", "1,2", "", " ", "[1", '"'])
    def test_of_what_only_fits_into_an_array_is_refused(
        self, bucket: Bucket, client_of_server: Redis, value: str
    ) -> None:
        id = client_of_server.xadd(f"{bucket.key}:dead", {"event": value}).decode()
        with pytest.raises(InvalidEvent):
            bucket.dead.replay(id)
        assert bucket.dead.replay_all() == 0
        assert bucket.status().dead == 1

    def test_of_all_leaves_what_is_no_event(self, bucket: Bucket, client_of_server: Redis) -> None:
        client_of_server.set(bucket.key, "rubbish")
        bury(bucket, *range(25))
        bucket.drain()
        assert bucket.status().dead == 26
        assert bucket.dead.replay_all() == 25
        assert bucket.status().dead == 1
        assert bucket.status().batches == 3
        assert bucket.take() == list(range(25))

    def test_of_all_keeps_to_the_bytes_of_a_batch(self) -> None:
        bucket = Bucket("orders", batch_bytes=20)
        bury(bucket, *["x" * 10] * 4)
        assert bucket.dead.replay_all() == 4
        assert bucket.status().batches == 4

    def test_by_many_at_once_is_one(self, bucket: Bucket) -> None:
        bury(bucket, *range(30))
        at_once([bucket.dead.replay_all] * 4)
        assert sorted(bucket.take()) == list(range(30))

    def test_is_refused_whole_on_a_full_server(self, private_server: Redis) -> None:
        bucket = Bucket("orders")
        bury(bucket, 1)
        private_server.config_set("maxmemory", 1)
        with pytest.raises(BufferOutOfMemory):
            assert bucket.dead.replay_all() == 1
        assert (bucket.status().dead, bucket.status().pending) == (1, 0)

    def test_of_one_letter_that_is_named_twice_is_one(self, bucket: Bucket) -> None:
        [letter] = bury(bucket, {"n": 1})
        assert bucket.dead.replay(letter, letter.id) == 1
        assert bucket.take() == [{"n": 1}]

    def test_of_all_ends_though_the_newest_was_discarded_and_all_fail_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket = Bucket("orders", batch_size=2)
        letters = bury(bucket, *range(6))
        monkeypatch.setattr("django_jsonbuffer.dead_letters._PAGE", 2)
        replay: Any = dead_letters.replay
        calls: list[list[str]] = []

        def replay_and_fail(store: Store, ids: list[str]) -> int:
            calls.append(ids)
            assert len(calls) < 10
            count: int = replay(store, ids)
            Bucket("orders").dead.discard(letters[-1])
            bucket.drain()
            return count

        monkeypatch.setattr(dead_letters, "replay", replay_and_fail)
        bucket.processor(lambda batch: [batch.reject(event, "no") for event in batch])
        assert bucket.dead.replay_all() <= 6
        assert len(calls) <= 3


class TestDiscard:
    def test_refuses_all_when_the_counters_are_of_another_type(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        [letter] = bury(bucket, 1)
        client_of_server.set(bucket._definition.parts.store.keys.stats, "foreign")
        with pytest.raises(KeyOccupied):
            bucket.dead.discard(letter)
        assert len(list(bucket.dead)) == 1

    @pytest.mark.parametrize(
        "id", ["18446744073709551616-0", "1-18446744073709551616", "\u0661-\u0660", "-", "1-1\n"]
    )
    def test_of_what_cannot_be_an_id_does_nothing(self, bucket: Bucket, id: str) -> None:
        [letter] = bury(bucket, 1)
        assert bucket.dead.discard(id) == 0
        assert bucket.dead.replay(id) == 0
        with pytest.raises(KeyError):
            bucket.dead[id]
        assert bucket.dead.discard(id, letter) == 1

    def test_removes_and_counts(self, bucket: Bucket) -> None:
        letters = bury(bucket, 1, 2, 3)
        assert bucket.dead.discard(letters[0], letters[2].id, "1-1", "no id") == 2
        assert [letter.event for letter in bucket.dead] == [2]
        assert bucket.dead.discard() == 0
        assert bucket.status().dropped.discarded == 2

    def test_of_all(self, bucket: Bucket) -> None:
        bury(bucket, *range(30))
        assert bucket.dead.discard_all() == 30
        assert bucket.dead.discard_all() == 0
        assert bucket.status().dead == 0
        assert bucket.status().dropped.discarded == 30

    def test_goes_on_on_a_full_server(self, private_server: Redis) -> None:
        bucket = Bucket("orders")
        bury(bucket, 1, 2)
        private_server.config_set("maxmemory", 1)
        assert bucket.dead.discard_all() == 2
