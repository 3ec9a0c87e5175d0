"""Measure the cost of one event for the process that writes it."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import django_rq
from django.db import transaction
from huey.contrib import djhuey

from benchmarks import celery, tasks
from benchmarks.buckets import handled
from benchmarks.events import page_view
from benchmarks.rounds import Comparison, Ratio, Scale, microseconds

OURS: Final = "django_jsonbuffer"
CELERY: Final = "Celery"
DJANGO_RQ: Final = "django-rq"
HUEY: Final = "Huey"

EVENTS_A_TRANSACTION: Final = 20

Put = Callable[[Any], object]

# django-rq itself looks for an open transaction, as a bucket does.
_enqueue = partial(django_rq.get_queue().enqueue, tasks.handle_in_rq)

AT_ONCE: Final[Mapping[str, Put]] = {
    OURS: handled.append,
    CELERY: tasks.handle_in_celery.delay,
    DJANGO_RQ: _enqueue,
    HUEY: tasks.handle_in_huey,
}
ON_COMMIT: Final[Mapping[str, Put]] = {
    OURS: handled.append,
    CELERY: tasks.handle_in_celery.delay_on_commit,
    DJANGO_RQ: _enqueue,
    HUEY: tasks.handle_in_huey_on_commit,
}


def put_one_by_one(put: Put, event: Any, *, events: int, using: str = "default") -> None:
    for _ in range(events):
        put(event)


def put_in_transactions(put: Put, event: Any, *, events: int, using: str = "default") -> None:
    """Put events in with one transaction of the database for every 20."""
    for _ in range(events // EVENTS_A_TRANSACTION):
        with transaction.atomic(using=using):
            put_one_by_one(put, event, events=EVENTS_A_TRANSACTION)


def comparisons(scale: Scale) -> Iterator[Comparison]:
    yield _comparison(
        scale, "One event put in", put_one_by_one, AT_ONCE, {CELERY: 8, DJANGO_RQ: 3.5, HUEY: 1.1}
    )
    yield _comparison(
        scale,
        f"{EVENTS_A_TRANSACTION} events put in within one transaction",
        put_in_transactions,
        ON_COMMIT,
        {CELERY: 60, DJANGO_RQ: 30, HUEY: 10},
    )


def _comparison(
    scale: Scale,
    title: str,
    put_all: Callable[..., None],
    puts: Mapping[str, Put],
    at_least: Mapping[str, float],
) -> Comparison:
    event, events = page_view(), scale.count(4_000)
    for put in puts.values():
        put_all(put, event, events=100)  # to connect, and to let Celery declare its queue
    _empty_queues()
    return Comparison(
        title=f"{title}, 200 bytes each",
        unit="µs an event in the calling process",
        cases={
            name: partial(
                microseconds,
                partial(put_all, put, event, events=events),
                calls=1,
                events_a_call=events,
            )
            for name, put in puts.items()
        },
        rounds=scale.rounds(9),
        ratios=[
            Ratio(what=f"{title}: {other} / {OURS}", of=other, to=OURS, at_least=aim)
            for other, aim in at_least.items()
        ],
        clean_up=_empty_queues,
    )


def _empty_queues() -> None:
    handled.purge()
    celery.app.control.purge()
    django_rq.get_queue().empty()  # type: ignore[no-untyped-call]
    djhuey.HUEY.flush()
