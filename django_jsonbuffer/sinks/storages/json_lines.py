"""JsonLines: a sink that stores each batch as one object in one of Django's storages."""

import gzip
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from string import Formatter
from typing import Final

from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured, SuspiciousOperation
from django.core.files.storage import Storage, storages

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.encoding import encoder
from django_jsonbuffer.exceptions import DestinationUnavailable
from django_jsonbuffer.sinks.faults import fault, refuse_faulty
from django_jsonbuffer.sinks.isolation import results_or_reject
from django_jsonbuffer.sinks.sink import Sink
from django_jsonbuffer.suggestions import suggest

from .storing import store_object

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")
_MILLISECONDS: Final = re.compile(r"(\d{1,14})-")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class JsonLines(Sink):
    """Stores each batch as one object: a JSON value in each line, compressed with gzip.

    `storage` is an alias in ``STORAGES``, or a storage. `path` has the fields ``{bucket}``,
    ``{id}`` (of the batch) and ``{date}``, the day (UTC) on which the batch was sealed. Formats
    apply, as in ``{date:%Y/%m}``. Or `path` is a function of the batch. It must return the same
    path for a repeated batch, and different ones for different batches. If the path does not end
    with ``.gz``, the object is not compressed.

    A repeated batch has the same path, so it replaces its object. A batch that was halved after its
    object was stored leaves this object, and each half has one of its own.

    An error of the storage says nothing about an event. So it means an outage, and the whole batch
    is kept.
    """

    def __init__(
        self,
        storage: str | Storage = "default",
        *,
        path: str | Callable[[Batch], str] = "{bucket}/{date}/{id}.jsonl.gz",
    ) -> None:
        self._storage = storage
        self._path = path

    def __call__(self, batch: Batch) -> None:
        refuse_faulty(self.check())
        encode = encoder(configuration().encoder).encode
        lines = results_or_reject(batch, encode).values()
        content = b"".join(line + b"\n" for line in lines)
        path = self._path(batch) if callable(self._path) else _formatted(self._path, batch)
        if path.endswith(".gz"):
            content = gzip.compress(content, mtime=0)
        storage = storages[self._storage] if isinstance(self._storage, str) else self._storage
        try:
            store_object(storage, path, content)
        except (ImproperlyConfigured, SuspiciousOperation):
            raise
        except Exception as error:
            raise DestinationUnavailable(
                f"The storage could not store {path!r}: {type(error).__name__}: {error}"
            ) from error

    def check(self) -> Iterator[CheckMessage]:
        yield from _faults_of_storage(self._storage)
        if not callable(self._path):
            yield from _faults_of_path(self._path)


def _faults_of_storage(storage: object) -> Iterator[CheckMessage]:
    if isinstance(storage, Storage):
        return
    if not isinstance(storage, str):
        yield fault(
            f"JsonLines has the storage {storage!r:.200}.",
            hint="Give it an alias in STORAGES, or a storage.",
        )
        return
    aliases = list(storages.backends)
    if storage not in aliases:
        yield fault(
            f"JsonLines has the storage {storage!r}, which is not in STORAGES."
            f"{suggest([storage], aliases)}",
            hint=f"Correct the alias. STORAGES has {', '.join(sorted(aliases))}.",
        )
        return
    try:
        storages[storage]
    except ImproperlyConfigured as error:
        yield fault(
            f"JsonLines cannot use the storage {storage!r}: {error}",
            hint=f"Correct STORAGES[{storage!r}].",
        )


def _faults_of_path(path: object) -> Iterator[CheckMessage]:
    hint = "Write path='{bucket}/{date}/{id}.jsonl.gz', or give it a function of the batch."
    if not isinstance(path, str):
        yield fault(f"JsonLines has the path {path!r:.200}.", hint=hint)
        return
    try:
        names = {name for _, name, _, _ in Formatter().parse(path)}
        _formatted(path, Batch([], id="0-0", attempt=1, bucket="orders"))
    except (ValueError, LookupError, AttributeError) as error:
        yield fault(f"JsonLines has the path {path!r}: {type(error).__name__}: {error}.", hint=hint)
        return
    if "id" not in names:
        yield fault(
            f"JsonLines has the path {path!r}, which is the same for different batches.", hint=hint
        )


def _formatted(path: str, batch: Batch) -> str:
    """The path of the batch. Characters that a file name may not have become underscores."""
    return path.format(
        bucket=_UNSAFE.sub("_", batch.bucket), date=_day_of(batch.id), id=_UNSAFE.sub("_", batch.id)
    )


def _day_of(id: str) -> date:
    """The day (UTC) of a batch's id, which begins with the milliseconds of its seal."""
    found = _MILLISECONDS.match(id)
    return (_EPOCH + timedelta(milliseconds=int(found[1]) if found else 0)).date()
