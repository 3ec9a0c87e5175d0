"""One process drains many buckets, each when it has something."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, Self

from django.db import close_old_connections

from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError

from .drain import Drain
from .lookout import Lookout
from .reachability import Reachability
from .schedule import Kind, Schedule
from .spills import Spills
from .stop import Stop

_LONGEST_IDLE_SECONDS: Final = 10.0
"""How long a watching worker leaves a bucket alone of which it hears nothing."""

_MOST_IDLE_PER_SECOND: Final = 20
"""So many such buckets it looks at in a second. With more buckets, each has to wait longer."""

_MOST_AT_START: Final = 100
"""So many buckets it looks at without a pause when it starts."""

_SHORTEST_WAIT_SECONDS: Final = 0.005


class Rounds:
    """Drains of several buckets, and of their shards. A context manager, which ends them.

    To iterate over it processes batches, and yields the drain of each batch that was claimed. This
    ends when a limit is reached or when a stop is asked for. Without a lookout, it also ends when
    all buckets are drained. With a lookout, all drains must watch. If the lookout finds more
    shards, `new_drain` makes their drains.

    A bucket that cannot be read holds up no other. In a cluster this is also so for the buckets of
    a node that does not answer, if there is a `reachability`.
    """

    def __init__(
        self,
        drains: Iterable[Drain],
        *,
        stop: Stop,
        lookout: Lookout | None = None,
        reachability: Reachability | None = None,
        new_drain: Callable[[str], Drain] | None = None,
        retry_seconds: float = 1,
        max_seconds: float | None = None,
        max_batches: int | None = None,
        complain: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.drains: dict[str, Drain] = {}
        """By the name of the shard."""
        self.broken: dict[Drain, JSONBufferError] = {}
        """Drains of buckets that could not be read although Redis answers, and why."""
        self._schedule = Schedule(lambda name: self.drains[name].options.priority)
        self._lookout = lookout
        self._reachability = reachability
        self._new_drain = new_drain
        self._retry_seconds = retry_seconds
        self._batches_left = max_batches
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds
        self._stop = stop
        self._complain = complain
        self._complained: set[str] = set()
        """The nodes that were reported as unavailable. Redis is one without a name. Or, without a
        lookout, the texts of all errors."""
        self._spills = Spills(every_seconds=retry_seconds)
        self._refused: set[str] = set()
        """Buckets that were found, and cannot be drained."""
        for drain in drains:
            self._add(drain)

    def _add(self, drain: Drain) -> None:
        self.drains[drain.name] = drain
        if self._lookout is not None:
            self._lookout.names[drain.name] = None
        self._spills.add(drain)
        if self._reachability is not None:
            drain.wait_only(partial(self._reachability.patience_seconds, drain.key))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._lookout is not None:
            self._lookout.end()
        away: set[str] = {""} if isinstance(error, BufferUnavailable) else set()
        for drain in self.drains.values():
            tells_redis = away.isdisjoint(("", drain.node)) and self._why_away(drain) is None
            if not drain.end(tells_redis=tells_redis):
                away.add(drain.node)
        if self._reachability is not None:
            self._reachability.end()

    def __iter__(self) -> Iterator[Drain]:
        now = time.monotonic()
        for place, drain in enumerate(self.drains.values()):
            late = max(0, place - _MOST_AT_START) if self._lookout else 0
            due = now + late / _MOST_IDLE_PER_SECOND
            self._schedule.put(drain.name, due, kind=Kind.IDLE)
        if self._lookout is not None:
            self._lookout.begin()
        while not self._is_over():
            if self._lookout is not None:
                self._look(self._lookout)
            name = self._schedule.pop(time.monotonic())
            if name is not None:
                if self._take_turn(drain := self.drains[name]):
                    yield drain
            elif self._lookout is None and not self._schedule:
                return
            else:
                self._stop.wait(self._seconds_to_wait())

    def _is_over(self) -> bool:
        return (
            self._stop.is_set
            or self._batches_left == 0
            or (self._deadline is not None and time.monotonic() >= self._deadline)
        )

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        longest = self._retry_seconds if self._spills else _LONGEST_IDLE_SECONDS
        times = [self._schedule.seconds_to_wait(now), longest]
        if self._deadline is not None:
            times.append(max(0.0, self._deadline - now))
        return min(seconds for seconds in times if seconds is not None)

    def _look(self, lookout: Lookout) -> None:
        """Let the schedule know which buckets have something."""
        try:
            for sight in lookout.look():
                if (drain := self._drain_of(sight.name)) is not None:
                    linger = drain.options.linger.total_seconds() if sight.lingers else 0.0
                    due = sight.since + linger
                    self._schedule.hasten(sight.name, due, up_to=sight.ends)
        except BufferUnavailable as error:
            self._note_away(error)
        for node in self._reachability.returned() if self._reachability else ():
            self._note_back(node)
        for name in [*self._spills.look()]:
            if self._drain_of(name) is not None:
                self._schedule.hasten(name, time.monotonic(), up_to=Kind.LINGERS)
        if len(lookout.names) > len(self.drains) + len(self._refused):
            for name in [*lookout.names]:
                self._drain_of(name)

    def _drain_of(self, name: str) -> Drain | None:
        if (drain := self.drains.get(name)) is None and self._new_drain is not None:
            try:
                drain = self._new_drain(name)
            except JSONBufferError as error:
                if name not in self._refused:
                    self._complain(str(error))
                self._refused.add(name)
                return None
            self._add(drain)
            self._schedule.put(name, time.monotonic(), kind=Kind.IDLE)
        return drain

    def _take_turn(self, drain: Drain) -> bool:
        """Process one batch of the bucket. Returns whether there was a batch."""
        began = time.monotonic()
        if (error := self._why_away(drain)) is not None:
            found = self._note_failure(drain, error)
        else:
            found = self._step(drain)
        now = time.monotonic()
        name, seconds, next_seconds = drain.name, now - began, drain.next_seconds
        if found and next_seconds == 0:
            self._schedule.put_backlog(name, seconds=seconds)
        elif next_seconds is not None or self._lookout is not None:
            # In any case it is looked at from time to time, because a message may be lost.
            longest = max(_LONGEST_IDLE_SECONDS, len(self.drains) / _MOST_IDLE_PER_SECOND)
            wait_seconds = longest if next_seconds is None else min(next_seconds, longest)
            due = now + max(wait_seconds, _SHORTEST_WAIT_SECONDS)
            self._schedule.put(name, due, kind=_kind_of(drain, error), seconds=seconds)
        else:
            drain.end()
        return found

    def _step(self, drain: Drain) -> bool:
        close_old_connections()
        try:
            found = drain.step()
        except JSONBufferError as error:
            if isinstance(error, BufferUnavailable) and not error.node and self._lookout is None:
                raise
            return self._note_failure(drain, error)
        self._note_success(drain)
        if found and self._batches_left is not None:
            self._batches_left -= 1
        return found

    def _why_away(self, drain: Drain) -> BufferUnavailable | None:
        return None if self._reachability is None else self._reachability.why_away(drain.key)

    def _note_failure(self, drain: Drain, error: JSONBufferError) -> bool:
        """Note that the bucket cannot be read, and when to try again. Returns False."""
        drain.note_away()
        drain.next_seconds = None if self._lookout is None else self._retry_seconds
        if isinstance(error, BufferUnavailable) and self._lookout is not None:
            self._note_away(error)
        else:
            if isinstance(error, BufferUnavailable) and self._reachability is not None:
                self._reachability.note(error)
            if (text := str(error)) not in self._complained:  # many drains have the error of a node
                self._complain(text)
                self._complained.add(text)
            self.broken[drain] = error
        return False

    def _note_away(self, error: BufferUnavailable) -> None:
        if self._reachability is not None:
            self._reachability.note(error)
        if error.node not in self._complained:
            self._complain(f"{error} Trying again every {self._retry_seconds:g} s.")
            self._complained.add(error.node)

    def _note_success(self, drain: Drain) -> None:
        if (error := self.broken.pop(drain, None)) is not None:
            self._complained.discard(str(error))
        if self._complained:
            self._note_back("")
            self._note_back(drain.node)

    def _note_back(self, node: str) -> None:
        if node in self._complained:
            self._complained.discard(node)
            self._complain(f"{node or 'Redis'} is back.")


def _kind_of(drain: Drain, error: BufferUnavailable | None) -> Kind:
    """What the bucket waits for after its turn."""
    if error is not None or drain.reason == "outage":
        return Kind.FIRM
    if drain.reason in ("held", "paused", "doubt"):
        return Kind.HELD
    return Kind.LINGERS if drain.reason == "open" else Kind.IDLE
