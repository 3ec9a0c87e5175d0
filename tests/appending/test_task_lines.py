"""Group commit in asyncio, and what a cancelled task leaves behind."""

import asyncio
import gc
import threading
import warnings
import weakref
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import Settings

from django_jsonbuffer import Bucket, gathered
from django_jsonbuffer.appending import lines, losses, spill, task_lines
from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.exceptions import (
    AppendUndecided,
    BucketFull,
    BufferUnavailable,
    InvalidEvent,
)
from django_jsonbuffer.store.store import Store
from tests.server import Redis


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of events of each call."""
    sizes: list[int] = []
    append_by = Store.append_by

    async def noted(store: Store, link: Any, events: Any, *args: Any, **kw: Any) -> Any:
        sizes.append(len(events))
        return await append_by(store, link, events, *args, **kw)

    monkeypatch.setattr(Store, "append_by", noted)
    return sizes


async def outcomes(*calls: Any) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


class TestTogether:
    def test_tasks_leave_in_few_calls_in_their_order(self, sizes: list[int]) -> None:
        bucket = Bucket("orders")

        async def main() -> None:
            await bucket.aappend(-1)
            await asyncio.gather(*map(bucket.aappend, range(200)))
            await bucket.aextend(["last", "but not least"])

        asyncio.run(main())
        assert sizes == [1, 1, 199, 2]  # the first of them was alone when it came
        assert bucket.take() == [-1, *range(200), "last", "but not least"]

    def test_is_off_if_the_setting_says_so(self, sizes: list[int], settings: Settings) -> None:
        settings.JSONBUFFER = {**settings.JSONBUFFER, "GROUP_COMMIT": False}
        bucket = Bucket("orders")

        async def main() -> None:
            await asyncio.gather(*map(bucket.aappend, range(20)))

        asyncio.run(main())
        assert sizes == [1] * 20
        assert sorted(bucket.take()) == [*range(20)]

    def test_uses_no_thread(self, client_of_server: Redis) -> None:
        bucket = Bucket("orders")
        bucket.append(-1)  # connects a client of a cluster

        async def main() -> set[threading.Thread]:
            before = {*threading.enumerate()}
            await asyncio.gather(*map(bucket.aappend, range(50)))
            async with gathered():
                await bucket.aappend(50)
            return {*threading.enumerate()} - before

        assert asyncio.run(main()) == set()
        assert bucket.take() == [*range(-1, 51)]

    def test_each_loop_has_connections_of_its_own(self, client_of_server: Redis) -> None:
        bucket = Bucket("orders")
        for number in range(3):
            asyncio.run(bucket.aappend(number))
        assert bucket.take() == [0, 1, 2]


class TestOutcome:
    def test_invalid_event_is_the_error_of_its_caller_alone(self, sizes: list[int]) -> None:
        bucket = Bucket("orders")

        async def main() -> list[Any]:
            return await outcomes(bucket.aappend(1), bucket.aappend(object()), bucket.aappend(2))

        first, second, third = asyncio.run(main())
        assert (first, third) == (None, None)
        assert isinstance(second, InvalidEvent)
        assert bucket.take() == [1, 2]

    def test_events_that_do_not_fit_together_are_tried_alone(self, sizes: list[int]) -> None:
        bucket = Bucket("orders", max_pending=3)

        async def main() -> list[Any]:
            return await outcomes(*map(bucket.aappend, range(5)))

        found = asyncio.run(main())
        assert [type(each) for each in found] == [type(None)] * 3 + [BucketFull] * 2
        assert bucket.take() == [0, 1, 2]

    def test_undecided_append_is_settled_by_aretry(
        self, monkeypatch: pytest.MonkeyPatch, client_of_server: Redis
    ) -> None:
        bucket, append_by = Bucket("orders", append_timeout=timedelta(0)), Store.append_by

        async def lost(*args: Any, **kw: Any) -> None:
            await append_by(*args, **kw)
            error = BufferUnavailable("the line broke")
            error.may_be_done = True
            raise error

        async def main() -> None:
            with monkeypatch.context() as broken:
                broken.setattr(Store, "append_by", lost)
                found = await outcomes(*map(bucket.aappend, range(3)))
            assert [type(each) for each in found] == [AppendUndecided] * 3
            for error in found:
                await error.aretry()

        asyncio.run(main())
        assert bucket.take() == [0, 1, 2]

    def test_redis_that_is_away_is_an_error(self, unreachable: str) -> None:
        async def main() -> list[Any]:
            return await outcomes(*map(Bucket("orders").aappend, range(3)))

        for error in asyncio.run(main()):
            assert isinstance(error, BufferUnavailable)
            assert not error.may_be_done
            assert "cannot be reached" in str(error)


class TestFailure:
    """Errors that no part of this app foresees."""

    def test_of_the_spill_is_the_error_of_each_caller(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket = Bucket("orders", on_unavailable="spill", spill_dir=str(tmp_path))

        def fails(*args: Any, **kw: Any) -> None:
            raise RuntimeError("can't start new thread")

        async def is_away(*args: Any, **kw: Any) -> None:
            await asyncio.sleep(0.01)
            raise BufferUnavailable

        monkeypatch.setattr(Store, "append_by", is_away)
        monkeypatch.setattr(Spill, "put", fails)

        async def main() -> list[Any]:
            async with asyncio.timeout(5):
                return await outcomes(*map(bucket.aappend, range(3)))

        assert [type(each) for each in asyncio.run(main())] == [RuntimeError] * 3

    @pytest.mark.parametrize("method", ["may_hold", "holds"])
    def test_to_forward_fails_no_append(
        self,
        client_of_server: Redis,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        method: str,
    ) -> None:
        bucket = Bucket("orders", on_unavailable="spill", spill_dir=str(tmp_path))

        def fails(*args: Any, **kw: Any) -> None:
            raise RuntimeError("a secret of an event")

        monkeypatch.setattr(Spill, method, fails)
        asyncio.run(bucket.aappend(1))
        assert "spilled events still wait. RuntimeError" in caplog.text
        assert "secret" not in caplog.text
        assert bucket.take() == [1]

    def test_to_forward_delays_no_other(
        self, client_of_server: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket, may_go_on = Bucket("orders", spill_dir=str(tmp_path)), threading.Event()
        threads: set[int] = set()

        def hangs(*args: Any, **kw: Any) -> int:
            is_first = not threads
            threads.add(threading.get_ident())
            assert not is_first or may_go_on.wait(10)
            return 0

        monkeypatch.setattr(spill, "forward", hangs)

        async def main() -> None:
            first = asyncio.create_task(bucket.aappend(0))
            await asyncio.sleep(0)
            async with asyncio.timeout(5):
                for _ in range(3):
                    await asyncio.gather(*map(bucket.aappend, range(1, 4)))
            may_go_on.set()
            await first

        asyncio.run(main())
        assert len(bucket.take()) == 10
        assert threading.get_ident() not in threads

    def test_in_many_buckets_leaves_few_lines(
        self, client_of_server: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lines, "MOST_LINES", 3)

        async def main() -> int:
            for number in range(7):
                await Bucket(f"orders-{number}").aappend(number)
            return len(task_lines._lines[asyncio.get_running_loop()])

        assert asyncio.run(main()) <= 3


def test_loop_that_was_closed_in_the_middle_is_garbage(
    client_of_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, loops = Bucket("orders"), []

    async def hangs(*args: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(losses, "report", hangs)
    monkeypatch.setattr(losses, "unreported", {"orders": 1})

    async def main() -> None:
        tasks = [asyncio.create_task(bucket.aappend(number)) for number in range(3)]
        await tasks[-1]

    for _ in range(3):
        loop = asyncio.new_event_loop()
        loops.append(weakref.ref(loop))
        loop.run_until_complete(main())
        loop.close()
        del loop
    monkeypatch.undo()
    asyncio.run(Bucket("invoices").aappend(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
    assert [loop() for loop in loops] == [None] * 3


def test_loop_that_has_ended_is_garbage(client_of_server: Redis) -> None:
    loops = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.gather(*map(Bucket("orders").aappend, range(3)))

    for _ in range(3):
        asyncio.run(main())
    asyncio.run(Bucket("invoices").aappend(1))  # forgets the clients of loops that have ended
    gc.collect()
    assert [loop() for loop in loops] == [None] * 3


class TestCancellation:
    def test_of_half_of_a_thousand_tasks_affects_no_other(self, client_of_server: Redis) -> None:
        """A confirmed event is stored once, in order. A cancelled one once, or not at all."""
        bucket = Bucket("orders", batch_size=None)

        async def main() -> list[Any]:
            tasks = [asyncio.create_task(bucket.aappend(number)) for number in range(1000)]
            for turn in range(5):
                await asyncio.sleep(0.0005 * turn)
                for task in tasks[turn * 2 + 1 :: 10]:
                    task.cancel()
            return await outcomes(*tasks)

        found = asyncio.run(main())
        stored = bucket.take()
        confirmed = {number for number, outcome in enumerate(found) if outcome is None}
        cancelled = {n for n, each in enumerate(found) if isinstance(each, asyncio.CancelledError)}
        assert confirmed | cancelled == {*range(1000)}
        assert len(confirmed) >= 500
        assert stored == sorted({*stored})
        assert confirmed <= {*stored} <= confirmed | cancelled

    def test_before_its_event_is_sent_takes_it_back(self, sizes: list[int]) -> None:
        bucket = Bucket("orders")

        async def main() -> None:
            tasks = [asyncio.create_task(bucket.aappend(number)) for number in range(4)]
            await asyncio.sleep(0)
            tasks[1].cancel()
            tasks[2].cancel()
            await outcomes(*tasks)

        asyncio.run(main())
        assert bucket.take() == [0, 3]

    def test_of_the_task_that_sends_strands_nobody(
        self, monkeypatch: pytest.MonkeyPatch, client_of_server: Redis
    ) -> None:
        bucket, append_by = Bucket("orders"), Store.append_by
        calls = []

        async def cancels_its_task(*args: Any, **kw: Any) -> None:
            calls.append(1)
            await append_by(*args, **kw)
            if len(calls) in (2, 3):  # the first is that of a caller
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0)

        monkeypatch.setattr(Store, "append_by", cancels_its_task)

        async def main() -> None:
            async with asyncio.timeout(5):
                await asyncio.gather(*map(bucket.aappend, range(4)))

        asyncio.run(main())
        assert len(calls) == 4
        assert bucket.take() == [0, 1, 2, 3]

    def test_of_a_task_that_sends_its_own_event_strands_nobody(
        self, monkeypatch: pytest.MonkeyPatch, client_of_server: Redis
    ) -> None:
        bucket, append_by = Bucket("orders"), Store.append_by
        began = asyncio.Event()

        async def hangs_at_first(*args: Any, **kw: Any) -> None:
            if not began.is_set():
                began.set()
                await asyncio.sleep(10)
            await append_by(*args, **kw)

        monkeypatch.setattr(Store, "append_by", hangs_at_first)

        async def main() -> None:
            async with asyncio.timeout(5):
                alone = asyncio.create_task(bucket.aappend("alone"))
                await began.wait()
                others = asyncio.gather(*map(bucket.aappend, range(3)))
                await asyncio.sleep(0)
                alone.cancel()
                await others
            assert alone.cancelled()

        asyncio.run(main())
        assert bucket.take() == [0, 1, 2]

    def test_of_everything_leaves_the_bucket_usable(self, client_of_server: Redis) -> None:
        bucket = Bucket("orders")

        async def main() -> None:
            tasks = [asyncio.create_task(bucket.aappend(number)) for number in range(50)]
            await asyncio.sleep(0)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await outcomes(*tasks)
            await bucket.aappend("after")

        asyncio.run(main())
        stored = bucket.take()
        assert stored[-1] == "after"
        assert stored[:-1] == sorted({*stored[:-1]})


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class TestTransaction:
    def test_of_sync_code_that_waits_holds_the_event(self) -> None:
        bucket = Bucket("orders")
        with transaction.atomic():
            async_to_sync(bucket.aappend)(1)
            assert bucket.peek() == []
        assert bucket.take() == [1]

    def test_is_over_for_a_task_that_outlives_the_sync_code(self) -> None:
        """As a task of an async view, below sync middleware, that goes on after the response."""
        bucket, tasks = Bucket("orders"), list[asyncio.Task[None]]()

        async def main() -> None:
            is_over = asyncio.Event()

            async def later() -> None:
                await is_over.wait()
                await bucket.aappend(1)

            async def view() -> None:
                tasks.append(asyncio.create_task(later()))

            await sync_to_async(async_to_sync(view))()
            is_over.set()
            await tasks[0]

        asyncio.run(main())
        assert bucket.take() == [1]

    def test_of_an_outer_call_holds_the_event_of_a_task_of_an_inner_call(self) -> None:
        bucket, tasks = Bucket("orders"), list[asyncio.Task[None]]()

        async def inner() -> None:
            async def later() -> None:
                await asyncio.sleep(0.02)
                await bucket.aappend(1)

            tasks.append(asyncio.create_task(later()))

        async def outer() -> None:
            await sync_to_async(async_to_sync(inner))()
            await tasks[0]

        with pytest.raises(ZeroDivisionError), transaction.atomic():
            async_to_sync(outer)()
            raise ZeroDivisionError
        assert bucket.take() == []

    def test_that_is_rolled_back_drops_the_event(self) -> None:
        bucket = Bucket("orders")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            async_to_sync(bucket.aextend)([1, 2])
            raise ZeroDivisionError
        assert bucket.take() == []

    def test_in_async_code_holds_the_event(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only a project that sets this variable, as for a notebook, can open one there."""
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        bucket = Bucket("orders")

        async def main() -> None:
            with transaction.atomic(using="other"):
                await bucket.aappend(1)
                await bucket.aappend("at once", now=True)
                await bucket.aappend("of no transaction", using="default")
            for each in connections.all(initialized_only=True):
                BaseDatabaseWrapper.close(each)  # close() of a database in memory does nothing

        asyncio.run(main())
        assert bucket.take() == ["at once", "of no transaction", 1]

    def test_makes_no_connection_of_the_task(self) -> None:
        async def main() -> list[Any]:
            await Bucket("orders").aappend(1)
            return [*connections.all(initialized_only=True)]

        assert asyncio.run(main()) == []

    def test_schema_may_ask_the_database(self) -> None:
        bucket = Bucket("orders", schema=lambda event: [event, Group.objects.count()])
        asyncio.run(bucket.aappend(1))
        assert bucket.take() == [[1, 0]]


class TestGathered:
    def test_events_leave_at_the_end(self, sizes: list[int]) -> None:
        bucket = Bucket("orders")

        async def main() -> None:
            async with gathered():
                await asyncio.gather(*map(bucket.aappend, range(5)))
                assert sizes == []

        asyncio.run(main())
        assert sizes == [5]
        assert bucket.take() == [*range(5)]

    def test_cancellation_at_the_end_sends_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch, client_of_server: Redis
    ) -> None:
        bucket, append_by, began = Bucket("orders"), Store.append_by, asyncio.Event()

        async def slow(*args: Any, **kw: Any) -> None:
            began.set()
            await asyncio.sleep(0.05)
            await append_by(*args, **kw)

        monkeypatch.setattr(Store, "append_by", slow)

        async def request() -> None:
            async with gathered():
                await bucket.aappend(1)

        async def main() -> None:
            task = asyncio.create_task(request())
            await began.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert bucket.take() == [1]


class TestOtherMethods:
    def test_do_what_their_twins_do(self, client_of_server: Redis) -> None:
        bucket, seen = Bucket("orders"), list[Any]()
        bucket.processor(seen.extend)

        async def main() -> None:
            await bucket.aextend([1, 2, 3])
            assert await bucket.apeek(2) == [1, 2]
            assert await bucket.apause()
            assert (await bucket.astatus()).pending == 3
            assert await bucket.aresume()
            assert (await bucket.adrain()).processed == 3
            await bucket.aextend([4, 5])
            assert await bucket.atake() == [4, 5]
            await bucket.aappend(6)
            assert await bucket.apurge() == 1

        asyncio.run(main())
        assert seen == [1, 2, 3]

    def test_slow_query_delays_no_status(self, client_of_server: Redis) -> None:
        bucket, is_over = Bucket("orders"), threading.Event()

        async def main() -> None:
            query = asyncio.create_task(sync_to_async(is_over.wait)(10))
            await asyncio.sleep(0.01)
            async with asyncio.timeout(5):
                await bucket.astatus()
            is_over.set()
            await query

        asyncio.run(main())


@pytest.mark.parametrize("groups", [True, False])
def test_small_pool_is_no_outage(
    private_server: Redis, use_cache: Callable[..., str], settings: Settings, groups: bool
) -> None:
    settings.JSONBUFFER = {**settings.JSONBUFFER, "GROUP_COMMIT": groups}
    path = private_server.get_connection_kwargs()["path"]
    use_cache(f"unix://{path}?db=0&max_connections=4")
    bucket = Bucket("orders")

    async def main() -> None:
        await asyncio.gather(*map(bucket.aappend, range(500)))

    asyncio.run(main())
    assert sorted(bucket.take()) == [*range(500)]
