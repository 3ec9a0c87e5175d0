"""Compare the sinks with what a project would write for each event.

Both get the same events in the same process, on PostgreSQL in autocommit, so that each commit waits
for the disk.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from time import perf_counter
from typing import Any, Final

from django.db import connections
from django.db.models import F, Model

from benchmarks.events import page_view
from benchmarks.models import PageView, ViewCount
from benchmarks.rounds import Comparison, Measure, Ratio, Scale
from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.contrib.receipts.models import Receipt
from django_jsonbuffer.sinks import Increment, Insert
from django_jsonbuffer.sinks.sink import Sink

ALIAS: Final = "postgresql"
BATCH: Final = 1000

CREATE: Final = "one create() per event"
INSERT: Final = "Insert"
UPDATE: Final = "one F() update per event"
INCREMENT: Final = "Increment"
WITHOUT: Final = "without receipts"
WITH: Final = "with receipts"


def comparisons(scale: Scale) -> Iterator[Comparison]:
    with _tables(PageView, ViewCount, Receipt):
        yield from _inserts(scale)
        yield from _receipts(scale)
        yield from _increments(scale)


def _inserts(scale: Scale) -> Iterator[Comparison]:
    batches, rounds = max(scale.count(20), 2), scale.rounds(9)
    yield Comparison(
        title=f"Rows of page views on PostgreSQL, {BATCH:,} events a batch",
        unit="µs per event",
        cases={
            CREATE: _timed(_create_each, _views(), batches=1),
            INSERT: _timed(partial(_process, Insert(PageView, using=ALIAS)), _views(), batches),
        },
        rounds=rounds,
        ratios=[Ratio(what=f"{CREATE} / {INSERT}", of=CREATE, to=INSERT, at_least=15)],
        clean_up=partial(_delete_all, PageView),
    )


def _receipts(scale: Scale) -> Iterator[Comparison]:
    batches, rounds = max(scale.count(20), 2), scale.rounds(9)
    yield Comparison(
        title=f"A drain with Insert on PostgreSQL, {BATCH:,} events a batch",
        unit="rows per second",
        cases={
            WITHOUT: partial(_rows_per_second, None, batches),
            WITH: partial(_rows_per_second, ALIAS, batches),
        },
        rounds=rounds,
        ratios=[Ratio(what=f"{WITH} / {WITHOUT}", of=WITH, to=WITHOUT, at_least=0.9)],
        clean_up=partial(_delete_all, PageView),
    )


def _rows_per_second(receipts: str | None, batches: int) -> float:
    insert = Insert(PageView, using=ALIAS)
    bucket = Bucket("sinks", batch_size=BATCH, receipts=receipts, processor=insert)
    for _ in range(batches):
        bucket.extend(_views())
    began = perf_counter()
    report = bucket.drain()
    seconds = perf_counter() - began
    if report.processed != batches * BATCH:
        raise RuntimeError(f"The drain reports {report}.")
    return report.processed / seconds


def _increments(scale: Scale) -> Iterator[Comparison]:
    batches, rounds = max(scale.count(20), 2), scale.rounds(9)
    sink = Increment(ViewCount, key="path", fields={"views": 1}, using=ALIAS)
    for paths in (10, BATCH):
        where = f"of {paths:,} paths"
        yield Comparison(
            title=f"View counters on PostgreSQL: {BATCH:,} events a batch, {where}",
            unit="µs per event",
            cases={
                UPDATE: _timed(_update_each, _paths(paths), batches=1),
                INCREMENT: _timed(partial(_process, sink), _paths(paths), batches),
            },
            rounds=rounds,
            ratios=[
                Ratio(what=f"{UPDATE} / {INCREMENT}, {where}", of=UPDATE, to=INCREMENT, at_least=20)
            ],
            clean_up=partial(_delete_all, ViewCount),
        )


@contextmanager
def _tables(*models: type[Model]) -> Iterator[None]:
    """Create the tables that do not exist yet, for the block."""
    connection = connections[ALIAS]
    tables = connection.introspection.table_names()
    missing = [model for model in models if model._meta.db_table not in tables]
    with connection.schema_editor() as editor:
        for model in missing:
            editor.create_model(model)
    yield
    with connection.schema_editor() as editor:
        for model in missing:
            editor.delete_model(model)


def _timed(work: Callable[[Sequence[Any]], object], events: Sequence[Any], batches: int) -> Measure:
    def measure() -> float:
        work(events)  # the rows of the counters exist then
        began = perf_counter()
        for _ in range(batches):
            work(events)
        return (perf_counter() - began) / (batches * len(events)) * 1e6

    return measure


def _views() -> Sequence[Any]:
    return [page_view() for _ in range(BATCH)]


def _paths(count: int) -> Sequence[Any]:
    return [{"path": f"/products/{n}/"} for n in islice(cycle(range(count)), BATCH)]


def _process(sink: Sink, events: Sequence[Any]) -> None:
    batch = Batch(events, id="1-0", attempt=1, bucket="benchmark")
    sink(batch)
    if batch.rejected:
        raise RuntimeError(f"Events were rejected: {next(iter(batch.rejected.values()))}")


def _create_each(events: Sequence[Any]) -> None:
    for event in events:
        PageView.objects.using(ALIAS).create(**event)


def _update_each(events: Sequence[Any]) -> None:
    for event in events:
        counters = ViewCount.objects.using(ALIAS).filter(path=event["path"])
        if not counters.update(views=F("views") + 1):
            ViewCount.objects.using(ALIAS).create(path=event["path"], views=1)


def _delete_all(model: type[Model]) -> None:
    model._base_manager.using(ALIAS).all().delete()
