import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.catalog import options_of
from django_jsonbuffer.declarations import declared
from django_jsonbuffer.exceptions import BufferMisconfigured, NoProcessor
from tests.declaring.buckets import page_views


class TestHandles:
    def test_any_number_of_names_leaves_nothing_behind(self) -> None:
        before = len(declared.buckets)
        for number in range(1000):
            Bucket(f"user-{number}")
        assert len(declared.buckets) == before


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
