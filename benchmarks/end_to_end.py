"""Measure an event until a worker has handled it, and until it is a row in a database."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from django.db import connections, transaction
from django_redis import get_redis_connection

from benchmarks.buckets import handled, stored
from benchmarks.enqueuing import (
    AT_ONCE,
    CELERY,
    DJANGO_RQ,
    HUEY,
    ON_COMMIT,
    OURS,
    Put,
    put_in_transactions,
    put_one_by_one,
)
from benchmarks.events import page_view
from benchmarks.models import PageView
from benchmarks.rounds import Comparison, Measure, Ratio, Scale, microseconds
from benchmarks.servers import append_only_file
from benchmarks.tasks import store_in_celery
from benchmarks.workers import Worker, started

# One process per project, each as fast as possible. RQ's SimpleWorker does not fork for each job.
# For tasks, solo is the fastest pool of Celery. For batches it is prefork, if it fetches as many
# messages as one batch has. The server wakes all of these. But a watch that found nothing sleeps
# for its interval: with the default of a second, a turn would measure mostly that.
WATCH: Final = ("django", "drain_buckets", "--watch", "--interval", "0.1")
CELERY_WORKER: Final = ("celery", "-A", "benchmarks.celery", "worker", "--loglevel", "WARNING")
BATCHES_WORKER: Final = (
    *CELERY_WORKER,
    *("--pool", "prefork", "--concurrency", "1", "--prefetch-multiplier", "1000"),
)
WORKERS: Final[Mapping[str, tuple[str, ...]]] = {
    OURS: (*WATCH, handled.name),
    CELERY: (*CELERY_WORKER, "--pool", "solo"),
    DJANGO_RQ: ("django", "rqworker", "--verbosity", "0", "--worker-class", "rq.SimpleWorker"),
    HUEY: ("django", "run_huey", "--workers", "1", "--quiet"),
}

# Numbers of events for which a turn takes one to three seconds. With batches of 1,000, the number
# is a multiple of 1,000, so that no batch waits for more events.
ONE_BY_ONE: Final[Mapping[str, int]] = {OURS: 20_000, CELERY: 3_000, DJANGO_RQ: 1_000, HUEY: 8_000}
IN_TRANSACTIONS: Final[Mapping[str, int]] = {**ONE_BY_ONE, OURS: 100_000}
ROWS_OF_OURS: Final = 30_000
ROWS_OF_CELERY_BATCHES: Final = 5_000
ROWS_CREATED: Final = 3_000
WARM_UP_EVENTS: Final = 1_000

CELERY_BATCHES: Final = "celery-batches, bulk_create"
BATCHES_OF_OURS: Final = "django_jsonbuffer, bulk_create"
ON_POSTGRESQL: Final = "Model.objects.create, PostgreSQL"
ON_SQLITE: Final = "Model.objects.create, SQLite"


def comparisons(scale: Scale) -> Iterator[Comparison]:
    # All workers run all the time: an idle worker takes less than half a per cent of a core.
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(started(*command)) for name, command in WORKERS.items()
        }
        yield _to_handled(scale, workers)
    # This is a fair comparison: a created row is on disk when its request is answered.
    with (
        append_only_file(get_redis_connection("jsonbuffer")),
        started(*WATCH, stored.name) as ours,
        started(*BATCHES_WORKER) as celery_batches,
    ):
        for alias in ("postgresql", "sqlite"):
            with connections[alias].schema_editor() as editor:
                editor.create_model(PageView)
        # Rows are created one by one in autocommit, or 20 in a transaction of their database.
        to_row = partial(_to_row, scale, ours, celery_batches)
        yield to_row("one by one", put_one_by_one, store_in_celery.delay)
        yield to_row("20 in a transaction", put_in_transactions, _store_in_celery)


def _to_handled(scale: Scale, workers: Mapping[str, Worker]) -> Comparison:
    event = page_view()
    cases: dict[str, Measure] = {}
    for name, worker in workers.items():
        _turn(worker, put_one_by_one, AT_ONCE[name], event, events=WARM_UP_EVENTS)()
        for way, put_all, puts, counts in (
            (_one_by_one, put_one_by_one, AT_ONCE, ONE_BY_ONE),
            (_in_transactions, put_in_transactions, ON_COMMIT, IN_TRANSACTIONS),
        ):
            events = scale.count(counts[name])
            cases[way(name)] = _turn(worker, put_all, puts[name], event, events=events)
    others = [name for name in workers if name != OURS]
    return Comparison(
        title="Event to processed, end to end",
        unit="µs an event",
        cases=cases,
        rounds=scale.rounds(5),
        ratios=[
            *(
                _ratio("Event to handler", _in_transactions(other), _in_transactions(OURS), 20)
                for other in others
            ),
            *(
                _ratio("Event to handler", _one_by_one(other), _one_by_one(OURS))
                for other in others
            ),
        ],
    )


def _to_row(
    scale: Scale,
    ours: Worker,
    celery_batches: Worker,
    way: str,
    put_all: Callable[..., None],
    put_in_celery: Put,
) -> Comparison:
    event = page_view()

    def through(worker: Worker, put: Put, rows: int) -> Measure:
        _turn(worker, put_all, put, event, events=WARM_UP_EVENTS)()
        PageView.objects.using("postgresql").all().delete()
        turn = _turn(worker, put_all, put, event, events=scale.count(rows))
        return partial(_checked, turn, "postgresql", scale.count(rows))

    def created(alias: str) -> Measure:
        def create(event: Any) -> None:
            PageView.objects.using(alias).create(**event)

        rows = scale.count(ROWS_CREATED)
        creating = partial(put_all, create, event, events=rows, using=alias)
        turn = partial(microseconds, creating, calls=1, events_a_call=rows)
        return partial(_checked, turn, alias, rows)

    return Comparison(
        title=f"Event to row, end to end, {way}",
        unit="µs an event",
        cases={
            BATCHES_OF_OURS: through(ours, stored.append, ROWS_OF_OURS),
            CELERY_BATCHES: through(celery_batches, put_in_celery, ROWS_OF_CELERY_BATCHES),
            ON_POSTGRESQL: created("postgresql"),
            ON_SQLITE: created("sqlite"),
        },
        rounds=scale.rounds(5),
        ratios=[
            _ratio(f"Event to row, {way}", CELERY_BATCHES, BATCHES_OF_OURS, 5),
            _ratio(f"Event to row, {way}", ON_POSTGRESQL, BATCHES_OF_OURS, 15),
            _ratio(f"Event to row, {way}", ON_SQLITE, BATCHES_OF_OURS),
        ],
    )


def _store_in_celery(event: Any) -> None:
    """Do the same as `delay_on_commit`, which the class of celery-batches does not have."""
    transaction.on_commit(partial(store_in_celery.delay, event))


def _turn(
    worker: Worker, put_all: Callable[..., None], put: Put, event: Any, *, events: int
) -> Measure:
    return partial(worker.turn, partial(put_all, put, event, events=events), events=events)


def _checked(measure: Measure, alias: str, rows: int) -> float:
    """Measure a turn, check that it has left that many rows, and delete them."""
    figure = measure()
    views = PageView.objects.using(alias)
    if (found := views.count()) != rows:
        raise RuntimeError(f"{alias} has {found:,} rows instead of {rows:,}.")
    views.all().delete()
    return figure


def _one_by_one(name: str) -> str:
    return f"{name}, one by one"


def _in_transactions(name: str) -> str:
    return f"{name}, 20 in a transaction"


def _ratio(what: str, of: str, to: str, at_least: float | None = None) -> Ratio:
    return Ratio(what=f"{what}: {of} / {to}", of=of, to=to, at_least=at_least)
