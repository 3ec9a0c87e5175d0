import asyncio
import threading
import time
from datetime import timedelta

import pytest

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.draining.watchdog import watched
from django_jsonbuffer.store.deliveries import read_deliveries
from tests.draining.drains import report

SHORT = timedelta(milliseconds=50)


class TestWatched:
    def test_calls_nothing_when_the_block_is_quick(self) -> None:
        calls: list[str] = []
        with watched(SHORT, calls.append):
            pass
        time.sleep(0.1)
        assert calls == []

    def test_starts_no_thread_without_a_timeout(self) -> None:
        before = threading.active_count()
        with watched(None, print):
            assert threading.active_count() == before

    def test_says_where_the_block_hangs(self) -> None:
        stacks: list[str] = []

        def hang_here() -> None:
            while not stacks:
                time.sleep(0.01)

        with watched(SHORT, stacks.append):
            hang_here()
        [text] = stacks
        assert text.startswith("Thread MainThread:")
        assert "in hang_here" in text

    def test_waits_for_a_call_that_has_begun(self) -> None:
        began, ended = threading.Event(), threading.Event()

        def give_up(stacks: str) -> None:
            began.set()
            time.sleep(0.1)
            ended.set()

        with watched(SHORT, give_up):
            assert began.wait(5)
        assert ended.is_set()


class TestProcessorTimeout:
    def test_gives_the_batch_up_as_if_the_worker_had_died(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        lease = timedelta(seconds=1)
        bucket = Bucket("orders", batch_size=1, processor_timeout=SHORT, lease=lease)
        taken_over: list[int] = []

        def hang_here(batch: Batch) -> None:
            store = bucket._definition.parts.store
            while (claim := store.claim("heir", lease=lease, linger=None).claim) is None:
                time.sleep(0.01)
            taken_over.append(claim.deaths)

        bucket.processor(hang_here)
        bucket.append(1)
        assert bucket.drain() == report()
        assert taken_over == [1]
        assert "has not returned within 0:00:00.050000" in caplog.text
        assert "in hang_here" in caplog.text
        assert "Its processor has returned after its timeout." in caplog.text

    def test_lets_the_next_worker_begin_with_another_batch(self) -> None:
        bucket = Bucket("orders", batch_size=1, processor_timeout=SHORT)
        is_told = threading.Event()
        bucket.processor(lambda batch: is_told.wait(5))
        bucket.extend(["hangs", "good"])
        with bucket.drain_steps(on_timeout=is_told.set) as drain:
            drain.step()
            store = bucket._definition.parts.store
            claim = store.claim("heir", lease=timedelta(minutes=1), linger=None).claim
        assert claim is not None
        assert claim.array == b'["good"]'
        [hanging, _] = read_deliveries(store, 10).batches
        assert hanging.retry_in(timedelta(minutes=1)) > timedelta(seconds=50)

    def test_tells_the_caller_of_the_drain(self) -> None:
        bucket = Bucket("orders", batch_size=1, processor_timeout=SHORT)
        is_told = threading.Event()
        bucket.processor(lambda batch: is_told.wait(5))
        bucket.append(1)
        with bucket.drain_steps(on_timeout=is_told.set) as drain:
            drain.step()
        assert is_told.is_set()

    def test_shows_where_a_coroutine_waits(self, caplog: pytest.LogCaptureFixture) -> None:
        bucket = Bucket("orders", batch_size=1, processor_timeout=timedelta(seconds=0.5))

        async def fetch() -> None:
            await asyncio.sleep(0.7)

        @bucket.processor
        async def process(batch: Batch) -> None:
            await fetch()

        bucket.append(1)
        bucket.drain()
        assert "Coroutine:" in caplog.text
        assert caplog.text.index("in process") < caplog.text.index("await asyncio.sleep(0.7)")

    def test_shows_a_coroutine_in_the_thread_of_its_loop(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        # Time enough to start the thread of the loop, also on a busy machine.
        bucket = Bucket("orders", batch_size=1, processor_timeout=timedelta(seconds=0.5))

        @bucket.processor
        async def hang_in_a_coroutine(batch: Batch) -> None:
            await asyncio.sleep(0)
            time.sleep(0.7)

        bucket.append(1)
        bucket.drain()
        assert "in hang_in_a_coroutine" in caplog.text
