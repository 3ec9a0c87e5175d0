import asyncio
import os
import time
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from pytest_django import Settings

from django_jsonbuffer import Bucket, gathered
from django_jsonbuffer.appending import gathering
from django_jsonbuffer.exceptions import BufferUnavailable, EventTooLarge
from django_jsonbuffer.limits import MAX_APPEND_BATCHES
from tests.appending.transactions import Undo, rolled_back
from tests.server import Redis, appends
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


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


class TestFailure:
    def test_never_hides_the_error_of_an_async_block(
        self, bucket: Bucket, unreachable: str
    ) -> None:
        async def write() -> None:
            async with gathered():
                await bucket.aappend(1)
                raise Undo

        with pytest.raises(Undo):
            asyncio.run(write())

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
