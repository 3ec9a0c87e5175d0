import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending import losses
from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable, InvalidEvent
from django_jsonbuffer.recording.destination import Destination
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.links import BLOCKING
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.server import Redis
from tests.stamps import a_stamp
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


async def never() -> None:
    raise NotImplementedError


UNDECIDED = AppendUndecided("perhaps", stamp=a_stamp(), retry=lambda: None, aretry=never)


def report(store: Store) -> None:
    finish(losses.report(store, BLOCKING))


def lose(bucket: Bucket, count: int, error: BaseException, *, of: str = "") -> None:
    parts = bucket._definition.parts
    losses.lose(parts.store, parts.options, count, error, of=of)


def raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)):
        raise error
    return error


def raised_by_us(error: BaseException) -> BaseException:
    with pytest.raises(type(error)):
        exec("raise error", {"__name__": losses.__name__, "error": error})
    return error


class TestLose:
    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (BufferUnavailable("away\n now"), "3 events are lost. away now"),
            (BufferUnavailable("a\x1b[2J"), "3 events are lost. a\\x1b[2J"),
            (UNDECIDED, "3 events may be lost. perhaps"),
        ],
        ids=["refusal", "with an escape", "undecided"],
    )
    def test_logs_in_one_line_how_many_and_why(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture, error: BaseException, text: str
    ) -> None:
        with caplog.at_level("DEBUG", "django_jsonbuffer"):
            lose(bucket, 3, raised_by_us(error))
        [record] = caplog.records
        assert (record.levelname, record.name) == ("ERROR", "django_jsonbuffer")
        assert record.getMessage() == f"Bucket orders: {text}"
        assert vars(record)["bucket"] == "orders"

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (OSError("x"), "are lost. OSError: x"),
            (OSError("two\nlines \x1b[2J"), "are lost. OSError: two lines \\x1b[2J"),
            (KeyboardInterrupt(), "may be lost. KeyboardInterrupt"),
            (BufferUnavailable("by a project"), "are lost. BufferUnavailable: by a project"),
        ],
        ids=["unforeseen", "of two lines", "interrupt", "of our class"],
    )
    def test_of_an_error_that_is_not_ours_logs_kind_message_and_place(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture, error: BaseException, text: str
    ) -> None:
        with caplog.at_level("DEBUG", "django_jsonbuffer"):
            lose(bucket, 3, raised(error))
        places, record = caplog.records
        assert f"Bucket orders: 3 events {text} at {__file__}:" in record.getMessage()
        assert "\n" not in caplog.handler.format(record)
        assert (places.levelname, vars(places)["bucket"]) == ("DEBUG", "orders")
        assert f'"{__file__}"' in places.getMessage()

    def test_of_an_error_of_ours_that_was_never_raised(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As one that refuses an append while Redis is away."""
        lose(bucket, 3, BufferUnavailable("away"))
        assert caplog.records[-1].getMessage() == "Bucket orders: 3 events are lost. away"

    def test_cuts_a_long_message(self, bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
        lose(bucket, 1, raised(OSError("x" * 10_000)))
        assert len(caplog.records[-1].getMessage()) < 600

    def test_logs_the_cause_of_a_refused_event(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        error = InvalidEvent("refused")
        error.__cause__ = raised(ValueError("no total"))
        lose(bucket, 1, raised_by_us(error))
        assert "An event was refused with ValueError: no total at" in caplog.text

    def test_logs_the_message_of_a_recorded_event_at_level_debug_alone(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        error = InvalidEvent("refused")
        error.__cause__ = raised(ValueError("no total"))
        lose(bucket, 1, raised_by_us(error), of="shop.Order")
        debug, line = (record.getMessage() for record in caplog.records)
        assert "An event of shop.Order was refused with ValueError at" in line
        assert "no total" not in line
        assert "ValueError: no total" in debug


class TestPrivacy:
    """The message of an error that is not ours may quote an event."""

    @pytest.fixture(params=["setting", "redact"])
    def options(
        self, request: pytest.FixtureRequest, configure: Callable[..., None]
    ) -> dict[str, Any]:
        if request.param == "redact":
            return {"redact": str}
        configure(LOG_ERRORS=False)
        return {}

    @pytest.fixture(autouse=True)
    def _all_levels(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG", logger="django_jsonbuffer")

    @pytest.mark.parametrize("kind", [ValueError, InvalidEvent, BufferUnavailable, SystemExit])
    @pytest.mark.parametrize("is_cause", [False, True])
    def test_no_line_has_the_message(
        self,
        caplog: pytest.LogCaptureFixture,
        options: dict[str, Any],
        kind: type[BaseException],
        is_cause: bool,
    ) -> None:
        error = raised(kind("card 4111"))
        if is_cause:
            refusal = InvalidEvent("card 4111 refused")
            refusal.__cause__ = error
            error = raised_by_us(refusal)
        lose(Bucket("orders", **options), 1, error)
        assert f"{kind.__name__} at {__file__}:" in caplog.text
        assert "4111" not in caplog.text

    def test_no_line_has_the_message_of_a_schema(
        self, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
    ) -> None:
        def refuse(event: Any) -> None:
            raise ValueError(f"{event} is no good")

        bucket = Bucket("orders", schema=refuse, **options)
        Destination(bucket._definition).append_recorded([{"card": "4111-1111"}], using=None)
        assert "1 events are lost. An event was refused with ValueError at" in caplog.text
        assert "4111" not in caplog.text

    def test_no_line_has_the_message_of_a_function_that_makes_events(
        self, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
    ) -> None:
        def make() -> Iterator[Any]:
            yield 1
            raise InvalidEvent("card 4111 is no good")

        bucket = Bucket("orders", **options)
        Destination(bucket._definition).append_recorded(make(), using=None)
        assert "An event was refused with InvalidEvent at" in caplog.text
        assert "4111" not in caplog.text
        assert bucket.peek() == [1]


class TestReport:
    def test_counts_the_events_of_that_bucket_once(self) -> None:
        buckets = [Bucket(name) for name in ("orders", "others")]
        for bucket in buckets:
            lose(bucket, 2, BufferUnavailable("away"))
            lose(bucket, 3, BufferUnavailable("away"))
        stores = [bucket._definition.parts.store for bucket in buckets]
        report(stores[0])
        report(stores[0])
        assert [read_status(store).lost for store in stores] == [5, 0]
        assert dict(losses.unreported) == {stores[1].identity: 5}

    def test_that_is_interrupted_is_made_up_for(
        self, client_of_server: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As by the end of an event loop, which cancels its tasks."""
        bucket = Bucket("orders")
        store = bucket._definition.parts.store
        lose(bucket, 3, BufferUnavailable("away"))

        async def cancelled(*args: object) -> None:
            raise asyncio.CancelledError

        with monkeypatch.context() as patch:
            patch.setattr(losses, "count_lost", cancelled)
            with pytest.raises(asyncio.CancelledError):
                report(store)
        report(store)
        assert read_status(store).lost == 3

    def test_of_nothing_asks_nobody(self, unreachable: str) -> None:
        report(Bucket("orders")._definition.parts.store)

    def test_that_fails_is_made_up_for(
        self, private_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket = Bucket("orders")
        store = bucket._definition.parts.store
        lose(bucket, 3, BufferUnavailable("away"))
        private_server.config_set("maxmemory", 1)
        report(store)
        private_server.config_set("maxmemory", 0)
        lose(bucket, 2, BufferUnavailable("away"))
        report(store)
        assert read_status(store).lost == 5
        assert not losses.unreported

    def test_of_many_threads_counts_each_event_once(self, bucket: Bucket) -> None:
        store = bucket._definition.parts.store

        def lose_and_report() -> None:
            for _ in range(20):
                lose(bucket, 1, BufferUnavailable("away"))
                report(store)

        at_once([lose_and_report] * 8)
        report(store)
        assert read_status(store).lost == 160
        assert not losses.unreported


class TestFailure:
    def test_of_a_forked_child_waits_for_no_thread_of_its_parent(self) -> None:
        with losses._lock:
            if not (pid := os.fork()):
                os._exit(0 if losses._lock.acquire(blocking=False) else 1)
        assert os.waitpid(pid, 0)[1] == 0

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
