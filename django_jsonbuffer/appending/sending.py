"""Sends appends in groups. A group that fails becomes an error for its caller, or lost events."""

import logging
import time
from collections.abc import Callable, Sequence

from django_jsonbuffer.exceptions import BucketFull, BufferUnavailable
from django_jsonbuffer.signals import bucket_full
from django_jsonbuffer.summaries import kind_of, place_of

from . import losses, task_lines, thread_lines
from .groups import Append, Group, groups_of
from .sharding import TURN

logger = logging.getLogger("django_jsonbuffer")

Failure = Exception | None
"""None if the events of a group are stored or spilled, else the error."""

Observer = Callable[[str, float, Failure], object]
"""Gets the name of the bucket, how many seconds the sending of a group took, and the failure."""

observer: Observer | None = None
"""Called after each group, if an optional app has set it."""


def send_all(appends: Sequence[Append], *, may_raise: bool = True) -> None:
    """Send the appends, bucket by bucket, each in its order.

    The failure of one group does not stop the others. At the end raises the first error that a
    caller waits for, or that ``on_unavailable="raise"`` demands. Events of the other failed groups
    count as lost.
    """
    groups = groups_of(appends)
    failures: list[Failure] = []
    try:
        failure_of = thread_lines.failure_of if observer is None else _observed_failure_of
        failures.extend(map(failure_of, groups))
    except BaseException as end:
        _abandon(groups, failures, end)
        raise
    if any(failures):
        _conclude(groups, failures, may_raise=may_raise)


async def asend_all(appends: Sequence[Append], *, may_raise: bool = True) -> None:
    """Like :func:`send_all`, from a task of the running event loop."""
    groups = groups_of(appends)
    failures: list[Failure] = []
    try:
        failure_of = task_lines.failure_of if observer is None else _aobserved_failure_of
        for group in groups:
            failures += [await failure_of(group)]
    except BaseException as end:
        _abandon(groups, failures, end)
        raise
    if any(failures):
        _conclude(groups, failures, may_raise=may_raise)


def _conclude(groups: Sequence[Group], failures: Sequence[Failure], *, may_raise: bool) -> None:
    to_raise: Exception | None = None
    for group, error in zip(groups, failures, strict=False):
        if error is None:
            continue
        if isinstance(error, BucketFull):
            bucket_full.announce(group[0].store.name, count=_count(group), error=error)
            TURN.leave()
        if may_raise and to_raise is None and _is_awaited(group, error):
            to_raise = error
            _lose([append for append in group if append.is_late], error)
        else:
            _lose(group, error)
    if to_raise is not None:
        raise to_raise


def _abandon(groups: Sequence[Group], failures: Sequence[Failure], end: BaseException) -> None:
    """Count what may be lost when an interrupt ends the sending."""
    _conclude(groups, failures, may_raise=False)
    for unsent in groups[len(failures) :]:
        _lose([append for append in unsent if append.is_late], end)


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
        losses.lose(group[0].store, group[0].options, _count(group), error)


def _count(group: Group) -> int:
    return sum(len(append.events) for append in group)


def _observed_failure_of(group: Group) -> Failure:
    began = time.perf_counter()
    failure = thread_lines.failure_of(group)
    _observe(group, time.perf_counter() - began, failure)
    return failure


async def _aobserved_failure_of(group: Group) -> Failure:
    began = time.perf_counter()
    failure = await task_lines.failure_of(group)
    _observe(group, time.perf_counter() - began, failure)
    return failure


def _observe(group: Group, seconds: float, failure: Failure) -> None:
    """Call the observer. Its error is logged and not raised, because the append is done."""
    try:
        if observer is not None:
            observer(group[0].store.name, seconds, failure)
    except Exception as error:  # noqa: BLE001  (the append is done)
        logger.error(
            "Bucket %s: an append could not be observed, because of %s at %s.",
            group[0].store.name,
            kind_of(error),
            place_of(error),
            extra={"bucket": group[0].store.name},
        )
