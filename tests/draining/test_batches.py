import pytest

from django_jsonbuffer import Batch, Bucket
from tests.draining.drains import report


class TestBatch:
    def test_is_a_sequence_with_its_origin(self, bucket: Bucket) -> None:
        batches: list[Batch] = []
        bucket.processor(batches.append)
        bucket.extend(["a", "b"])
        bucket.drain()
        [batch] = batches
        assert list(batch) == ["a", "b"]
        assert len(batch) == 2
        assert (batch[0], batch[-1], batch[0:1]) == ("a", "b", ("a",))
        assert "b" in batch
        assert (batch.attempt, batch.bucket) == (1, "orders")
        assert batch.id

    def test_repr_shows_no_event(self) -> None:
        batch = Batch(["secret"], id="1-0", attempt=3, bucket="orders")
        assert repr(batch) == "<Batch 1-0 of 'orders', attempt 3: 1 events>"


class TestReject:
    def test_buries_what_is_named_and_acknowledges_the_rest(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        def pick(batch: Batch) -> None:
            batch.reject(batch[1], "no such product")

        bucket.processor(pick)
        bucket.extend([{"a": "secret"}, {"b": [1, 2]}])
        assert bucket.drain() == report(processed=1, batches=1, buried=1)
        [letter] = bucket.dead
        assert letter.event == {"b": [1, 2]}
        assert letter.raw == b'{"b":[1,2]}'
        assert (letter.error, letter.traceback) == ("no such product", "")
        assert bucket.status().batches == 0
        assert "rejected 1" in caplog.text
        assert "secret" not in caplog.text

    def test_for_an_error_keeps_its_traceback(self, bucket: Bucket) -> None:
        def pick(batch: Batch) -> None:
            for event in batch:
                try:
                    int(event)
                except ValueError as error:
                    batch.reject(event, error)

        bucket.processor(pick)
        bucket.extend(["1", "x"])
        assert bucket.drain().buried == 1
        [letter] = bucket.dead
        assert letter.error.startswith("ValueError: invalid literal")
        assert "in pick" in letter.traceback

    def test_of_equal_events_takes_one_each(self, bucket: Bucket) -> None:
        def pick(batch: Batch) -> None:
            batch.reject(5, "first")
            batch.reject(5, "second")

        bucket.processor(pick)
        bucket.extend([5, 5])
        assert bucket.drain() == report(batches=1, buried=2)
        assert [letter.error for letter in bucket.dead] == ["first", "second"]

    def test_of_what_the_processor_has_changed(self, bucket: Bucket) -> None:
        def pick(batch: Batch) -> None:
            batch[0]["extra"] = 1
            batch.reject(batch[0], "no")

        bucket.processor(pick)
        bucket.append({"a": 1})
        bucket.drain()
        assert [letter.event for letter in bucket.dead] == [{"a": 1}]

    def test_of_what_python_takes_for_equal_takes_what_is_written_alike(self) -> None:
        bucket = Bucket("orders")
        bucket.processor(lambda batch: batch.reject({"x": 1}, "no"))
        bucket.extend([{"x": True}, {"x": 1.0}, {"x": 1}])
        bucket.drain()
        assert [letter.raw for letter in bucket.dead] == [b'{"x":1}']

    def test_of_the_same_keys_in_another_order(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: batch.reject({"a": 1, "b": 2}, "no"))
        bucket.extend([0, {"b": 2, "a": 1}])
        bucket.drain()
        assert [letter.raw for letter in bucket.dead] == [b'{"b":2,"a":1}']

    def test_of_a_stranger_is_refused(self) -> None:
        batch = Batch([1, 2], id="1-0", attempt=1, bucket="orders")
        batch.reject(1, "no")
        for stranger in (1, 3):
            with pytest.raises(ValueError, match="each once"):
                batch.reject(stranger, "no")

    def test_counts_for_nothing_when_the_processor_fails(self, bucket: Bucket) -> None:
        def pick(batch: Batch) -> None:
            batch.reject(batch[0], "no")
            raise ValueError

        bucket.processor(pick)
        bucket.append(1)
        assert bucket.drain() == report(failed=1)
        assert bucket.status().dead == 0
        assert bucket.status().pending == 1
