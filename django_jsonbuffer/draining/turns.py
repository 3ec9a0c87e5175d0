"""The drains of all shards of one bucket, which take turns."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from django_jsonbuffer.declarations import Parts
from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError
from django_jsonbuffer.processors import Processor
from django_jsonbuffer.store.store import Store

from .drain import Drain
from .report import DrainReport

_PAUSE_SECONDS: Final = 1.0
"""How long a watching worker leaves a shard alone that cannot be read."""


def drains_of(
    parts: Parts, processor: Processor, stores: Sequence[Store], **options: Any
) -> list[Drain]:
    """A drain for each of the shards. All have one report, which is that of the bucket."""
    report = DrainReport()
    shards = [store.shard for store in stores]
    return [Drain(parts, processor, shard=shard, report=report, **options) for shard in shards]


class Turns:
    """Drains of the shards of one bucket, to use like the drain of a single shard.

    A shard that cannot be read does not hold up the others. Its error is raised in the end, or with
    `watch` at once, and the next step goes on with the others.
    """

    def __init__(self, drains: Sequence[Drain], *, watch: bool = False) -> None:
        self._watch = watch
        self._drains = [*drains]
        self.report = drains[0].report
        self._dues = dict.fromkeys(self._drains, 0.0)
        """When each drain that has not ended may find a batch, on the monotonic clock. Of those
        with a backlog, the one whose last turn is longest ago comes first."""
        self._errors: list[JSONBufferError] = []
        """Those that are raised in the end."""
        self._away: set[str] = set()
        """The nodes of a cluster that did not answer."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        away = self._away | ({error.node} if isinstance(error, BufferUnavailable) else set())
        for drain in self._drains:
            drain.end(tells_redis=away.isdisjoint(("", drain.node)))

    def step(self) -> bool:
        """Process one batch of any shard. False if there is none at this moment."""
        for _ in self._drains:  # each comes to its turn once
            if not self._dues or self._dues[drain := self._next()] > time.monotonic():
                break
            if self._step(drain):
                return True
        self._raise_at_end()
        return False

    def wait(self) -> bool:
        """Wait a little, if a later step may find a batch. False if not."""
        self._raise_at_end()
        waiting = [drain for drain in self._dues if drain.next_seconds is not None]
        return bool(waiting) and min(waiting, key=self._dues.__getitem__).wait()

    def _next(self) -> Drain:
        return min(self._dues, key=self._dues.__getitem__)

    def _step(self, drain: Drain) -> bool:
        try:
            found = drain.step()
        except JSONBufferError as error:
            if isinstance(error, BufferUnavailable) and not error.node:
                raise
            self._leave_alone(drain, error)
            return False
        self._away.discard(drain.node)
        seconds = 0.0 if found else drain.next_seconds
        if seconds is None and not self._watch:
            del self._dues[drain]
        else:
            self._dues[drain] = time.monotonic() + (seconds or 0.0)
        return found

    def _leave_alone(self, drain: Drain, error: JSONBufferError) -> None:
        """Leave a drain alone that has failed, and the others of a node that does not answer."""
        node = error.node if isinstance(error, BufferUnavailable) else None
        left_alone = [each for each in self._dues if each is drain or each.node == node]
        for each in left_alone:
            each.note_away()
        if node:
            self._away.add(node)
        if self._watch:
            self._dues |= dict.fromkeys(left_alone, time.monotonic() + _PAUSE_SECONDS)
            raise error
        for each in left_alone:
            del self._dues[each]
        self._errors.append(error)

    def _raise_at_end(self) -> None:
        if self._errors and not self._dues:
            error = self._errors[0]
            self._errors.clear()
            raise error
