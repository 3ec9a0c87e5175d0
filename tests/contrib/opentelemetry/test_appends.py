"""The span of an append, and its context beside the events."""

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import transaction
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from django_jsonbuffer import Bucket, gathered
from django_jsonbuffer.exceptions import BufferUnavailable
from tests.contrib.opentelemetry.conftest import Traced, context_of, linked, without_system
from tests.server import Redis


@pytest.fixture
def bucket() -> Bucket:
    bucket = Bucket("orders")
    bucket.processor(lambda batch: None)
    return bucket


def contexts(traced: Traced) -> list[str]:
    return [context_of(span) for span in traced.named("send orders")]


def links(traced: Traced, bucket: Bucket) -> list[str]:
    """Drain, and return the links of all batches."""
    bucket.drain()
    return [link for span in traced.named("process orders") for link in linked(span)]


class TestSpan:
    def test_follows_the_conventions(self, traced: Traced, bucket: Bucket) -> None:
        bucket.append(1)
        span = traced.one("send orders")
        assert span.kind is SpanKind.PRODUCER
        assert span.status.status_code is StatusCode.UNSET
        assert without_system(span) == {}

    def test_of_several_events_has_their_number(self, traced: Traced, bucket: Bucket) -> None:
        bucket.extend([1, 2, 3])
        span = traced.one("send orders")
        assert without_system(span) == {"messaging.batch.message_count": 3}

    def test_is_a_child_of_the_current_span(self, traced: Traced, bucket: Bucket) -> None:
        with traced.span("request"):
            bucket.append(1)
        parent = traced.one("send orders").parent
        assert parent is not None
        assert parent == traced.one("request").get_span_context()

    def test_of_an_append_in_async_code(self, traced: Traced, bucket: Bucket) -> None:
        async def append() -> None:
            with traced.span("request"):
                await bucket.aappend(1)
                assert trace.get_current_span().name == "request"  # type: ignore[attr-defined]

        asyncio.run(append())
        assert traced.one("send orders").parent == traced.one("request").get_span_context()

    def test_of_an_append_that_fails_says_why(
        self, traced: Traced, bucket: Bucket, unreachable: str
    ) -> None:
        with pytest.raises(BufferUnavailable):
            bucket.append(1)
        span = traced.one("send orders")
        assert span.status.status_code is StatusCode.ERROR
        assert (span.status.description or "").startswith("BufferUnavailable: ")
        assert without_system(span) == {"error.type": "BufferUnavailable"}
        assert [event.name for event in span.events] == ["exception"]


class TestContext:
    def test_lies_beside_the_events_and_not_in_them(
        self, traced: Traced, bucket: Bucket, client_of_server: Redis
    ) -> None:
        bucket.append({"number": 1})
        assert client_of_server.get(bucket.key) == b'[{"number":1}]'
        bucket._definition.parts.store.seal()
        [(_, fields)] = client_of_server.xrange(f"{bucket.key}:batches")
        assert fields[b"events"] == b'[{"number":1}]'
        assert fields[b"traces"].decode() == f"0 {contexts(traced)[0]}:0:1"
        assert bucket.peek() == [{"number": 1}]
        assert bucket.take() == [{"number": 1}]

    def test_of_each_append_becomes_a_link(self, traced: Traced, bucket: Bucket) -> None:
        bucket.append(1)
        bucket.extend([2, 3])
        assert links(traced, bucket) == contexts(traced)
        assert len(contexts(traced)) == 2

    @pytest.mark.django_db(transaction=True)
    def test_is_that_of_the_call_if_the_events_wait_for_a_commit(
        self, traced: Traced, bucket: Bucket
    ) -> None:
        with traced.span("commit"), transaction.atomic():
            with traced.span("first"):
                bucket.append(1)
            with traced.span("second"):
                bucket.append(2)
            assert bucket.status().pending == 0
        assert links(traced, bucket) == contexts(traced)
        parents = [span.parent for span in traced.named("send orders")]
        assert parents == [traced.one(name).get_span_context() for name in ("first", "second")]

    def test_is_that_of_the_call_if_the_events_are_gathered(
        self, traced: Traced, bucket: Bucket
    ) -> None:
        with gathered():
            bucket.append(1)
            bucket.append(2)
        assert links(traced, bucket) == contexts(traced)

    @pytest.mark.django_db(transaction=True)
    def test_is_kept_for_recorded_changes(self, traced: Traced, bucket: Bucket) -> None:
        bucket.record(Group)
        with traced.span("request"):
            Group.objects.create(name="a")
        assert traced.one("send orders").parent == traced.one("request").get_span_context()
        assert links(traced, bucket) == contexts(traced)

    def test_of_each_caller_is_kept_in_a_group_commit(self, traced: Traced, bucket: Bucket) -> None:
        async def append_all() -> None:
            await asyncio.gather(*(bucket.aappend(number) for number in range(20)))

        asyncio.run(append_all())
        assert sorted(links(traced, bucket)) == sorted(contexts(traced))
        assert len(contexts(traced)) == 20

    def test_of_each_thread_is_kept_in_a_group_commit(self, traced: Traced, bucket: Bucket) -> None:
        threads = [threading.Thread(target=bucket.append, args=[number]) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(links(traced, bucket)) == sorted(contexts(traced))
        assert len(contexts(traced)) == 20

    def test_is_kept_if_sync_code_waits_for_the_append(
        self, traced: Traced, bucket: Bucket
    ) -> None:
        async def append() -> None:
            with traced.span("request"):
                await sync_to_async(bucket.append)(1)

        asyncio.run(append())
        assert traced.one("send orders").parent == traced.one("request").get_span_context()
        assert links(traced, bucket) == contexts(traced)

    def test_of_a_parent_that_is_sampled_out_is_not_kept(
        self, traced_as_parent: Traced, bucket: Bucket, client_of_server: Redis
    ) -> None:
        out = trace.SpanContext(1, 1, is_remote=True, trace_flags=trace.TraceFlags(0))
        with trace.use_span(trace.NonRecordingSpan(out)):
            bucket.append(1)
        assert traced_as_parent.named("send orders") == []
        assert client_of_server.hget(f"{bucket.key}:appends", "traces") == b""
        assert links(traced_as_parent, bucket) == []
