import os
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending import losses
from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable, InvalidEvent
from django_jsonbuffer.recording.destination import Destination
from django_jsonbuffer.store.status import read_status
from tests.server import Redis
from tests.stamps import a_stamp
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class Unprintable(Exception):
    def __repr__(self) -> str:
        return "two\nlines"


UNDECIDED = AppendUndecided("perhaps", stamp=a_stamp(), retry=lambda: None)


class TestLose:
    @pytest.mark.parametrize(
        ("error", "text", "is_ours"),
        [
            (BufferUnavailable("away\n now"), "Bucket orders: 3 events are lost. away now", True),
            (UNDECIDED, "Bucket orders: 3 events may be lost. perhaps", True),
            (OSError("x"), f"Bucket orders: 3 events are lost. OSError('x') at {__file__}:", False),
            (Unprintable(), "3 events are lost. two lines at ", False),
            (KeyboardInterrupt(), "3 events are lost. KeyboardInterrupt() at ", False),
        ],
        ids=["refusal", "undecided", "unforeseen", "of two lines", "interrupt"],
    )
    def test_logs_in_one_line_how_many_and_why_and_where(
        self,
        bucket: Bucket,
        caplog: pytest.LogCaptureFixture,
        error: BaseException,
        text: str,
        is_ours: bool,
    ) -> None:
        with pytest.raises(type(error)):
            raise error
        with caplog.at_level("DEBUG", "django_jsonbuffer"):
            losses.lose(bucket._definition.parts.store, 3, error)
        *details, record = caplog.records
        assert (record.levelname, record.name) == ("ERROR", "django_jsonbuffer")
        assert text in record.getMessage()
        assert "\n" not in caplog.handler.format(record)
        assert [bool(detail.exc_info) for detail in details] == ([] if is_ours else [True])

    def test_shows_the_cause_of_a_refused_event_for_debugging_alone(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        error = InvalidEvent("refused")
        error.__cause__ = ValueError("card 4111")
        with caplog.at_level("DEBUG", "django_jsonbuffer"):
            losses.lose(bucket._definition.parts.store, 1, error)
        shown = {record.levelname: caplog.handler.format(record) for record in caplog.records}
        assert set(shown) == {"DEBUG", "ERROR"}
        assert "4111" in shown["DEBUG"]
        assert "4111" not in shown["ERROR"]


class TestReport:
    def test_counts_the_events_of_that_bucket_once(self) -> None:
        stores = [Bucket(name)._definition.parts.store for name in ("orders", "others")]
        for store in stores:
            losses.lose(store, 2, BufferUnavailable("away"))
            losses.lose(store, 3, BufferUnavailable("away"))
        losses.report(stores[0])
        losses.report(stores[0])
        assert [read_status(store).lost for store in stores] == [5, 0]
        assert dict(losses.unreported) == {stores[1].identity: 5}

    def test_of_nothing_asks_nobody(self, unreachable: str) -> None:
        losses.report(Bucket("orders")._definition.parts.store)

    def test_that_fails_is_made_up_for(
        self, private_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = Bucket("orders")._definition.parts.store
        losses.lose(store, 3, BufferUnavailable("away"))
        private_server.config_set("maxmemory", 1)
        losses.report(store)
        private_server.config_set("maxmemory", 0)
        losses.lose(store, 2, BufferUnavailable("away"))
        losses.report(store)
        assert read_status(store).lost == 5
        assert not losses.unreported

    def test_of_many_threads_counts_each_event_once(self, bucket: Bucket) -> None:
        store = bucket._definition.parts.store

        def lose_and_report() -> None:
            for _ in range(20):
                losses.lose(store, 1, BufferUnavailable("away"))
                losses.report(store)

        at_once([lose_and_report] * 8)
        losses.report(store)
        assert read_status(store).lost == 160
        assert not losses.unreported


class TestFailure:
    def test_of_a_forked_child_waits_for_no_thread_of_its_parent(self) -> None:
        with losses._lock:
            if not (pid := os.fork()):
                os._exit(0 if losses._lock.acquire(blocking=False) else 1)
        assert os.waitpid(pid, 0)[1] == 0

    def test_after_a_commit_tells_no_event(self, caplog: pytest.LogCaptureFixture) -> None:
        def refuse(event: Any) -> None:
            raise ValueError(f"{event} is no good")

        caplog.set_level("INFO", logger="django_jsonbuffer")
        bucket = Bucket("orders", schema=refuse)
        Destination(bucket._definition).append_recorded([{"card": "4111-1111"}], using=None)
        assert "1 events are lost. An event was refused with ValueError" in caplog.text
        assert "4111" not in caplog.text

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
