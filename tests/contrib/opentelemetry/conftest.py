"""A tracer of the SDK, whose spans stay in memory."""

from contextlib import AbstractContextManager
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import Span, format_span_id, format_trace_id

from django_jsonbuffer import tracing
from django_jsonbuffer.contrib.opentelemetry.spans import Spans


class Traced:
    """What the SDK exports, while the app is installed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, sampler: Sampler) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("tests")
        monkeypatch.setattr(tracing, "tracer", Spans(self.tracer))

    def span(self, name: str) -> AbstractContextManager[Span]:
        """A current span of the project."""
        return self.tracer.start_as_current_span(name)

    def named(self, name: str) -> list[ReadableSpan]:
        """The spans of this name that have ended, in the order of their ends."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Traced:
    return Traced(monkeypatch, ALWAYS_ON)


@pytest.fixture
def traced_as_parent(monkeypatch: pytest.MonkeyPatch) -> Traced:
    """Spans are sampled if their parent is."""
    return Traced(monkeypatch, ParentBased(ALWAYS_ON))


def context_of(span: ReadableSpan) -> str:
    """Trace and span, as they lie beside the events."""
    its: Any = span.get_span_context()
    return f"{format_trace_id(its.trace_id)}-{format_span_id(its.span_id)}"


def linked(span: ReadableSpan) -> list[str]:
    return [
        f"{format_trace_id(link.context.trace_id)}-{format_span_id(link.context.span_id)}"
        for link in span.links
    ]


def without_system(span: ReadableSpan) -> dict[str, Any]:
    """The attributes, without those that are the same in all spans."""
    attributes = dict(span.attributes or {})
    assert attributes.pop("messaging.system") == "jsonbuffer"
    assert attributes.pop("messaging.destination.name") == "orders"
    operation = span.name.partition(" ")[0]
    assert attributes.pop("messaging.operation.name") == operation
    assert attributes.pop("messaging.operation.type") == operation
    return attributes
