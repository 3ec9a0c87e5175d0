"""The tasks of the other projects. Each gets one event."""

from collections.abc import Sequence
from typing import Any

from celery_batches import Batches, SimpleRequest
from huey.contrib.djhuey import on_commit_task, task

from benchmarks.celery import app
from benchmarks.handlers import handle, store

Event = dict[str, Any]


@app.task
def handle_in_celery(event: Event) -> None:
    handle(1)


# The same batch size as the bucket "stored", and a short wait for the last batch.
@app.task(base=Batches, flush_every=1000, flush_interval=0.1)
def store_in_celery(requests: Sequence[SimpleRequest]) -> None:
    store([request.args[0] for request in requests])


def handle_in_rq(event: Event) -> None:
    handle(1)


@task()
def handle_in_huey(event: Event) -> None:
    handle(1)


@on_commit_task()
def handle_in_huey_on_commit(event: Event) -> None:
    handle(1)
