import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group, Permission
from django.db import IntegrityError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, TestCase
from django.urls import path
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pytest_django import Settings

from django_jsonbuffer import Bucket, gathered
from django_jsonbuffer.appending import gathering, losses, routing, sending
from django_jsonbuffer.appending.spill import Spill, spill
from django_jsonbuffer.exceptions import (
    BucketFull,
    BufferUnavailable,
    EventTooLarge,
    InvalidEvent,
    KeyOccupied,
)
from django_jsonbuffer.options import MAX_APPEND_BATCHES
from django_jsonbuffer.recording.destination import Destination
from django_jsonbuffer.store import appends as calls
from django_jsonbuffer.store.store import Store
from tests.server import Redis
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class Undo(Exception):
    """Raised to roll back. The test catches it."""


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders")


@pytest.fixture(autouse=True)
def _no_losses_of_another_test() -> Iterator[None]:
    yield
    losses._forget()


def rolled_back(*, using: str = "default", appending: Callable[[], object]) -> None:
    with pytest.raises(Undo), transaction.atomic(using=using):
        appending()
        raise Undo


def appends(client: Redis) -> int:
    """How many scripts a server has run that only this test uses."""
    return sum(
        stats["calls"]
        for command, stats in client.info("commandstats").items()
        if command in ("cmdstat_evalsha", "cmdstat_eval")
    )


class TestTransaction:
    def test_events_wait_for_the_commit(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            bucket.extend([2, 3])
            assert bucket.peek() == []
        assert bucket.peek() == [1, 2, 3]

    def test_outside_at_once(self, bucket: Bucket) -> None:
        bucket.append(1)
        assert bucket.peek() == [1]

    def test_with_autocommit_off_at_once(self, bucket: Bucket) -> None:
        transaction.set_autocommit(False)
        try:
            bucket.append(1)
            with transaction.atomic():
                bucket.append(2)
            assert bucket.peek() == [1, 2]
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

    def test_now_means_now(self, bucket: Bucket) -> None:
        with pytest.raises(Undo), transaction.atomic(), gathered():
            bucket.append(1, now=True)
            bucket.extend([2], now=True)
            assert bucket.peek() == [1, 2]
            raise Undo
        assert bucket.peek() == [1, 2]

    def test_rollback_drops_them(self, bucket: Bucket) -> None:
        rolled_back(appending=lambda: bucket.append(1))
        bucket.append(2)
        assert bucket.peek() == [2]

    def test_rollback_that_is_asked_for_drops_them(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            transaction.set_rollback(True)
        assert bucket.peek() == []

    def test_commit_that_fails_drops_them(self, bucket: Bucket) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            bucket.append(1)
            Permission.objects.create(content_type_id=1_000_000, codename="x")
        bucket.append(2)
        assert bucket.peek() == [2]

    def test_transactions_follow_each_other(self, bucket: Bucket) -> None:
        for number in range(3):
            with transaction.atomic():
                bucket.append(number)
            rolled_back(appending=lambda: bucket.append("never"))
        assert bucket.peek() == [0, 1, 2]

    def test_hundred_saves_are_one_command_a_bucket_in_order(self, private_server: Redis) -> None:
        first, second = Bucket("first"), Bucket("second")
        first.append("warm")
        second.append("warm")
        private_server.config_resetstat()
        with transaction.atomic():
            for number in range(100):
                with transaction.atomic():
                    Group.objects.create(name=str(number))
                    first.append(number)
                    second.extend([number, -number])
        assert appends(private_server) == 2
        assert first.peek(200) == ["warm", *range(100)]
        assert second.peek(300)[1:] == [n for number in range(100) for n in (number, -number)]

    def test_event_that_is_refused_is_refused_in_the_transaction(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            with pytest.raises(InvalidEvent):
                bucket.append(float("nan"))
            with pytest.raises(EventTooLarge):
                Bucket("orders", batch_size=1).extend([0] * (MAX_APPEND_BATCHES + 1))
        assert bucket.peek() == [1]

    def test_event_is_as_it_was_when_it_was_appended(self, bucket: Bucket) -> None:
        event = {"status": "new"}
        with transaction.atomic():
            bucket.append(event)
            event["status"] = "paid"
        assert bucket.peek() == [{"status": "new"}]

    def test_now_is_once(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1, now=True)
        assert bucket.peek() == [1]

    def test_functions_on_commit_find_them_sent_in_order(self, bucket: Bucket) -> None:
        found: list[list[Any]] = []
        with transaction.atomic():
            transaction.on_commit(lambda: found.append(bucket.peek()))
            transaction.on_commit(lambda: found.append(bucket.peek()))
            bucket.append(1)
            transaction.on_commit(lambda: found.append(bucket.peek()))
            bucket.append(2)
        assert found == [[1, 2]] * 3

    @pytest.mark.parametrize(("limit", "one"), [("MAX_APPEND_BYTES", 2), ("MAX_APPEND_BATCHES", 1)])
    def test_portion_is_as_large_as_one_call_may_be(
        self, monkeypatch: pytest.MonkeyPatch, limit: str, one: int
    ) -> None:
        sent: list[int] = []

        def note(store: Store, events: Sequence[bytes], *args: Any, **options: Any) -> None:
            sent.append(len(events))

        monkeypatch.setattr(Store, "append", note)
        bucket = Bucket("orders", batch_size=1)
        for number, allowed in ((7, 3), (2, 1)):
            monkeypatch.setattr(sending, limit, allowed * one)
            with transaction.atomic():
                for _ in range(number):
                    bucket.append(1)
        assert sent == [3, 3, 1, 1, 1]

    def test_event_that_no_call_may_hold_is_refused_when_it_is_appended(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (calls, routing):
            monkeypatch.setattr(module, "MAX_APPEND_BYTES", 10)
        with transaction.atomic():
            with pytest.raises(EventTooLarge, match="10"):
                bucket.append(1_234_567_890)
            bucket.append(123_456_789)
        assert bucket.peek() == [123_456_789]

    def test_more_than_one_call_may_hold_goes_in_portions(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sending, "MAX_APPEND_BYTES", 30)
        with transaction.atomic():
            for number in range(100):
                bucket.append(number)
        assert bucket.peek(200) == [*range(100)]
        small = Bucket("small", batch_size=1)
        monkeypatch.setattr(sending, "MAX_APPEND_BATCHES", 3)
        with transaction.atomic():
            for number in range(10):
                small.extend([number, number])
        assert small.take() == [n for number in range(10) for n in (number, number)]


class TestSavepoint:
    def test_rolled_back_drops_exactly_its_own(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            rolled_back(appending=lambda: bucket.append("a"))
            bucket.append(2)
            with transaction.atomic():
                bucket.append(3)
                rolled_back(appending=lambda: bucket.append("b"))
                bucket.append(4)
            rolled_back(appending=lambda: bucket.append("c"))
        assert bucket.peek() == [1, 2, 3, 4]

    def test_rolled_back_drops_what_was_nested_in_it(self, bucket: Bucket) -> None:
        def nest() -> None:
            bucket.append("a")
            with transaction.atomic():
                bucket.append("b")
            bucket.append("c")

        with transaction.atomic():
            bucket.append(1)
            rolled_back(appending=nest)
        assert bucket.peek() == [1]

    def test_first_event_in_one_that_is_rolled_back(self, bucket: Bucket) -> None:
        with transaction.atomic():
            rolled_back(appending=lambda: bucket.append("a"))
            bucket.append(1)
        assert bucket.peek() == [1]

    def test_set_by_sql_is_unknown_to_django(self, bucket: Bucket) -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SAVEPOINT mine")
            bucket.append(1)
            transaction.savepoint_rollback("mine")
        assert bucket.peek() == [1]

    def test_block_without_savepoint_rolls_back_all(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            with pytest.raises(Undo), transaction.atomic(savepoint=False):
                bucket.append(2)
                raise Undo
        assert bucket.peek() == []

    def test_set_by_hand(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            savepoint = str(connection.savepoint())
            bucket.append("a")
            transaction.savepoint_rollback(savepoint)
            bucket.append("b")
            transaction.savepoint_rollback(savepoint)
            bucket.append(2)
            kept = str(connection.savepoint())
            bucket.append(3)
            transaction.savepoint_commit(kept)
        assert bucket.peek() == [1, 2, 3]

    def test_other_functions_on_commit_are_dropped_as_ever(self, bucket: Bucket) -> None:
        ran: list[str] = []
        with transaction.atomic():
            transaction.on_commit(lambda: ran.append("outer"))
            bucket.append(1)
            rolled_back(appending=lambda: transaction.on_commit(lambda: ran.append("inner")))
        assert ran == ["outer"]


class Block(NamedTuple):
    """An ``atomic()`` block. A step of it appends a number, or is a nested block."""

    steps: list[Any]
    has_savepoint: bool
    fails: bool

    def run(self, bucket: Bucket) -> None:
        with suppress(Undo), transaction.atomic(savepoint=self.has_savepoint):
            for step in self.steps:
                if isinstance(step, Block):
                    step.run(bucket)
                else:
                    bucket.append(step)
            if self.fails:
                raise Undo

    def kept(self) -> tuple[list[int], bool]:
        """The events that must be left, and whether the block around it must be rolled back."""
        events: list[int] = []
        is_broken = self.fails
        for step in self.steps:
            if isinstance(step, Block):
                kept, breaks = step.kept()
                events += kept
                is_broken = is_broken or breaks
            else:
                events.append(step)
        return [] if is_broken else events, is_broken and not self.has_savepoint


BLOCKS = st.recursive(
    st.integers(0, 9),
    lambda steps: st.builds(Block, st.lists(steps, max_size=5), st.booleans(), st.booleans()),
    max_leaves=25,
)


@given(steps=st.lists(BLOCKS, max_size=5))
@hypothesis.settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_nest_of_blocks_leaves_what_it_commits(steps: list[Any]) -> None:
    bucket = Bucket("orders")
    whole = Block(steps, has_savepoint=True, fails=False)
    whole.run(bucket)
    assert bucket.take() == whole.kept()[0]


class TestDatabases:
    def test_each_event_waits_for_its_own(self, bucket: Bucket) -> None:
        with transaction.atomic():
            with transaction.atomic(using="other"):
                bucket.append("default")
                bucket.append("other", using="other")
            assert bucket.peek() == ["other"]
        assert bucket.peek() == ["other", "default"]

    def test_rollback_of_one_leaves_the_other_alone(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            rolled_back(using="other", appending=lambda: bucket.append("a", using="other"))
        assert bucket.peek() == [1]

    def test_transaction_of_any_is_found(self, bucket: Bucket) -> None:
        rolled_back(using="other", appending=lambda: bucket.append(1))
        assert bucket.peek() == []

    def test_of_several_it_waits_for_the_default_one(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        aliases = dict(reversed(connections.settings.items()))
        monkeypatch.setattr(connections, "settings", aliases)
        with transaction.atomic():
            with transaction.atomic(using="other"):
                bucket.append(1)
            assert bucket.peek() == []
        assert bucket.peek() == [1]

    def test_that_nobody_uses_is_left_alone(self, bucket: Bucket) -> None:
        used: list[object] = []

        def append() -> None:
            bucket.append(1)
            used.extend(each.connection for each in connections.all(initialized_only=True))

        at_once([append])
        assert bucket.peek() == [1]
        assert not any(used)

    def test_that_has_no_transaction_does_not_hold_up(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1, using="other")
            assert bucket.peek() == [1]

    def test_that_is_not_there(self, bucket: Bucket) -> None:
        with pytest.raises(Exception, match="nowhere"):
            bucket.append(1, using="nowhere")


class TestGathered:
    def test_all_leaves_at_the_end_as_one_command_a_bucket(self, private_server: Redis) -> None:
        first, second = Bucket("first"), Bucket("second")
        first.append("warm")
        second.append("warm")
        assert first.peek() == ["warm"]
        private_server.config_resetstat()
        with gathered():
            for number in range(10):
                first.append(number)
                with transaction.atomic():
                    second.append(number)
            assert first.peek() == ["warm"]
        assert appends(private_server) == 3  # one for the peek, and one append for each bucket
        assert first.peek(20) == second.peek(20) == ["warm", *range(10)]

    def test_rollback_within_drops_its_own(self, bucket: Bucket) -> None:
        with gathered():
            bucket.append(1)
            rolled_back(appending=lambda: bucket.append("a"))
            with transaction.atomic():
                bucket.append(2)
        assert bucket.peek() == [1, 2]

    def test_transaction_around_it_is_waited_for(self, bucket: Bucket) -> None:
        def gather() -> None:
            with gathered():
                bucket.append(1)

        rolled_back(appending=gather)
        assert bucket.peek() == []
        with transaction.atomic():
            gather()
            assert bucket.peek() == []
        assert bucket.peek() == [1]

    def test_inner_one_leaves_with_the_outer(self, bucket: Bucket) -> None:
        with gathered():
            with gathered():
                bucket.append(1)
            assert bucket.peek() == []
            bucket.append(2)
        assert bucket.peek() == [1, 2]
        bucket.append(3)
        assert bucket.peek() == [1, 2, 3]

    def test_what_was_appended_before_an_error_is_sent(self, bucket: Bucket) -> None:
        with pytest.raises(Undo), gathered():
            bucket.append(1)
            raise Undo
        assert bucket.peek() == [1]

    def test_event_that_is_refused_is_refused_where_it_is_appended(self, bucket: Bucket) -> None:
        with gathered():
            bucket.append(1)
            with pytest.raises(EventTooLarge):
                Bucket("orders", batch_size=1).extend([0] * (MAX_APPEND_BATCHES + 1))
        assert bucket.peek() == [1]

    def test_is_entered_once(self, bucket: Bucket) -> None:
        once = gathered()
        with once:
            bucket.append(1)
            with pytest.raises(RuntimeError, match="anew"), once:
                pass
        with pytest.raises(RuntimeError, match="anew"), once:
            pass
        bucket.append(2)
        assert bucket.peek() == [1, 2]

    def test_decorates(self, bucket: Bucket) -> None:
        @gathered()
        def write(*events: int) -> int:
            bucket.extend(events)
            return len(bucket.peek())

        @gathered()
        async def write_async(*events: int) -> int:
            await bucket.aextend(events)
            return len(bucket.peek())

        assert write(1, 2) == 0
        assert write(3) == 2
        assert asyncio.run(write_async(4)) == 3
        assert bucket.peek() == [1, 2, 3, 4]

    def test_forked_child_is_not_within(self, bucket: Bucket) -> None:
        with suppress(ChildProcessError), gathered():
            bucket.append("parent's")
            if not (pid := os.fork()):
                try:
                    bucket.append("child's")
                    with gathered():
                        bucket.append("child's own")
                    gathering.current.get().close()  # type: ignore[union-attr]
                finally:
                    os._exit(0)
            os.waitpid(pid, 0)
            assert bucket.peek() == ["child's", "child's own"]
        assert bucket.peek() == ["child's", "child's own", "parent's"]

    def test_cancelled_at_the_end_sends_all_the_same(self, bucket: Bucket) -> None:
        async def write() -> None:
            async with gathered():
                await bucket.aappend(1)
                blocker = asyncio.ensure_future(sync_to_async(time.sleep)(0.2))
                await asyncio.sleep(0.05)
            await blocker

        async def cancel() -> None:
            task = asyncio.create_task(write())
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(cancel())
        assert bucket.peek() == [1]

    def test_another_thread_is_not_within(self, bucket: Bucket) -> None:
        with gathered():
            at_once([lambda: bucket.append(1)])
            assert bucket.peek() == [1]

    def test_holds_for_tasks_and_their_threads(self, bucket: Bucket) -> None:
        async def write() -> None:
            async with gathered():
                await asyncio.gather(*(bucket.aappend(number) for number in range(20)))
                await sync_to_async(bucket.append)(20)
                assert bucket.peek() == []

        asyncio.run(write())
        assert sorted(bucket.peek(30)) == [*range(21)]

    def test_task_that_outlives_it_sends_at_once(self, bucket: Bucket) -> None:
        async def write() -> None:
            is_over = asyncio.Event()

            async def append_later() -> None:
                await is_over.wait()
                await bucket.aappend(2)
                with gathered():
                    bucket.append(3)

            async with gathered():
                task = asyncio.create_task(append_later())
                await asyncio.sleep(0)
                await bucket.aappend(1)
            is_over.set()
            await task

        asyncio.run(write())
        assert bucket.peek() == [1, 2, 3]


class TestThread:
    def test_has_transactions_of_its_own(self, bucket: Bucket) -> None:
        def append(number: int) -> None:
            try:
                for _ in range(5):
                    rolled_back(appending=lambda: bucket.append("never"))
                    with transaction.atomic():
                        bucket.append([number, 1])
                        bucket.append([number, 2])
            finally:
                for own in connections.all(initialized_only=True):
                    BaseDatabaseWrapper.close(own)  # close() of a database in memory does nothing

        with transaction.atomic():
            bucket.append("mine")
            at_once(partial(append, number) for number in range(8))
            events = bucket.peek(100)
        assert len(events) == 80
        # The events of one transaction are next to each other.
        assert all(events[at + 1] == [events[at][0], 2] for at in range(0, 80, 2))
        assert bucket.peek(100) == [*events, "mine"]


def append_and_maybe_fail(request: HttpRequest) -> HttpResponse:
    Bucket("orders").append(request.GET["event"])
    if "fail" in request.GET:
        raise Undo
    return HttpResponse(str(len(Bucket("orders").peek())))


async def append_in_async_view(request: HttpRequest) -> HttpResponse:
    bucket = Bucket("orders")

    def change(event: str) -> None:
        with transaction.atomic():
            Group.objects.create(name=event)
            bucket.append(event)
            async_to_sync(bucket.aappend)(f"{event}, from async code")
            if event == "undone":
                raise Undo

    await bucket.aappend("before")
    with pytest.raises(Undo):
        await sync_to_async(change)("undone")
    await sync_to_async(change)("done")
    await bucket.aappend("after")
    return HttpResponse(str(len(bucket.peek())))


urlpatterns = [path("sync/", append_and_maybe_fail), path("async/", append_in_async_view)]
GATHERING = "django_jsonbuffer.middleware.gathering_middleware"


@pytest.mark.urls(__name__)
class TestRequest:
    def test_atomic_requests(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        client = Client(raise_request_exception=False)
        assert client.get("/sync/?event=a").content == b"0"
        assert client.get("/sync/?event=b&fail=1").status_code == 500
        assert bucket.peek() == ["a"]

    def test_async_view(self, bucket: Bucket) -> None:
        async def request() -> bytes:
            return (await AsyncClient().get("/async/")).content

        assert asyncio.run(request()) == b"4"
        assert bucket.peek() == ["before", "done", "done, from async code", "after"]
        assert Group.objects.get().name == "done"

    def test_middleware_gathers_it(self, bucket: Bucket, settings: Settings) -> None:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, GATHERING]
        assert Client().get("/sync/?event=a").content == b"0"
        assert bucket.peek() == ["a"]

    def test_middleware_gathers_an_async_view(self, bucket: Bucket, settings: Settings) -> None:
        async def request() -> bytes:
            return (await AsyncClient().get("/async/")).content

        settings.MIDDLEWARE = [GATHERING]
        assert asyncio.run(request()) == b"0"
        assert bucket.peek() == ["before", "done", "done, from async code", "after"]

    def test_view_that_fails_has_its_events_sent_by_the_middleware(
        self, bucket: Bucket, settings: Settings
    ) -> None:
        settings.MIDDLEWARE = [GATHERING]
        client = Client(raise_request_exception=False)
        assert client.get("/sync/?event=a&fail=1").status_code == 500
        assert bucket.peek() == ["a"]

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_answer_stands_when_redis_is_away(
        self, unreachable: str, settings: Settings, caplog: pytest.LogCaptureFixture, kind: str
    ) -> None:
        settings.MIDDLEWARE = [GATHERING]

        async def view(request: HttpRequest) -> HttpResponse:
            await Bucket("orders").aappend(1)
            return HttpResponse("ready")

        def sync_view(request: HttpRequest) -> HttpResponse:
            Bucket("orders").append(1)
            return HttpResponse("ready")

        async def request() -> bytes:
            return (await AsyncClient().get("/")).content

        urls: Any = type("urls", (), {"urlpatterns": [path("", view)]})
        if kind == "sync":
            urls.urlpatterns = [path("", sync_view)]
        settings.ROOT_URLCONF = urls
        answer = asyncio.run(request()) if kind == "async" else Client().get("/").content
        assert answer == b"ready"
        assert "Bucket orders: 1 events are lost. Redis cannot be reached" in caplog.text


class TestTestCase:
    """A project's own tests, in a TestCase that rolls its transaction back."""

    @pytest.fixture
    def test_case(self) -> Iterator[type[TestCase]]:
        class Case(TestCase):
            databases = {"default", "other"}

            def runTest(self) -> None: ...  # noqa: N802

        Case.setUpClass()
        try:
            yield Case
        finally:
            Case.doClassCleanups()
            Case.tearDownClass()

    def test_captured_callbacks_send_what_was_appended_within(
        self, bucket: Bucket, test_case: type[TestCase]
    ) -> None:
        bucket.append("before the class' tests")
        with test_case.captureOnCommitCallbacks() as callbacks:
            bucket.append("never sent")
        assert len(callbacks) == 1
        for events in ([1], [2, 3]):
            bucket.append("outside")
            with test_case.captureOnCommitCallbacks(execute=True):
                for event in events:
                    with transaction.atomic():
                        bucket.append(event)
                rolled_back(appending=lambda: bucket.append("rolled back"))
        assert bucket.peek() == [1, 2, 3]

    def test_captured_callbacks_are_those_of_the_database(
        self, bucket: Bucket, test_case: type[TestCase]
    ) -> None:
        with test_case.captureOnCommitCallbacks(using="other", execute=True):
            bucket.append(1, using="other")
        assert bucket.peek() == [1]


class TestFailure:
    def test_goes_to_the_caller_if_one_of_several_waits_for_it(
        self, unreachable: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(BufferUnavailable), gathered():
            with transaction.atomic():
                Bucket("orders").extend([1, 2])
                Bucket("orders").extend([3, 4])
            Bucket("orders").append(5)
        assert "Bucket orders: 4 events are lost." in caplog.text

    def test_never_hides_the_error_of_an_async_block(
        self, bucket: Bucket, unreachable: str
    ) -> None:
        async def write() -> None:
            async with gathered():
                await bucket.aappend(1)
                raise Undo

        with pytest.raises(Undo):
            asyncio.run(write())

    def test_of_a_forked_child_waits_for_no_thread_of_its_parent(self) -> None:
        with losses._lock:
            if not (pid := os.fork()):
                os._exit(0 if losses._lock.acquire(blocking=False) else 1)
        assert os.waitpid(pid, 0)[1] == 0

    @pytest.mark.parametrize("choice", [None, "drop"])
    def test_after_a_commit_is_logged_and_the_rest_goes_on(
        self, bucket: Bucket, unreachable: str, caplog: pytest.LogCaptureFixture, choice: str | None
    ) -> None:
        ran: list[int] = []
        with transaction.atomic():
            Group.objects.create(name="kept")
            Bucket("orders", on_unavailable=choice).extend([1, 2, 3])
            transaction.on_commit(lambda: ran.append(1))
        assert ran == [1]
        assert Group.objects.exists()
        assert "Bucket orders: 3 events are lost. Redis cannot be reached" in caplog.text

    def test_of_a_handle_follows_the_options_of_that_handle(
        self, unreachable: str, tmp_path: Path
    ) -> None:
        """Another handle of the bucket, with other options, appends first in the transaction."""
        spilling = Bucket("orders", on_unavailable="spill", spill_dir=tmp_path)
        with transaction.atomic():
            Bucket("orders").append("plain")
            spilling.append("precious")
            Bucket("orders").append("plain")
        opened = spill(tmp_path)
        sent: list[bytes] = []
        opened.forward(spilling.key, lambda events, stamp: sent.extend(events))
        opened.close()
        assert sent == [b'"precious"']

    def test_of_a_handle_that_says_raise_is_not_decided_by_another(self) -> None:
        lenient = Bucket("orders", max_pending=1, overflow="drop_newest")
        strict = Bucket("orders", max_pending=1, on_unavailable="raise")
        lenient.append(0)
        with pytest.raises(BucketFull), gathered():
            lenient.append("plain")
            strict.append("precious")

    def test_after_a_commit_tells_no_event(self, caplog: pytest.LogCaptureFixture) -> None:
        def refuse(event: Any) -> None:
            raise ValueError(f"{event} is no good")

        caplog.set_level("INFO", logger="django_jsonbuffer")
        bucket = Bucket("orders", schema=refuse)
        Destination(bucket._definition).append_recorded([{"card": "4111-1111"}], using=None)
        assert "1 events are lost. An event was refused with ValueError" in caplog.text
        assert "4111" not in caplog.text

    def test_while_spilling_an_interrupt_is_logged_for_all_that_was_not_sent(
        self,
        unreachable: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def interrupted(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Spill, "put", interrupted)
        with pytest.raises(KeyboardInterrupt), transaction.atomic():
            Bucket("orders", on_unavailable="spill", spill_dir=tmp_path).append(1)
            Bucket("others").extend([2, 3])
        assert "Bucket orders: 1 events are lost" in caplog.text
        assert "Bucket others: 2 events are lost" in caplog.text

    def test_after_a_commit_raises_if_the_bucket_says_so(
        self, unreachable: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(BufferUnavailable), transaction.atomic():
            Group.objects.create(name="kept")
            Bucket("orders", on_unavailable="raise").append(1)
        assert Group.objects.exists()
        assert "Bucket orders: 1 events are lost." in caplog.text
        assert caplog.records[-1].name == "django_jsonbuffer"

    def test_at_once_raises_if_not_told_otherwise(
        self, unreachable: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        for choice in (None, "raise"):
            with pytest.raises(BufferUnavailable):
                Bucket("orders", on_unavailable=choice).append(1)
            with pytest.raises(BufferUnavailable), transaction.atomic():
                Bucket("orders", on_unavailable=choice).append(1, now=True)
        assert not caplog.records
        Bucket("orders", on_unavailable="drop").append(1)
        assert "1 events are lost" in caplog.text

    def test_at_the_end_of_gathered_raises(
        self, bucket: Bucket, unreachable: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(BufferUnavailable), gathered():
            bucket.append(1)
        assert not caplog.records

    @pytest.mark.parametrize("choice", [None, "raise", "drop"])
    def test_never_hides_the_error_of_the_block(
        self, unreachable: str, caplog: pytest.LogCaptureFixture, choice: str | None
    ) -> None:
        with pytest.raises(Undo), gathered():
            Bucket("orders", on_unavailable=choice).append(1)
            raise Undo
        assert "Bucket orders: 1 events are lost." in caplog.text

    def test_of_what_was_committed_within_gathered_is_logged(
        self, bucket: Bucket, unreachable: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with gathered(), transaction.atomic():
            bucket.append(1)
        assert "1 events are lost" in caplog.text

    def test_that_is_no_outage_is_logged_after_a_commit_only(
        self, bucket: Bucket, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        client_of_server.lpush(bucket.key, "theirs")
        with transaction.atomic():
            bucket.append(1)
        assert "1 events are lost. A key" in caplog.text
        with pytest.raises(KeyOccupied):
            Bucket("orders", on_unavailable="drop").append(1)

    def test_of_one_bucket_leaves_the_others_alone(
        self, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        first, second, third = Bucket("first"), Bucket("second"), Bucket("third")
        for occupied in (first, third):
            client_of_server.lpush(occupied.key, "theirs")
        with pytest.raises(KeyOccupied, match="first"), gathered():
            for bucket in (first, second, third):
                bucket.append(1)
        assert second.peek() == [1]

    def test_that_is_not_raised_is_logged(
        self, unreachable: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        first, second = Bucket("first"), Bucket("second")
        with pytest.raises(BufferUnavailable, match="first"), gathered():
            first.append(1)
            second.extend([1, 2])
        assert [record.getMessage()[:32] for record in caplog.records] == [
            "Bucket second: 2 events are lost"
        ]

    @pytest.mark.parametrize("error", [OSError("x"), TypeError("nonsense"), MemoryError()])
    def test_of_an_unforeseen_kind_is_logged_after_a_commit(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise error

        monkeypatch.setattr(Store, "append", fail)
        with transaction.atomic():
            Bucket("first").append(1)
            Bucket("second").append(1)
        for name in ("first", "second"):
            assert f"Bucket {name}: 1 events are lost. {error!r}" in caplog.text
        with pytest.raises(type(error)):
            Bucket("first").append(1)

    def test_by_an_interrupt_is_logged_for_all_that_was_not_sent(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent = Bucket("sent")
        append = Store.append

        def interrupted(store: Store, *args: Any, **kwargs: Any) -> None:
            if store.name == "interrupted":
                raise KeyboardInterrupt
            append(store, *args, **kwargs)

        monkeypatch.setattr(Store, "append", interrupted)
        with pytest.raises(KeyboardInterrupt), gathered():
            with transaction.atomic():
                for bucket in (sent, Bucket("interrupted"), Bucket("never")):
                    bucket.append(1)
            Bucket("never").append("whose caller hears of it")
        assert sent.peek() == [1]
        for name in ("interrupted", "never"):
            assert f"Bucket {name}: 1 events are lost. KeyboardInterrupt()" in caplog.text

    def test_of_another_function_on_commit_does_not_keep_events_back(self, bucket: Bucket) -> None:
        def fail() -> None:
            raise Undo

        with pytest.raises(Undo), transaction.atomic():
            transaction.on_commit(fail)
            bucket.append(1)
        assert bucket.peek() == [1]

    def test_is_counted_in_the_bucket_when_redis_is_back(
        self, private_server: Redis, configure: Callable[..., None], settings: Settings
    ) -> None:
        bucket = Bucket("orders")
        bucket.append(1)
        private_server.config_set("maxmemory", 1)
        for _ in range(2):
            with transaction.atomic():
                bucket.extend([2, 3])
        assert bucket.status().lost == 0
        private_server.config_set("maxmemory", 0)
        another = Bucket("another")
        another.append(1)
        assert bucket.status().lost == another.status().lost == 0
        bucket.append(4)
        assert bucket.status().lost == 4
        bucket.append(5)
        assert bucket.status().lost == 4
        assert bucket.peek() == [1, 4, 5]

    def test_of_the_count_itself_is_made_up_for(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = bucket._definition.parts.store
        losses._add(store, 3)
        with monkeypatch.context() as broken:
            broken.setattr(losses, "count_lost", _refuse)
            bucket.append(1)
        assert bucket.status().lost == 0
        bucket.append(2)
        assert bucket.status().lost == 3

    def test_is_not_counted_again_by_a_forked_child(self, bucket: Bucket) -> None:
        bucket.append(1)
        losses._add(bucket._definition.parts.store, 3)
        if not (pid := os.fork()):
            try:
                Bucket("orders").append(2)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert bucket.peek() == [1, 2]
        assert bucket.status().lost == 0


def _refuse(*args: object) -> None:
    raise BufferUnavailable
