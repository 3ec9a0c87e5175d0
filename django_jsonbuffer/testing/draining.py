"""Draining in tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Final

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.django_internals.sync_callers import in_sync_caller
from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.draining.report import DrainReport
from django_jsonbuffer.shards import stores_of

from .commits import commit_appends
from .journal import journal
from .leases import end_backoffs
from .processors import around_processors

_MOST_ROUNDS: Final = 100


@in_sync_caller
def drain_now(*buckets: Bucket | str, raises: bool = True) -> DrainReport:
    """Process everything that the buckets hold, and return what was done.

    Without names, drains all buckets that have a processor. The commit of a ``TestCase`` is
    simulated first. Batches that wait for their next attempt are processed as well, and so are
    events that a processor appends to one of the buckets.

    The first exception of a processor ends the drain, and is raised here. The worker has treated
    its batch as always: the batch is released or halved, or its event is buried. With
    ``raises=False``, the exception is logged and counted, and the drain goes on.
    """
    commit_appends()
    total = DrainReport()
    names = buckets or catalog.read_with_processor().buckets
    handles = [Bucket(each) if isinstance(each, str) else each for each in names]
    for bucket in handles:
        for store in stores_of(bucket._definition.parts):
            end_backoffs(store)
    for _ in range(_MOST_ROUNDS):
        before = len(journal().stored)
        for bucket in handles:
            _drain(bucket, total, raises=raises)
        commit_appends()
        if len(journal().stored) == before:
            return total
    raise AssertionError(
        f"The buckets were drained {_MOST_ROUNDS} times, and their processors go on to append to "
        f"them: {total.processed:,} events were processed."
    )


def _drain(bucket: Bucket, total: DrainReport, *, raises: bool) -> None:
    """Process the batches that can be claimed, and add what was done to `total`."""
    errors = list[Exception]()
    with _noting(errors), bucket.drain_steps() as drain:
        while drain.step() and not (errors and raises):
            pass
    _add(total, drain.report)
    if errors and raises:
        raise errors[0]


def _add(total: DrainReport, report: DrainReport) -> None:
    for field in fields(report):
        setattr(total, field.name, getattr(total, field.name) + getattr(report, field.name))


@contextmanager
def _noting(errors: list[Exception]) -> Iterator[None]:
    """Note the exceptions that processors raise in the block."""

    @contextmanager
    def noting(batch: Batch) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            errors.append(error)
            raise

    with around_processors(noting):
        yield
