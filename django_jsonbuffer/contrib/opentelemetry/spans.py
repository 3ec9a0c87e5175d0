"""The spans of appends and batches, after OpenTelemetry's conventions for messaging."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from opentelemetry.context import attach, detach
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    format_span_id,
    format_trace_id,
    get_tracer,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from django_jsonbuffer.store.traces import Traces
from django_jsonbuffer.summaries import kind_of, summary_of
from django_jsonbuffer.tracing import Delivery

SYSTEM: Final = "jsonbuffer"

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


class Spans:
    """Makes the spans. See :class:`~django_jsonbuffer.tracing.Tracer`."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        # Of the API, this is a proxy until the project has set its provider.
        self._tracer = tracer or get_tracer("django_jsonbuffer")

    @contextmanager
    def appending(self, bucket: str, count: int) -> Iterator[str]:
        attributes = _attributes("send", bucket)
        if count > 1:
            attributes["messaging.batch.message_count"] = count
        name, kind = f"send {bucket}", SpanKind.PRODUCER
        span = self._tracer.start_span(name, kind=kind, attributes=attributes)
        with _current(span, with_messages=True):
            yield _context_of(span.get_span_context())

    @contextmanager
    def processing(self, batch: Delivery, traces: Traces, *, with_messages: bool) -> Iterator[None]:
        attributes = _attributes("process", batch.bucket) | {
            "messaging.batch.message_count": len(batch),
            "messaging.jsonbuffer.batch.id": batch.id,
            "messaging.jsonbuffer.batch.attempt": batch.attempt,
            "messaging.jsonbuffer.batch.linked_count": sum(run.length for run in traces.runs),
        }
        contexts = dict.fromkeys(run.context for run in traces.runs)
        span = self._tracer.start_span(
            f"process {batch.bucket}",
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[Link(_read(context)) for context in contexts],
        )
        with _current(span, with_messages=with_messages):
            yield
            if batch.rejected:
                span.set_attribute("messaging.jsonbuffer.batch.rejected_count", len(batch.rejected))


def _attributes(operation: str, bucket: str) -> dict[str, AttributeValue]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": bucket,
    }


@contextmanager
def _current(span: Span, *, with_messages: bool) -> Iterator[None]:
    """Make the span the current one of the block, and end it. Record what the block raises."""
    token = attach(set_span_in_context(span))
    try:
        yield
    except BaseException as error:
        span.set_attribute("error.type", kind_of(error))
        summary = summary_of(error, with_message=with_messages)
        span.set_status(Status(StatusCode.ERROR, summary))
        if with_messages:
            with suppress(Exception):  # the exception's __str__ may raise anything
                span.record_exception(error)
        raise
    finally:
        detach(token)
        span.end()


def _context_of(context: SpanContext) -> str:
    """The context as it lies beside the events. Empty if the span is not sampled.

    No backend would know that span, and a batch keeps only a number of contexts.
    """
    if not (context.is_valid and context.trace_flags.sampled):
        return ""
    return f"{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"


def _read(context: str) -> SpanContext:
    trace_id, _, span_id = context.partition("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=_SAMPLED)
