"""The way of appends to Redis: grouped and sent; if that fails, spilled, raised or lost."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import NamedTuple

from django_jsonbuffer.exceptions import (
    AppendUndecided,
    BufferUnavailable,
    JSONBufferError,
    SpillUnavailable,
)
from django_jsonbuffer.options import MAX_APPEND_BATCHES, MAX_APPEND_BYTES, Options
from django_jsonbuffer.store.appends import pieces_of
from django_jsonbuffer.store.store import Store

from . import losses
from .breaker import breakers
from .producers import append_once

logger = logging.getLogger("django_jsonbuffer")

FORWARDED_BY_AN_APPEND = 50
"""How many spilled appends one append forwards at most, so that no caller waits for long."""


class Append(NamedTuple):
    """The encoded events of one append, and where they go."""

    store: Store
    options: Options
    events: Sequence[bytes]

    size: int
    """Bytes of the events, with a comma for each."""

    is_large: bool
    """Whether the events may be too many or too large for one call. See :meth:`check_size`."""

    is_late: bool
    """Whether no caller waits for an error of the append: ``append()`` has returned, or the events
    report a change that has happened."""

    def check_size(self) -> None:
        """Raises :class:`EventTooLarge` if the events do not fit one call to Redis.

        Check this before the append is held back, because later no caller would get the error.
        """
        pieces_of(self.events, self.size, self.options.limits)


Group = Sequence[Append]
"""Appends to one bucket, with the same options, that leave in one call to Redis."""


def send_all(appends: Sequence[Append], *, may_raise: bool = True) -> None:
    """Send the appends, bucket by bucket, each in its order."""
    if len(appends) == 1:
        send([appends], may_raise=may_raise)
        return
    by_bucket: dict[object, list[Append]] = {}
    for append in appends:
        by_bucket.setdefault(append.store.identity, []).append(append)
    groups = [
        group
        for bucket in by_bucket.values()
        # Two handles of one bucket may have different options.
        for _, alike in groupby(bucket, key=lambda append: append.options)
        for group in _groups([*alike])
    ]
    send(groups, may_raise=may_raise)


def _groups(appends: Group) -> Iterator[Group]:
    """Split appends, in order, into groups that fit one call."""
    count = sum(len(append.events) for append in appends)
    if count <= MAX_APPEND_BATCHES and sum(append.size for append in appends) <= MAX_APPEND_BYTES:
        yield appends
        return
    group: list[Append] = []
    size = batches = 0
    for append in appends:
        its_batches = len(pieces_of(append.events, append.size, append.options.limits))
        size += append.size
        batches += its_batches
        if group and (size > MAX_APPEND_BYTES or batches > MAX_APPEND_BATCHES):
            yield group
            group, size, batches = [], append.size, its_batches
        group.append(append)
    yield group


def send(groups: Sequence[Group], *, may_raise: bool = True) -> None:
    """Send groups, each in one call. The failure of one does not stop the others.

    At the end raises the first error that a caller waits for, or that ``on_unavailable="raise"``
    demands. Events of the other failed groups count as lost.
    """
    to_raise: Exception | None = None
    for at, group in enumerate(groups):
        try:
            if (error := _failure_of(group)) is None:
                continue
            if may_raise and to_raise is None and _is_awaited(group, error):
                to_raise = error
                _lose([append for append in group if append.is_late], error)
            else:
                _lose(group, error)
        except BaseException as end:
            for unsent in groups[at:]:
                _lose([append for append in unsent if append.is_late], end)
            raise
    if to_raise is not None:
        raise to_raise


def _failure_of(group: Group) -> Exception | None:
    """Send a group. None if the events are in Redis or in the spill afterwards, else the error."""
    try:
        _send_group(group)
    except Exception as error:  # noqa: BLE001  (a misconfigured client may raise anything)
        return _spilled(group, error)
    return None


def _send_group(group: Group) -> None:
    """Send a group in one call to Redis, if the breaker allows it. Report losses, and forward."""
    store, options, events, size, *_ = group[0]
    if len(group) > 1:
        events = [event for append in group for event in append.events]
        size = sum(append.size for append in group)
    breaker = breakers[store.cache]
    if breaker.failure:
        breaker.take_turn()
    # A bucket that spills does not send again: an undecided append keeps its stamp in the spill, so
    # it is stored once.
    timeout = timedelta(0) if options.on_unavailable == "spill" else options.append_timeout
    began = time.monotonic()
    try:
        patience = options.append_timeout
        append = partial(store.append, events, limits=options.limits, size=size, patience=patience)
        append_once(append, timeout=timeout)
    except BaseException as error:
        breaker.learn(error, seconds=time.monotonic() - began)
        raise
    if breaker.failure:
        breaker.close()
    if losses.unreported:
        losses.report(store)
    if options.spill_dir is not None:
        _forward(store, options, options.spill_dir)


def _forward(store: Store, options: Options, folder: str | os.PathLike[str]) -> None:
    """Forward some spilled appends. A failure is logged, because the append itself is done."""
    from .spill import forward  # imports SQLite, which only buckets that spill need

    try:
        send = partial(store.append, limits=options.limits)
        key, limit = store.keys.open, FORWARDED_BY_AN_APPEND
        forward(folder, key, send, bucket=store.name, limit=limit)
    except JSONBufferError as error:
        text = "Bucket %s: spilled events still wait. %s"
        logger.warning(text, store.name, error, extra={"bucket": store.name})


def _spilled(group: Group, error: Exception) -> Exception | None:
    """Spill a failed group. None if its events are in the spill afterwards, else the error."""
    store, options = group[0].store, group[0].options
    if options.on_unavailable != "spill" or not isinstance(error, BufferUnavailable):
        return error
    if not error.may_be_repeated:
        return error  # the spill would send the append again
    from .spill import spill

    try:
        spill(options.spill_dir or "").put(
            store.keys.open,
            [event for append in group for event in append.events],
            stamp=error.stamp if isinstance(error, AppendUndecided) else None,
            max_bytes=options.max_spill_bytes,
        )
    except SpillUnavailable as failure:
        failure.__cause__ = error
        return error if isinstance(error, AppendUndecided) else failure
    return None


def _is_awaited(group: Group, error: Exception) -> bool:
    """Whether a caller waits for the error, or ``on_unavailable`` is ``"raise"``.

    After a commit no caller waits: the change stands, and an error would report a success as a
    failure.
    """
    is_outage = isinstance(error, BufferUnavailable)
    policy = group[0].options.on_unavailable
    return policy == "raise" or any(
        not (append.is_late or (policy == "drop" and is_outage)) for append in group
    )


def _lose(group: Group, error: BaseException) -> None:
    if group:
        store, options, *_ = group[0]
        losses.lose(store, options, sum(len(append.events) for append in group), error)
