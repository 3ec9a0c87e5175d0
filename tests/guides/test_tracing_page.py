"""The page about tracing: its examples, and its tables of spans and attributes."""

import re
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from django_jsonbuffer import Batch, Bucket, tracing
from django_jsonbuffer.contrib.opentelemetry.spans import Spans
from tests.guides.pages import DOCS, blocks

PAGE = (DOCS / "tracing.md").read_text()


def first_column(section: str) -> list[str]:
    """The names in the first column of the table of a section."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \| ", text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_examples_work(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tracing, "tracer", None)
    namespace: dict[str, Any] = {}
    for block in blocks(PAGE):
        if block.language == "python":
            exec(block.code, namespace)
    bucket = Bucket("orders", processor=lambda batch: None)
    bucket.extend([1, 2])
    assert bucket.drain().processed == 2
    assert re.fullmatch(r"2 events to orders: 0\.\d{6} s\n", capsys.readouterr().out)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> tuple[ReadableSpan, ...]:
    """The spans of an append, and of batches of which one fails and one rejects an event."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "tracer", Spans(provider.get_tracer("tests")))
    bucket = Bucket("orders")

    @bucket.processor
    def store(batch: Batch) -> None:
        if len(batch) > 1:
            raise ValueError
        batch.reject(batch[0], "no")

    bucket.extend([1, 2])
    bucket.drain()
    return exporter.get_finished_spans()


def test_table_has_each_span(spans: tuple[ReadableSpan, ...]) -> None:
    table = PAGE.partition("\n## Spans\n")[2].partition("\n\n- **")[0]
    rows = re.findall(r"^\| `(.*?)` \| ([A-Z]+) \|", table, re.MULTILINE)
    assert {(span.name, span.kind.name) for span in spans} == {*rows}


def test_table_has_each_attribute(spans: tuple[ReadableSpan, ...]) -> None:
    attributes = {name for span in spans for name in span.attributes or ()}
    assert attributes == {*first_column("Attributes")}
