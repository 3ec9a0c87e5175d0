"""Entries of the catalog that are written later, because the node of a cluster that has it is down.

Appends to other nodes go on meanwhile.
"""

import logging
import os
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import Final, NamedTuple

from django_jsonbuffer.exceptions import BufferMisconfigured, BufferUnavailable, JSONBufferError

from .catalog_entries import add, entries, note_written, write, written
from .clients import clients
from .coroutines import finish
from .errors import PATIENCE
from .keys import Identity, bucket_keys, catalog_key
from .links import BLOCKING, Link
from .redis_cluster import is_cluster, owner_name
from .redis_internals import is_about_permissions

logger = logging.getLogger("django_jsonbuffer")

_PAUSE_SECONDS: Final = 1.0
"""How long the thread pauses between two tries."""

_GAP_SECONDS: Final = 15.0
"""How long no append tries a key that could not be written. The thread tries it meanwhile."""


class _Gap(NamedTuple):
    """A key that could not be written."""

    reason: str
    ends_at: float
    """On the monotonic clock."""


_gaps: Final[dict[tuple[str, str], _Gap]] = {}
"""By the alias of the cache, and the key."""

unwritten: Final[set[Identity]] = set()
"""The buckets that threads write."""


async def write_before_append(
    bucket: Identity, link: Link, *, patience: timedelta, is_needed: bool = False
) -> None:
    """Write the bucket. If another node has the catalog and is down, a thread writes it later.

    `is_needed` says that workers find the bucket only if it is in the catalog. Then raises
    :class:`BufferUnavailable` if it cannot be written and was never appended to: this process may
    end before the thread has written it.
    """
    reasons = await _write(bucket, link, patience=patience)
    if not reasons:
        return
    reason = reasons.get(catalog_key(bucket.prefix), "") if is_needed else ""
    is_refused = reason and not await _was_appended_to(bucket, link, patience=patience)
    if not is_refused:
        written.add(bucket)  # so that its next appends do not try
    _writer_of(bucket.cache).write(bucket)
    if is_refused:
        refusal = BufferUnavailable(
            f"Bucket {bucket.bucket!r} is new, and its name could not be written into the catalog, "
            f"in which workers look for it. Nothing was appended. {reason}"
        )
        refusal.was_asked = False  # not the node of the bucket
        raise refusal


async def write_again(bucket: Identity, link: Link) -> None:
    """Write the bucket again after an append that found no counters: the catalog may be lost too.

    An error is logged and not raised, because the append is done.
    """
    if bucket in unwritten:
        return
    try:
        await write(bucket, link)
    except JSONBufferError as error:
        written.discard(bucket)
        _warn(bucket, error)


async def _write(bucket: Identity, link: Link, *, patience: timedelta) -> dict[str, str]:
    """Write the entries. Returns why not, by key: another node has it, and is down."""
    reasons: dict[str, str] = {}
    for entry in entries(bucket):
        place = bucket.cache, entry[0]
        gap = _gaps.get(place)
        if gap is None or time.monotonic() >= gap.ends_at:
            gap = await _try(bucket, entry, link, patience=patience)
        if gap is not None:
            reasons[entry[0]] = gap.reason
    if not reasons:
        note_written(bucket)
    return reasons


async def _try(
    bucket: Identity, entry: tuple[str, str], link: Link, *, patience: timedelta
) -> _Gap | None:
    """Write one entry. Returns the gap if another node has the key, and is down."""
    place = bucket.cache, entry[0]
    try:
        await add(bucket, entry, link, patience)
    except JSONBufferError as error:
        if not _is_of_another_node(bucket, error):
            _gaps.pop(place, None)
            raise
        if place not in _gaps:
            _warn(bucket, error)
        _gaps[place] = gap = _Gap(str(error), time.monotonic() + _GAP_SECONDS)
        return gap
    _gaps.pop(place, None)
    return None


def _is_of_another_node(bucket: Identity, error: JSONBufferError) -> bool:
    if not isinstance(error, BufferUnavailable):
        return False
    client, key = clients[bucket.cache], bucket_keys(bucket.prefix, bucket.name).open
    if not is_cluster(client) or owner_name(client, key) in ("", error.node):
        return False
    cause = error.__cause__
    return cause is None or not is_about_permissions(cause)


async def _was_appended_to(bucket: Identity, link: Link, *, patience: timedelta) -> bool:
    key = bucket_keys(bucket.prefix, bucket.name).appends
    found = await link.execute(bucket, "HGET", key, "since", key=key, patience=patience)
    return found is not None


def _warn(bucket: Identity, error: JSONBufferError) -> None:
    text = "Bucket %s could not be written into the catalog of buckets. It is tried again. %s"
    logger.warning(text, bucket.bucket, error, extra={"bucket": bucket.bucket})


class _Writer:
    """Writes the buckets of one cache, in a thread that lives from the first one to the last."""

    def __init__(self, cache: str) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._runs = False

    def write(self, bucket: Identity) -> None:
        with self._lock:
            unwritten.add(bucket)
            if self._runs:
                return
            self._runs = True
        try:
            threading.Thread(target=self._run, name="jsonbuffer-catalog", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter ends
            self._forget()

    def _forget(self) -> None:
        """Let the next appends write the buckets, because no thread does."""
        with self._lock:
            its_buckets = self._buckets
            written.difference_update(its_buckets)
            unwritten.difference_update(its_buckets)
            self._runs = False

    @property
    def _buckets(self) -> list[Identity]:
        return [bucket for bucket in [*unwritten] if bucket.cache == self._cache]

    def _run(self) -> None:
        try:
            while self._goes_on():
                time.sleep(_PAUSE_SECONDS)
                self._try_gaps()
                for bucket in self._buckets:
                    self._write(bucket)
        except BaseException:
            self._forget()
            raise

    def _goes_on(self) -> bool:
        with self._lock:
            self._runs = bool(self._buckets)
            return self._runs

    def _try_gaps(self) -> None:
        """Try each key once that could not be written. Nobody else tries it meanwhile."""
        places = {*_gaps}
        for bucket in self._buckets:
            for entry in entries(bucket):
                if (place := (bucket.cache, entry[0])) in places:
                    places.discard(place)
                    with suppress(JSONBufferError):
                        finish(_try(bucket, entry, BLOCKING, patience=PATIENCE))

    def _write(self, bucket: Identity) -> None:
        try:
            if finish(_write(bucket, BLOCKING, patience=PATIENCE)):
                return
        except BufferUnavailable:
            return
        except BufferMisconfigured:
            logger.debug("The cache of bucket %s is gone.", bucket.name)
        except JSONBufferError as error:  # a key holds something else
            _warn(bucket, error)
        unwritten.discard(bucket)


_writers: Final[dict[str, _Writer]] = {}
"""By the alias of the cache."""


def _writer_of(cache: str) -> _Writer:
    return _writers.get(cache) or _writers.setdefault(cache, _Writer(cache))


def _forget_all() -> None:
    """No thread of the parent lives in a child, which may not write what the parent writes."""
    written.difference_update(unwritten)
    for each in (unwritten, _gaps, _writers):
        each.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
