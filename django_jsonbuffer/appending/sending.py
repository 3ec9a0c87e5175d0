"""Sends appends in groups. A group that fails becomes an error for its caller, or lost events."""

from collections.abc import Sequence

from django_jsonbuffer.exceptions import BucketFull, BufferUnavailable
from django_jsonbuffer.signals import bucket_full

from . import losses, task_lines, thread_lines
from .groups import Append, Group, groups_of

Failure = Exception | None
"""None if the events of a group are stored or spilled, else the error."""


def send_all(appends: Sequence[Append], *, may_raise: bool = True) -> None:
    """Send the appends, bucket by bucket, each in its order.

    The failure of one group does not stop the others. At the end raises the first error that a
    caller waits for, or that ``on_unavailable="raise"`` demands. Events of the other failed groups
    count as lost.
    """
    groups = groups_of(appends)
    failures: list[Failure] = []
    try:
        failures.extend(map(thread_lines.failure_of, groups))
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
        for group in groups:
            failures += [await task_lines.failure_of(group)]
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
