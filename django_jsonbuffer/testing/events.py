"""The events that a test has appended."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.encoding import JSONEncoder, encoder

from .commits import commit_appends
from .journal import journal


def appended_events(bucket: Bucket | str | None = None) -> list[Any]:
    """The events that this test has appended, in their order, drained or not.

    Events that wait for the commit of a ``TestCase`` count: it is simulated. Without `bucket`, the
    events of all buckets.
    """
    commit_appends()
    return _events(bucket, since=0)


@contextmanager
def capture_events(bucket: Bucket | str | None = None) -> Iterator[list[Any]]:
    """A list that has, at the end of the block, the events that the block has appended.

    ::

        with capture_events("orders") as events:
            client.post("/orders/", {"total": 7})
        assert events == [{"total": 7}]

    Use it in a ``TestCase`` too: at the end of the block its commit is simulated for the appends.
    Other on-commit functions do not run: for them, add ``captureOnCommitCallbacks(execute=True)``.
    """
    commit_appends()
    before, captured = len(journal().stored), list[Any]()
    yield captured
    commit_appends()
    captured += _events(bucket, since=before)


def name_of(bucket: Bucket | str) -> str:
    return bucket if isinstance(bucket, str) else bucket.name


def current_encoder() -> JSONEncoder:
    return encoder(configuration().encoder)


def _events(bucket: Bucket | str | None, *, since: int) -> list[Any]:
    name = None if bucket is None else name_of(bucket)
    stored = [each.event for each in journal().stored[since:] if name in (None, each.bucket)]
    return [*current_encoder().decode(b"[%b]" % b",".join(stored))]
