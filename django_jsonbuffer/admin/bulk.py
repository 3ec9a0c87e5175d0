"""Actions on several buckets: what each will touch, and what it did."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from django.contrib import messages
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from django_jsonbuffer import catalog, operations
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError
from django_jsonbuffer.figures import format_count
from django_jsonbuffer.states import BucketState, read_states

from .action_log import ActionLog
from .actions import ACTIONS, Outcome, describe_pause
from .bulk_actions import BULK_ACTIONS, BulkAction
from .confirmations import Confirmation, Touched
from .selection import Selection

SECONDS: Final = 10.0
"""No further bucket is begun after that time. The visitor is asked whether to go on."""

_SHOWN: Final = 20
_PAUSED_AT_ONCE: Final = 500


def confirm(action: str, selected: Sequence[BucketState]) -> Confirmation | None:
    """The question about these buckets. None if the action applies to none of them."""
    bulk = BULK_ACTIONS[action]
    unreadable = [each for each in selected if each.status is None]
    chosen = [each for each in selected if each.status and bulk.applies(each.bucket, each.status)]
    if not chosen:
        return None
    counts = {each.bucket.name: bulk.counts(each.status) for each in chosen if each.status}
    left_out = len(selected) - len(chosen) - len(unreadable)
    button = bulk.button(len(chosen)) % {"n": format_count(len(chosen))}
    return Confirmation(
        title=_("%(action)s?") % {"action": button},
        question=bulk.question % {"count": format_count(sum(counts.values()))},
        button=button,
        is_destructive=bulk.is_destructive,
        fields=_fields(action, counts),
        notes=[*_notes(bulk, left_out, len(unreadable))],
        touched=[
            Touched(bucket_state=each, count=format_count(counts[each.bucket.name]))
            for each in chosen[:_SHOWN]
        ],
        touched_heading=_("Dead letters")
        if bulk.is_about_letters
        else pgettext("bucket", "Pending"),
        more=_and_more(len(chosen) - _SHOWN),
    )


def _fields(action: str, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    fields = ("action", action), ("names", " ".join(names))
    # Dead letters that come while the visitor reads the question stay.
    return (*fields, ("newest", operations.latest_letter_id())) if action == "replay" else fields


def _notes(bulk: BulkAction, left_out: int, unreadable: int) -> Iterator[str]:
    if bulk.is_destructive:
        yield _("Batches that a worker holds and dead letters stay.")
    if left_out:
        yield bulk.left_out % {"n": format_count(left_out)}
    if unreadable:
        text = _("Left out, because they cannot be read: %(n)s.")
        yield text % {"n": format_count(unreadable)}


def _and_more(count: int) -> str:
    if count < 1:
        return ""
    text = ngettext("and %(n)s more bucket", "and %(n)s more buckets", count)
    return text % {"n": format_count(count)}


def named_buckets(names: Iterable[str]) -> list[Bucket]:
    """The known buckets of these names. Others are left out: any client can send a form.

    Raises the gap if Redis cannot say whether there are some of them.
    """
    known, gap = catalog.read_known()
    wanted = {*names}
    found = [bucket for bucket in known if bucket.name in wanted]
    if gap is not None and len(found) < len(wanted):
        raise gap
    return found


@dataclass(slots=True)
class BulkResult:
    """The result of an action on several buckets."""

    action: str
    done: int = 0
    count: int = 0
    """The events or dead letters of these buckets."""

    unchanged: int = 0
    troubles: list[str] = field(default_factory=list)
    unfinished: list[Bucket] = field(default_factory=list)
    """Buckets that were begun, and have something left."""

    left: list[Bucket] = field(default_factory=list)
    """Buckets that were not begun."""

    error: JSONBufferError | None = None
    """Why the others were not begun; None if there was only no time left."""

    @property
    def level(self) -> int:
        if self.error:
            return messages.ERROR
        return messages.WARNING if self.troubles or self.rest else messages.SUCCESS

    @property
    def rest(self) -> list[Bucket]:
        return self.unfinished + self.left

    @property
    def message(self) -> str:
        return " ".join(self._sentences())

    def _sentences(self) -> Iterator[str]:
        yield BULK_ACTIONS[self.action].done(self.done) % {"n": format_count(self.done)}
        if self.count:
            what = _("Dead letters: %(n)s.") if self.action == "replay" else _("Events: %(n)s.")
            yield what % {"n": format_count(self.count)}
        if self.unchanged:
            yield _("Nothing to do: %(n)s.") % {"n": format_count(self.unchanged)}
        if self.troubles:
            yield _("With trouble: %(n)s.") % {"n": format_count(len(self.troubles))}
            yield from self.troubles[:3]
        if self.unfinished:
            yield _("Not finished: %(n)s.") % {"n": format_count(len(self.unfinished))}
        if self.left:
            yield _("Not begun: %(n)s.") % {"n": format_count(len(self.left))}
        if self.error:
            yield str(self.error)


def carry_out(
    action: str, buckets: Sequence[Bucket], selection: Selection, log: ActionLog
) -> BulkResult:
    """Carry the action out, and log it. `selection` has the dead letters to replay.

    Ends early after :data:`SECONDS`, or if Redis cannot be reached. If only a node of a cluster
    cannot be reached, or one bucket cannot be read, the action goes on with the others.
    """
    result, until = BulkResult(action), time.monotonic() + SECONDS
    is_quick = action in ("pause", "resume")
    act = _pause_or_resume if is_quick else partial(_act_on_each, selection)
    size = _PAUSED_AT_ONCE if is_quick else 1
    portions = deque(buckets[start : start + size] for start in range(0, len(buckets), size))
    while portions and time.monotonic() < until and not result.error:
        portion = portions.popleft()
        log.begin(*(bucket.name for bucket in portion))
        for bucket, outcome in act(action, portion, until):
            log.note(bucket.name, outcome)
            _count(result, bucket, outcome)
    result.left = [bucket for portion in portions for bucket in portion]
    return result


Done = Iterator[tuple[Bucket, Outcome | JSONBufferError]]


def _pause_or_resume(action: str, buckets: Sequence[Bucket], until: float) -> Done:
    is_paused = action == "pause"
    try:
        changes = operations.set_paused(buckets, is_paused=is_paused)
    except JSONBufferError as error:
        yield from ((bucket, error) for bucket in buckets)
        return
    for bucket, change in zip(buckets, changes, strict=True):
        if isinstance(change, JSONBufferError):
            yield bucket, change
        else:
            yield bucket, describe_pause(is_changed=change, is_paused=is_paused)


def _act_on_each(
    selection: Selection, action: str, buckets: Sequence[Bucket], until: float
) -> Done:
    for bucket in buckets:
        try:
            yield bucket, ACTIONS[action](bucket, selection, until)
        except JSONBufferError as error:
            yield bucket, error


def _count(result: BulkResult, bucket: Bucket, outcome: Outcome | JSONBufferError) -> None:
    if isinstance(outcome, JSONBufferError):
        if isinstance(outcome, BufferUnavailable) and outcome.is_unreachable and not outcome.node:
            result.error = outcome
            result.unfinished.append(bucket)
        else:
            result.troubles.append(f"{bucket.name}: {outcome}")
        return
    result.count += outcome.events
    # A warning that nothing was done means that others have replayed all dead letters meanwhile.
    if outcome.level == messages.ERROR or (outcome.is_logged and outcome.level == messages.WARNING):
        result.troubles.append(f"{bucket.name}: {outcome.message}")
    if outcome.is_unfinished:
        result.unfinished.append(bucket)
    if outcome.is_logged:
        result.done += 1
    else:
        result.unchanged += 1


def read_selected(names: Sequence[str]) -> list[BucketState]:
    """The states of the known buckets of these names."""
    return read_states(named_buckets(names))
