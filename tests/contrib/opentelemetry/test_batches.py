"""The span of a batch."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from django_jsonbuffer import Batch, Bucket
from tests.contrib.opentelemetry.conftest import Traced, context_of, linked, without_system
from tests.draining.drains import drain_all, impatient


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders")


def current() -> Any:
    return trace.get_current_span()


class TestSpan:
    def test_follows_the_conventions(self, traced: Traced, bucket: Bucket) -> None:
        batches = list[Batch]()
        bucket.processor(batches.append)
        bucket.extend([1, 2, 3])
        bucket.drain()
        span = traced.one("process orders")
        assert span.kind is SpanKind.CONSUMER
        assert span.status.status_code is StatusCode.UNSET
        assert without_system(span) == {
            "messaging.batch.message_count": 3,
            "messaging.jsonbuffer.batch.id": batches[0].id,
            "messaging.jsonbuffer.batch.attempt": 1,
            "messaging.jsonbuffer.batch.linked_count": 3,
        }

    def test_begins_a_trace_of_its_own(self, traced: Traced, bucket: Bucket) -> None:
        bucket.processor(lambda batch: None)
        with traced.span("request"):
            bucket.append(1)
        bucket.drain()
        span = traced.one("process orders")
        assert span.parent is None
        assert linked(span) == [context_of(traced.one("send orders"))]
        assert span.links[0].context.is_remote

    def test_is_a_child_of_the_task_that_drains(self, traced: Traced, bucket: Bucket) -> None:
        bucket.processor(lambda batch: None)
        bucket.append(1)
        with traced.span("task"):
            bucket.drain()
        assert traced.one("process orders").parent == traced.one("task").get_span_context()

    @pytest.mark.parametrize("options", [{}, {"processor_timeout": timedelta(minutes=1)}])
    def test_is_the_current_one_of_the_processor(
        self, traced: Traced, options: dict[str, Any]
    ) -> None:
        bucket = Bucket("orders", **options)

        @bucket.processor
        def store(batch: Batch) -> None:
            assert current().name == "process orders"
            with traced.span("query"):
                pass

        bucket.append(1)
        assert bucket.drain().processed == 1
        own = traced.one("process orders").get_span_context()
        assert traced.one("query").parent == own
        assert not current().get_span_context().is_valid

    @pytest.mark.parametrize("options", [{}, {"processor_timeout": timedelta(minutes=1)}])
    def test_is_the_current_one_of_an_async_processor(
        self, traced: Traced, options: dict[str, Any]
    ) -> None:
        bucket = Bucket("orders", **options)

        @bucket.processor
        async def store(batch: Batch) -> None:
            await asyncio.sleep(0)
            with traced.span("query"):
                await asyncio.sleep(0)

        bucket.append(1)
        assert bucket.drain().processed == 1
        assert traced.one("query").parent == traced.one("process orders").get_span_context()

    @pytest.mark.django_db(transaction=True)
    def test_covers_the_transaction(self, traced: Traced, bucket: Bucket) -> None:
        def store(batch: Batch) -> None:
            assert current().name == "process orders"

        bucket.processor(store, atomic="default")
        bucket.append(1)
        assert bucket.drain().processed == 1
        assert len(traced.named("process orders")) == 1

    def test_counts_rejected_events(self, traced: Traced, bucket: Bucket) -> None:
        bucket.processor(lambda batch: batch.reject(2, "no"))
        bucket.extend([1, 2])
        bucket.drain()
        span = traced.one("process orders")
        attributes = without_system(span)
        assert attributes["messaging.jsonbuffer.batch.rejected_count"] == 1
        assert span.status.status_code is StatusCode.UNSET

    def test_of_events_that_were_not_traced_has_no_links(
        self, traced: Traced, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket.processor(lambda batch: None)
        with monkeypatch.context() as patch:
            patch.setattr("django_jsonbuffer.tracing.tracer", None)
            bucket.append(1)
        bucket.append(2)
        bucket.drain()
        span = traced.one("process orders")
        assert linked(span) == [context_of(traced.one("send orders"))]
        assert without_system(span)["messaging.jsonbuffer.batch.linked_count"] == 1


class TestFailure:
    def test_is_recorded(self, traced: Traced, bucket: Bucket) -> None:
        @bucket.processor
        def store(batch: Batch) -> None:
            raise ValueError("no such order")

        bucket.append(1)
        assert bucket.drain().failed == 1
        span = traced.named("process orders")[0]
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "ValueError: no such order"
        assert without_system(span)["error.type"] == "ValueError"
        [event] = span.events
        assert event.name == "exception"
        attributes = dict(event.attributes or {})
        assert attributes["exception.message"] == "no such order"
        assert "in store" in str(attributes["exception.stacktrace"])

    def test_by_the_exit_of_the_processor_is_recorded(self, traced: Traced, bucket: Bucket) -> None:
        @bucket.processor
        def store(batch: Batch) -> None:
            raise SystemExit(3)

        bucket.append(1)
        assert bucket.drain().failed == 1
        assert traced.named("process orders")[0].status.description == "SystemExit: 3"

    @pytest.mark.parametrize("hides", ["redact", "LOG_ERRORS"])
    def test_has_no_message_if_the_log_has_none(
        self, traced: Traced, configure: Any, hides: str
    ) -> None:
        if hides == "LOG_ERRORS":
            configure(LOG_ERRORS=False)
        bucket = Bucket("orders", **({"redact": lambda event: None} if hides == "redact" else {}))

        @bucket.processor
        def store(batch: Batch) -> None:
            raise ValueError("a secret")

        bucket.append(1)
        assert bucket.drain().failed == 1
        span = traced.named("process orders")[0]
        assert span.status.description == "ValueError"
        assert without_system(span)["error.type"] == "ValueError"
        assert "secret" not in span.to_json()

    def test_whose_message_cannot_be_read_is_recorded(self, traced: Traced, bucket: Bucket) -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        @bucket.processor
        def store(batch: Batch) -> None:
            raise Mute

        bucket.append(1)
        assert bucket.drain().failed == 1
        assert without_system(traced.named("process orders")[0])["error.type"].endswith("Mute")

    def test_leaves_each_event_its_own_link_when_the_batch_is_halved(self, traced: Traced) -> None:
        bucket = impatient()

        @bucket.processor
        def store(batch: Batch) -> None:
            if 3 in batch:
                raise ValueError

        for number in range(4):
            bucket.append(number)
        drain_all(bucket)
        sent = [context_of(span) for span in traced.named("send orders")]
        whole, *pieces = traced.named("process orders")
        assert linked(whole) == sent
        alone = [linked(span) for span in pieces if len(span.links) == 1]
        assert [sent[2]] in alone
        assert [sent[3]] in alone

    def test_leaves_a_dead_letter_its_own_link(self, traced: Traced, bucket: Bucket) -> None:
        bucket.processor(lambda batch: batch.reject(batch[1], "no") if len(batch) > 1 else None)
        for number in range(3):
            bucket.append(number)
        bucket.drain()
        [letter] = bucket.dead
        sent = [context_of(span) for span in traced.named("send orders")]
        assert letter.traceparent == f"00-{sent[1]}-01"
        bucket.dead.replay(letter)
        bucket.drain()
        assert linked(traced.named("process orders")[-1]) == [sent[1]]
