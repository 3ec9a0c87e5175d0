import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pydantic
import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.encoding import MAX_DEPTH
from django_jsonbuffer.exceptions import (
    BufferMisconfigured,
    EventTooLarge,
    InvalidBucketName,
    InvalidEvent,
)
from tests.server import Redis
from tests.test_encoding import nested


class Order(pydantic.BaseModel):
    total: Decimal
    at: datetime


class TestHandles:
    def test_two_of_one_name_are_one_bucket(self) -> None:
        Bucket("orders").append(1)
        assert Bucket("orders").peek() == [1]

    def test_key_is_that_of_the_open_batch(self, client_of_server: Redis, prefix: str) -> None:
        bucket = Bucket("orders")
        assert bucket.key == f"{prefix}:{{orders}}"
        bucket.append({"ü": [1]})
        assert client_of_server.get(bucket.key) == '[{"ü":[1]}]'.encode()

    def test_bad_name_before_redis_is_asked(self, unreachable: str) -> None:
        with pytest.raises(InvalidBucketName):
            Bucket("a b")

    def test_member_of_a_text_enum_is_its_value(self) -> None:
        class Name(str, Enum):  # noqa: UP042
            ORDERS = "orders"

        assert Bucket(Name.ORDERS).key == Bucket("orders").key

    def test_bad_option(self) -> None:
        with pytest.raises(BufferMisconfigured, match="batch_size"):
            Bucket("orders", batch_size=0)


class TestAppend:
    def test_events_come_in_order(self) -> None:
        bucket = Bucket("orders")
        bucket.append(1)
        bucket.extend([2, 3])
        bucket.extend(number for number in [4, 5])
        assert bucket.peek() == [1, 2, 3, 4, 5]

    def test_nothing_to_append_asks_nobody(self, unreachable: str) -> None:
        Bucket("orders").extend([])

    def test_all_or_none(self) -> None:
        bucket = Bucket("orders")
        with pytest.raises(InvalidEvent):
            bucket.extend([1, float("nan"), 2])
        assert bucket.status().pending == 0

    def test_generator_is_not_begun_if_the_bucket_is_misconfigured(
        self, configure: Callable[..., None]
    ) -> None:
        events = iter([1, 2])
        bucket = Bucket("orders")
        configure(BUCKETS={"orders": {"batch_size": "many"}})
        with pytest.raises(BufferMisconfigured):
            bucket.extend(events)
        assert [*events] == [1, 2]

    def test_generator_that_fails_leaves_nothing(self) -> None:
        def failing() -> Any:
            yield 1
            raise KeyError("x")

        bucket = Bucket("orders")
        with pytest.raises(KeyError):
            bucket.extend(failing())
        assert bucket.status().pending == 0

    @pytest.mark.parametrize(
        "single",
        [
            {"a": 1},
            "text",
            b"bytes",
            bytearray(b"x"),
            Order(total=Decimal(1), at=datetime.now(UTC)),
        ],
    )
    def test_extend_with_one_event_is_a_mistake(self, single: Any) -> None:
        with pytest.raises(InvalidEvent, match="append"):
            Bucket("orders").extend(single)

    def test_size_at_the_limit_and_beyond(self) -> None:
        bucket = Bucket("orders", max_event_bytes=10)
        bucket.append("x" * 8)
        with pytest.raises(EventTooLarge, match="11 bytes"):
            bucket.append("x" * 9)
        with pytest.raises(EventTooLarge):
            bucket.append("é" * 5)
        assert bucket.peek() == ["x" * 8]

    def test_default_limit_is_a_mebibyte(self) -> None:
        bucket = Bucket("orders")
        bucket.append("x" * (1024 * 1024 - 2))
        with pytest.raises(EventTooLarge):
            bucket.append("x" * (1024 * 1024 - 1))

    def test_events_larger_than_a_batch(self) -> None:
        bucket = Bucket("orders", batch_bytes=10)
        bucket.extend(["x" * 50, "y", "z" * 50])
        assert bucket.take() == ["x" * 50, "y", "z" * 50]

    def test_orjson_by_setting(self, configure: Callable[..., None]) -> None:
        configure(ENCODER="orjson")
        bucket = Bucket("orders")
        bucket.append({"at": datetime(2026, 1, 2, tzinfo=UTC), "n": 2**70})
        assert bucket.peek() == [{"at": "2026-01-02T00:00:00Z", "n": 2**70}]

    def test_async(self) -> None:
        bucket = Bucket("orders")

        async def write() -> None:
            await bucket.aappend(1)
            await bucket.aextend([2, 3])

        asyncio.run(write())
        assert bucket.peek() == [1, 2, 3]

    def test_deepest_and_longest_event_is_still_one_for_the_scripts(
        self, client_of_server: Redis
    ) -> None:
        bucket = Bucket("orders")
        events = [nested(MAX_DEPTH), 10**4299]
        bucket.extend(events)
        client_of_server.delete(bucket._definition.parts.store.keys.stats)
        assert bucket.status().pending == 2
        assert bucket.take() == events


class TestSchema:
    def test_what_it_returns_is_appended(self) -> None:
        bucket = Bucket("orders", schema=lambda event: {**event, "checked": True})
        bucket.append({"a": 1})
        assert bucket.peek() == [{"a": 1, "checked": True}]

    def test_pydantic_model_is_dumped_in_json_mode(self) -> None:
        bucket = Bucket("orders", schema=Order.model_validate)
        bucket.append({"total": "1.50", "at": "2026-01-02T00:00:00Z"})
        assert bucket.peek() == [{"total": "1.50", "at": "2026-01-02T00:00:00Z"}]

    def test_what_it_refuses_raises_and_nothing_is_written(self) -> None:
        bucket = Bucket("orders", schema=Order.model_validate)
        good = {"total": 1, "at": "2026-01-02T00:00:00Z"}
        with pytest.raises(InvalidEvent, match="schema of bucket 'orders' refuses") as caught:
            bucket.extend([good, {"total": "much"}])
        assert isinstance(caught.value.__cause__, pydantic.ValidationError)
        assert bucket.status().pending == 0


class TestPeek:
    def test_at_most_the_limit(self) -> None:
        bucket = Bucket("orders", batch_size=2)
        bucket.extend(range(25))
        assert bucket.peek() == list(range(10))
        assert bucket.peek(3) == [0, 1, 2]
        assert bucket.peek(limit=100) == list(range(25))
        assert bucket.peek(0) == []
        assert bucket.peek(-1) == []
        assert bucket.status().pending == 25


class TestTake:
    def test_everything_once(self) -> None:
        bucket = Bucket("orders", batch_size=2)
        bucket.extend([[], {}, "é", 10**30, 1763912345.123456])
        assert bucket.take() == [[], {}, "é", 10**30, 1763912345.123456]
        assert bucket.take() == []


class TestPurge:
    def test_discards_what_is_pending(self) -> None:
        bucket = Bucket("orders", batch_size=2)
        bucket.extend(range(5))
        assert bucket.purge() == 5
        assert bucket.status().pending == 0


def test_open_batch_is_what_the_encoder_made(client_of_server: Redis) -> None:
    bucket = Bucket("orders", schema=None)
    events = [{"a": [1.5, None]}, "x"]
    bucket.extend(events)
    assert client_of_server.get(bucket.key) == json.dumps(events, separators=(",", ":")).encode()
