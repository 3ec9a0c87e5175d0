import asyncio
import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import transaction
from django.dispatch import receiver

from django_jsonbuffer import Batch, Bucket, gathered
from django_jsonbuffer.exceptions import BucketFull, BufferUnavailable, InvalidEvent
from django_jsonbuffer.recording.destination import Destination
from django_jsonbuffer.signals import (
    batch_failed,
    batch_processed,
    bucket_full,
    events_buried,
    events_dropped,
    is_receiving,
)
from tests.draining.drains import drain_all, impatient, refuse, refuse_all
from tests.prepared import drain_of
from tests.server import Redis
from tests.signals import Heard, listening, receivers_are_temporary
from tests.threads import at_once

FULL: dict[str, Any] = {"max_pending": 2}


@pytest.fixture
def heard() -> Iterator[list[Heard]]:
    with listening() as heard:
        yield heard


@pytest.fixture(autouse=True)
def _receivers_are_temporary() -> Iterator[None]:
    with receivers_are_temporary():
        yield


def names(heard: list[Heard]) -> list[str]:
    return [each.name for each in heard]


def of(heard: list[Heard], name: str) -> list[Heard]:
    return [each for each in heard if each.name == name]


class TestBatchProcessed:
    def test_is_sent_after_the_ack(self, heard: list[Heard]) -> None:
        bucket, seen, waiting = Bucket("orders"), [], []

        def store(batch: Batch) -> None:
            seen.append(batch)
            time.sleep(0.05)

        @receiver(batch_processed)
        def look(sender: str, **facts: Any) -> None:
            waiting.append(Bucket(sender).status().in_flight)

        bucket.processor(store)
        bucket.extend([1, 2, 3])
        bucket.drain()
        [signal], [batch] = heard, seen
        assert (signal.name, signal.sender) == ("batch_processed", "orders")
        assert 0.05 <= signal.facts.pop("seconds") < 5
        assert signal.facts == {"batch_id": batch.id, "attempt": 1, "count": 3}
        assert waiting == [0]

    @pytest.mark.django_db(transaction=True)
    def test_is_sent_outside_of_the_transaction_of_the_processor(self) -> None:
        bucket, open_ = Bucket("orders"), []

        @receiver(batch_processed)
        def look(sender: str, **facts: Any) -> None:
            open_.append(transaction.get_connection().in_atomic_block)
            assert Group.objects.exists()

        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            Group.objects.create(name="kept")

        bucket.append(1)
        bucket.drain()
        assert open_ == [False]

    def test_counts_without_those_that_were_rejected(self, heard: list[Heard]) -> None:
        bucket, error = Bucket("orders"), ValueError("no good")

        @bucket.processor
        def reject(batch: Batch) -> None:
            batch.reject("c", "too late")
            batch.reject("a", error)

        bucket.extend(["a", "b", "c"])
        bucket.drain()
        processed, buried = heard
        assert (processed.name, processed.count) == ("batch_processed", 1)
        assert (buried.name, buried.count, buried.reason) == ("events_buried", 2, "rejected")
        assert buried.errors == [error, "too late"]
        assert (buried.batch_id, buried.attempt) == (processed.batch_id, 1)
        assert bucket.status().dead == 2

    def test_is_not_sent_when_another_worker_has_the_batch(self, heard: list[Heard]) -> None:
        bucket = impatient()

        @bucket.processor
        def lose_lease(batch: Batch) -> None:
            store = bucket._definition.parts.store
            assert store.claim("heir", lease=timedelta(0), linger=None).claim is not None

        bucket.append(1)
        bucket.drain()
        assert heard == []


class TestBatchFailed:
    def test_says_what_failed_and_what_became_of_the_batch(self, heard: list[Heard]) -> None:
        bucket = impatient(max_attempts=2)
        refuse(bucket, "bad")
        bucket.extend(["good", "bad", "better", "best"])
        drain_all(bucket)
        failures = of(heard, "batch_failed")
        assert [(each.count, each.outcome) for each in failures[:2]] == [
            (4, "halved"),
            (2, "halved"),
        ]
        assert {each.outcome for each in failures[2:-1]} == {"kept"}
        assert failures[-1].outcome == "buried"
        assert all(type(each.error) is ValueError for each in failures)
        assert all(each.sender == "orders" and each.seconds >= 0 for each in failures)
        assert failures[-1].attempt == len(failures) - 2
        [buried] = of(heard, "events_buried")
        assert (buried.reason, buried.errors) == ("failed", [failures[-1].error])
        assert (buried.batch_id, buried.attempt) == (failures[-1].batch_id, failures[-1].attempt)

    def test_has_the_traceback(self, heard: list[Heard]) -> None:
        bucket = Bucket("orders")
        refuse_all(bucket)
        bucket.append(1)
        bucket.drain()
        [failure] = heard
        assert failure.error.__traceback__ is not None

    def test_of_an_outage(self, heard: list[Heard]) -> None:
        bucket = Bucket("orders")
        refuse_all(bucket, error=ConnectionError)
        bucket.extend([1, 2])
        bucket.drain()
        assert {(each.name, each.outcome) for each in heard} == {("batch_failed", "outage")}

    def test_is_sent_when_another_worker_has_the_batch(self, heard: list[Heard]) -> None:
        bucket = impatient()

        @bucket.processor
        def fail_late(batch: Batch) -> None:
            store = bucket._definition.parts.store
            assert store.claim("heir", lease=timedelta(0), linger=None).claim is not None
            raise ValueError

        bucket.append(1)
        bucket.drain()
        [failure] = heard
        assert (failure.name, failure.outcome) == ("batch_failed", "lease_lost")


class TestEventsBuried:
    def test_of_another_client(self, heard: list[Heard], client_of_server: Redis) -> None:
        bucket = Bucket("orders")
        client_of_server.set(bucket.key, "no JSON")
        bucket.append(1)
        [buried] = heard
        assert (buried.name, buried.sender, buried.count) == ("events_buried", "orders", 1)
        assert (buried.reason, buried.batch_id, buried.attempt) == ("foreign", None, None)
        assert len(buried.errors) == bucket.status().dead == 1

    def test_that_cannot_be_read(self, heard: list[Heard], client_of_server: Redis) -> None:
        bucket = Bucket("orders")
        bucket.append(1)
        fields: Any = {"events": '["secret', "count": 3, "opened": 1}
        client_of_server.xadd(f"{bucket.key}:batches", fields)
        bucket.processor(lambda batch: None)
        bucket.drain()
        [buried] = of(heard, "events_buried")
        assert (buried.count, buried.reason, buried.attempt) == (1, "unreadable", 1)
        assert buried.errors == ["The batch cannot be read: JSONDecodeError."]

    def test_that_killed_their_workers(self, heard: list[Heard]) -> None:
        bucket = impatient()
        bucket.extend([1, 2, "killer", 3])

        def kill(batch: Batch) -> None:
            if "killer" in batch:
                raise KeyboardInterrupt  # without retire(), so that the lease runs out

        bucket.processor(kill)
        while bucket.status().batches:
            drain = drain_of(bucket, watch=True)
            with suppress(KeyboardInterrupt):
                while drain.step():
                    pass
            drain._lease.end()
        [buried] = of(heard, "events_buried")
        assert (buried.count, buried.reason) == (1, "killed")
        assert "workers died" in buried.errors[0]


class TestEventsDropped:
    def test_newest(self, heard: list[Heard]) -> None:
        bucket = Bucket("orders", overflow="drop_newest", **FULL)
        bucket.extend([1, 2])
        bucket.extend([3, 4])
        [dropped] = heard
        assert (dropped.name, dropped.sender) == ("events_dropped", "orders")
        assert dropped.facts == {"count": 2, "reason": "newest", "error": None}

    def test_oldest(self, heard: list[Heard]) -> None:
        bucket = Bucket("orders", overflow="drop_oldest", batch_size=1, **FULL)
        bucket.extend([1, 2])
        bucket.append(3)
        [dropped] = heard
        assert (dropped.name, dropped.sender) == ("events_dropped", "orders")
        assert dropped.facts == {"count": 1, "reason": "oldest", "error": None}

    @pytest.mark.django_db(transaction=True)
    def test_lost_after_a_commit(self, heard: list[Heard], unreachable: str) -> None:
        open_ = []

        @receiver(events_dropped)
        def look(sender: str, **facts: Any) -> None:
            open_.append(transaction.get_connection().in_atomic_block)

        with transaction.atomic():
            Bucket("orders").extend([1, 2])
            assert heard == []
        [dropped] = heard
        assert (dropped.name, dropped.count, dropped.reason) == ("events_dropped", 2, "lost")
        assert isinstance(dropped.error, BufferUnavailable)
        assert open_ == [False]

    def test_lost_by_choice(self, heard: list[Heard], unreachable: str) -> None:
        Bucket("orders", on_unavailable="drop").append(1)
        [dropped] = heard
        assert (dropped.count, dropped.reason) == (1, "lost")

    def test_lost_because_it_is_refused(self, heard: list[Heard]) -> None:
        recording = Destination(Bucket("orders")._definition)
        recording.append_recorded([object()], using=None)
        [dropped] = heard
        assert (dropped.count, dropped.reason) == (1, "lost")
        assert isinstance(dropped.error, InvalidEvent)


class TestBucketFull:
    def test_of_a_caller_who_gets_the_error(self, heard: list[Heard]) -> None:
        bucket = Bucket("orders", **FULL)
        with pytest.raises(BucketFull) as caught:
            bucket.extend([1, 2, 3])
        assert heard == [Heard("bucket_full", "orders", {"count": 3, "error": caught.value})]

    @pytest.mark.django_db(transaction=True)
    def test_of_one_who_does_not_is_also_a_loss(self, heard: list[Heard]) -> None:
        with transaction.atomic():
            Bucket("orders", **FULL).extend([1, 2, 3])
        assert names(heard) == ["bucket_full", "events_dropped"]
        assert [each.count for each in heard] == [3, 3]
        assert heard[1].error is heard[0].error

    def test_of_each_caller_of_a_group_commit(self, heard: list[Heard]) -> None:
        bucket = Bucket("orders", max_pending=100)
        refused: list[BucketFull] = []

        def append() -> None:
            for _ in range(50):
                try:
                    bucket.append(1)
                except BucketFull as error:
                    refused.append(error)

        at_once([append] * 8)
        assert len(refused) == 300
        assert {id(each.error) for each in heard} == {*map(id, refused)}


class TestReceivers:
    """A receiver never touches the way of an event."""

    def test_error_is_logged_and_the_batch_is_processed(
        self, caplog: pytest.LogCaptureFixture, heard: list[Heard]
    ) -> None:
        bucket = Bucket("orders")

        @receiver([batch_processed, batch_failed, events_buried])
        def fail(sender: str, **facts: Any) -> None:
            raise RuntimeError("of the receiver")

        refuse(bucket, "bad")
        bucket.extend(["good", "bad"])
        done = bucket.drain()
        assert (done.processed, done.failed) == (1, 2)
        assert caplog.text.count("of a signal failed with RuntimeError.") == 3
        assert sorted(names(heard)) == ["batch_failed", "batch_failed", "batch_processed"]

    def test_log_has_no_message_that_may_quote_an_event(
        self, caplog: pytest.LogCaptureFixture, configure: Callable[..., None]
    ) -> None:
        """The error of the processor is being handled, so it is in the chain of the other one."""
        configure(LOG_ERRORS=False)

        @receiver(batch_failed)
        def fail(sender: str, error: BaseException, **facts: Any) -> None:
            raise RuntimeError(f"cannot report {error}")

        refuse(Bucket("orders"), "bad", message="card 4111")
        Bucket("orders").append("bad")
        Bucket("orders").drain()
        assert (
            f"the receiver {fail.__qualname__} of a signal failed with RuntimeError" in caplog.text
        )
        assert f'File "{__file__}"' in caplog.text
        assert "4111" not in caplog.text

    def test_error_does_not_reach_the_caller_of_an_append(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        @receiver(events_dropped)
        def fail(sender: str, **facts: Any) -> None:
            raise RuntimeError("of the receiver")

        bucket = Bucket("orders", overflow="drop_newest", **FULL)
        bucket.extend([1, 2, 3])
        assert "of a signal failed with RuntimeError." in caplog.text
        bucket.append(4)
        assert bucket.peek() == [4]

    def test_error_of_one_without_a_name_is_logged_too(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:

        def fail(text: str, **facts: Any) -> None:
            raise RuntimeError(text)

        nameless = functools.partial(fail, "of the receiver")
        bucket_full.connect(nameless)
        with pytest.raises(BucketFull):
            Bucket("orders", **FULL).extend([1, 2, 3])
        assert "of a signal failed with RuntimeError." in caplog.text

    @pytest.mark.parametrize("of_handle", [False, True], ids=["name", "handle"])
    def test_of_one_bucket(self, of_handle: bool) -> None:
        got: list[str] = []
        # Not the object that the bucket has, because Django compares senders by identity.
        name = "".join(["page", "-", "views"])
        sender = Bucket(name) if of_handle else name

        @receiver(batch_processed, sender=sender)
        def note(sender: str, **facts: Any) -> None:
            got.append(sender)

        for name in ("page-views", "orders"):
            bucket = Bucket("".join([*name]))
            bucket.processor(lambda batch: None)
            bucket.append(1)
            bucket.drain()
        assert got == ["page-views"]
        assert batch_processed.disconnect(note, sender="".join(["page-", "views"]))

    def test_that_appends_is_not_called_again(self) -> None:
        bucket, calls = Bucket("orders", overflow="drop_newest", **FULL), []

        @receiver(events_dropped)
        def append(sender: str, **facts: Any) -> None:
            calls.append(facts["count"])
            assert is_receiving()
            Bucket(sender, overflow="drop_newest", **FULL).extend([1, 2, 3, 4])

        bucket.extend([1, 2, 3])
        assert calls == [3]
        assert bucket.status().dropped.newest == 7
        assert not is_receiving()

    def test_that_drains_is_not_called_again(self) -> None:
        bucket, calls = Bucket("orders"), []
        bucket.processor(lambda batch: None)

        @receiver(batch_processed)
        def drain(sender: str, **facts: Any) -> None:
            calls.append(sender)
            bucket.append(2)
            bucket.drain()

        bucket.append(1)
        bucket.drain()
        assert calls == ["orders"]
        assert bucket.status().processed == 2

    @pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest", "raise"])
    def test_that_append_in_eight_threads(self, overflow: str) -> None:
        """Each drop is announced once, and not what receivers drop. Nobody waits for ever."""
        options: dict[str, Any] = {"overflow": overflow, "max_pending": 20, "batch_size": 5}
        counts: dict[str, int] = {"dropped": 0, "full": 0, "refused": 0}
        lock = threading.Lock()

        def note(what: str, count: int) -> None:
            with lock:
                counts[what] += count

        @receiver([events_dropped, bucket_full])
        def append(sender: str, signal: Any, **facts: Any) -> None:
            note("dropped" if signal is events_dropped else "full", facts["count"])
            try:
                Bucket("noticed").append(facts["count"])
                Bucket(sender, **options).append("of a receiver")
            except BucketFull:
                note("refused", 1)

        def appends() -> None:
            bucket = Bucket("orders", **options)
            for number in range(100):
                try:
                    bucket.append(number)
                except BucketFull:
                    note("refused", 1)

        began = time.monotonic()
        at_once([appends] * 8)
        assert time.monotonic() - began < 60
        status, signals = Bucket("orders").status(), Bucket("noticed").status().pending
        if overflow == "raise":
            assert counts["full"] == signals == 780
            assert counts["refused"] == 2 * 780
        elif overflow == "drop_newest":
            assert counts["dropped"] == signals == 780
            assert status.dropped.newest == 2 * 780
        else:
            # Events of receivers may drop the oldest, too, which is not announced.
            assert 0 < counts["dropped"] <= status.dropped.oldest
            assert status.dropped.oldest + status.pending == 800 + signals

    def test_none_costs_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def send(*args: Any, **facts: Any) -> None:
            raise AssertionError

        for signal in (batch_processed, events_dropped):
            monkeypatch.setattr(signal, "_send", send)
        bucket = Bucket("orders", overflow="drop_newest", **FULL)
        bucket.processor(lambda batch: None)
        bucket.extend([1, 2, 3])
        bucket.append(1)
        assert bucket.drain().processed == 1


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


class TestAsyncCode:
    def test_sync_receiver_does_not_block_the_loop(self) -> None:
        bucket, threads = Bucket("orders", overflow="drop_newest", **FULL), []
        goes_on = threading.Event()

        @receiver(events_dropped)
        def wait(sender: str, **facts: Any) -> None:
            goes_on.wait(10)
            threads.append(threading.get_ident())

        async def main() -> None:
            await bucket.aextend([1, 2, 3])
            await asyncio.sleep(0)
            assert not threads
            goes_on.set()
            await until(lambda: threads)

        asyncio.run(main())
        assert threads != [threading.get_ident()]

    def test_async_receiver_runs_in_the_loop(self) -> None:
        bucket, loops = Bucket("orders", **FULL), list[Any]()

        @receiver(bucket_full)
        async def note(sender: str, **facts: Any) -> None:
            loops.append(asyncio.get_running_loop())

        async def main() -> None:
            with pytest.raises(BucketFull):
                await bucket.aextend([1, 2, 3])
            await until(lambda: loops)
            assert loops == [asyncio.get_running_loop()]

        asyncio.run(main())

    def test_async_receiver_of_sync_code_is_called_too(self) -> None:
        bucket, calls = Bucket("orders", overflow="drop_newest", **FULL), []

        @receiver(events_dropped)
        async def append(sender: str, **facts: Any) -> None:
            calls.append(facts["count"])
            await bucket.aextend([1, 2, 3, 4])

        bucket.extend([1, 2, 3])
        async_to_sync(bucket.aextend)([1, 2, 3])
        assert calls == [3, 3]
        assert bucket.status().dropped.newest == 14

    @pytest.mark.parametrize("way", ["drain", "adrain", "adrain of sync code"])
    def test_async_receiver_of_a_worker(self, way: str) -> None:
        bucket, calls = Bucket("orders"), list[int]()

        @receiver(batch_processed)
        async def note(sender: str, **facts: Any) -> None:
            await asyncio.sleep(0)
            calls.append(facts["count"])

        @bucket.processor
        async def store(batch: Batch) -> None:
            await asyncio.sleep(0)

        bucket.extend([1, 2])
        if way == "drain":
            bucket.drain()
        elif way == "adrain":
            asyncio.run(bucket.adrain())
        else:
            async_to_sync(bucket.adrain)()
        assert calls == [2]

    def test_sync_append_in_a_loop(self) -> None:
        bucket, calls = Bucket("orders", overflow="drop_newest", **FULL), []

        @receiver(events_dropped)
        async def note(sender: str, **facts: Any) -> None:
            calls.append(facts["count"])

        async def main() -> None:
            bucket.extend([1, 2, 3])
            await until(lambda: calls)

        asyncio.run(main())
        assert calls == [3]

    def test_error_of_a_receiver_reaches_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        bucket, calls = Bucket("orders", overflow="drop_newest", **FULL), list[str]()

        def fail(calls: list[str], **facts: Any) -> None:
            calls.append("called")
            raise RuntimeError("of the receiver")

        nameless = functools.partial(fail, calls)
        events_dropped.connect(nameless)

        async def main() -> None:
            await bucket.aextend([1, 2, 3])
            await until(lambda: "RuntimeError" in caplog.text)

        asyncio.run(main())
        assert "of a signal failed with RuntimeError." in caplog.text

    @pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
    def test_receivers_that_append_are_not_called_again(self, is_async: bool) -> None:
        """Group commit sends the events of many tasks in a task of its own."""
        options: dict[str, Any] = {"overflow": "drop_newest", "max_pending": 20}
        bucket, counts, extra = Bucket("orders", **options), [], 4

        def append(sender: str, **facts: Any) -> None:
            counts.append(facts["count"])
            Bucket(sender, **options).extend([0] * extra)

        async def aappend(sender: str, **facts: Any) -> None:
            counts.append(facts["count"])
            await bucket.aextend([0] * extra)

        events_dropped.connect(aappend if is_async else append)

        async def main() -> None:
            for _ in range(20):
                await asyncio.gather(*map(bucket.aappend, range(10)))
            await until(lambda: sum(counts) == 180)
            await until(lambda: bucket.status().dropped.newest == 180 + extra * len(counts))
            await asyncio.sleep(0.1)

        asyncio.run(main())
        assert sum(counts) == 180

    def test_what_is_gathered_is_announced_at_the_end(self, heard: list[Heard]) -> None:
        async def main() -> None:
            with pytest.raises(BucketFull):
                async with gathered():
                    await Bucket("orders", **FULL).aextend([1, 2, 3])
                    assert heard == []
            await until(lambda: heard)

        asyncio.run(main())
        assert names(heard) == ["bucket_full"]
