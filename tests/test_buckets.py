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
from django_jsonbuffer.catalog import declared_buckets, known_buckets, options_of, statuses
from django_jsonbuffer.declarations import declarations
from django_jsonbuffer.encoding import MAX_DEPTH
from django_jsonbuffer.exceptions import (
    BufferMisconfigured,
    EventTooLarge,
    InvalidBucketName,
    InvalidEvent,
    NoProcessor,
)
from django_jsonbuffer.store.status import BucketStatus
from tests.declaring.buckets import page_views
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

    def test_any_number_of_names_leaves_nothing_behind(self) -> None:
        before = len(declarations.declared)
        for number in range(1000):
            Bucket(f"user-{number}")
        assert len(declarations.declared) == before


class TestOptions:
    def test_handle_takes_those_of_the_declaration(self) -> None:
        assert options_of(Bucket("page-views")) == options_of(page_views)
        assert options_of(page_views).batch_size == 100

    def test_handle_wins_over_declaration_and_settings_over_both(
        self, configure: Callable[..., None]
    ) -> None:
        assert options_of(Bucket("page-views", batch_size=5)).batch_size == 5
        configure(BUCKETS={"page-views": {"batch_size": 7}})
        assert options_of(Bucket("page-views", batch_size=5)).batch_size == 7
        assert options_of(page_views).batch_size == 7

    def test_bad_setting_is_an_error_at_use(self, configure: Callable[..., None]) -> None:
        configure(BUCKETS={"orders": {"batch_size": "many"}})
        with pytest.raises(BufferMisconfigured, match="batch_size"):
            Bucket("orders").append(1)


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


class TestProcessor:
    def test_decorator_returns_the_function(self) -> None:
        def store(batch: Any) -> None: ...

        assert Bucket("orders").processor(store) is store

    def test_plain_call_serves_every_handle(self) -> None:
        got: list[Any] = []
        Bucket("orders").processor(got.extend)
        Bucket("orders").append(1)
        Bucket("orders").drain()
        assert got == [1]

    @pytest.mark.parametrize("function", ["store", 1, []])
    def test_what_cannot_be_called(self, function: Any) -> None:
        with pytest.raises(BufferMisconfigured, match="callable"):
            Bucket("orders").processor(function)

    def test_coroutine_function_is_run_to_its_end(self) -> None:
        got: list[Any] = []

        async def store(batch: Any) -> None:
            await asyncio.sleep(0)
            got.extend(batch)

        bucket = Bucket("orders")
        bucket.processor(store)
        bucket.append(1)
        assert bucket.drain().processed == 1
        assert got == [1]

    def test_generator_would_not_run(self) -> None:
        def store(batch: Any) -> Any:
            yield from batch

        with pytest.raises(BufferMisconfigured, match="yield"):
            Bucket("orders").processor(store)

    def test_none_declared(self) -> None:
        bucket = Bucket("orders")
        bucket.append(1)
        with pytest.raises(NoProcessor, match="orders"):
            bucket.drain()
        assert bucket.status().pending == 1


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


class TestRegister:
    def test_declared_buckets_were_found_in_the_apps(self) -> None:
        assert "page-views" in [bucket.name for bucket in declared_buckets()]

    def test_known_are_the_declared_and_those_appended_to(
        self, client_of_server: Redis, prefix: str
    ) -> None:
        Bucket("user-1").append(1)
        client_of_server.sadd(f"{prefix}:buckets", "not a name", b"\xff", "<script>")
        assert [bucket.name for bucket in known_buckets()] == [
            *["foreign", "page-views", "scripted", "user-1"]
        ]

    def test_statuses_of_several(self) -> None:
        Bucket("a").append(1)
        Bucket("b").extend([1, 2])
        found = statuses([Bucket("b"), Bucket("empty"), Bucket("a")])
        assert [s.pending for s in found if isinstance(s, BucketStatus)] == [2, 0, 1]

    def test_bucket_with_a_processor_counts_as_declared(self) -> None:
        Bucket("ad-hoc").processor(lambda batch: None)
        assert "ad-hoc" in [bucket.name for bucket in declared_buckets()]


def test_open_batch_is_what_the_encoder_made(client_of_server: Redis) -> None:
    bucket = Bucket("orders", schema=None)
    events = [{"a": [1.5, None]}, "x"]
    bucket.extend(events)
    assert client_of_server.get(bucket.key) == json.dumps(events, separators=(",", ":")).encode()
