"""A trip to Redis: one call with the events of one or more callers, each of whom gets a result."""

import asyncio
import logging
import os
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final

from django_jsonbuffer.exceptions import AppendUndecided, BucketFull, BufferUnavailable, SpillFull
from django_jsonbuffer.stamps import Stamp
from django_jsonbuffer.store import reports
from django_jsonbuffer.store.breakers import breaker_of
from django_jsonbuffer.store.links import Link
from django_jsonbuffer.store.traces import NO_TRACES

from . import losses, spilling
from .groups import Group, events_of, size_of, traces_of
from .producers import Once
from .sharding import TURN

_NO_TIME: Final = timedelta(0)


class Place:
    """The place of one caller in the line for the next trip, and the result of the trip."""

    waits_since: float | None = None
    """When the caller stood in line, on the monotonic clock. None if it need not wait."""

    is_done = False
    failure: Exception | None = None
    """None if the events are stored or spilled, else the error."""

    is_gone = False
    """Whether an interrupt has ended the call of the thread."""

    trip: "Trip | None" = None
    """The trip that the thread makes."""

    lock: "threading.Lock | None" = None
    """Released when the thread may send, or has its result. None if the thread need not wait."""

    undecided: AppendUndecided | None = None
    """The error of a thread that does not wait any longer. Its result, if it comes, replaces it."""

    result: asyncio.Future[None] | None = None
    """Done when the task has its result. None if the task sends its events itself."""

    def __init__(self, group: Group) -> None:
        self.group = group


class Trip(Once):
    """The trip of the events of one or more callers, in the order of their calls.

    All have the same bucket and the same options. If the trip is interrupted, another caller can
    make it again: the events are stored once.
    """

    rest: "tuple[Callable[[Link], Awaitable[None]], ...]" = ()
    """What is left to do when the callers have their results. See :meth:`conclude`."""

    _alone: "Sequence[Trip]" = ()
    """The trip of each place, if the events did not fit together."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = places
        first = places[0].group[0]
        self._store, self._options = first.store, first.options
        self._events, self._size, self._traces = first.events, first.size, NO_TRACES
        if first.context or len(places) > 1 or len(places[0].group) > 1:
            group = [append for place in places for append in place.group]
            self._events, self._size = events_of(group), size_of(group)
            self._traces = traces_of(group)

    async def make(self, link: Link) -> None:
        """Send the events. Afterwards each place has its result."""
        if not self._alone:
            failure = await self._failure(link)
            if len(self.places) == 1 or not _may_differ_alone(failure):
                for place in self.places:
                    place.failure = failure and self._own(failure)
                    place.is_done = True
                return
            self._alone = [Trip([place]) for place in self.places]
        for trip in self._alone:
            if not trip.places[0].is_done:
                await trip.make(link)
                self.rest += trip.rest

    async def conclude(self, link: Link) -> None:
        """Log what was found, count lost events, and forward the spill.

        This is not a part of the trip, so that only one caller waits for it. A log handler may even
        append, and hold a lock that another caller waits for. The results are known, so no error is
        raised, for example by a log handler.
        """
        rest, self.rest = self.rest, ()
        for each in rest:
            try:
                await each(link)
            except Exception:  # noqa: BLE001
                if logging.raiseExceptions:  # as the module logging does
                    traceback.print_exc()

    def abandon(self) -> None:
        """Let callers that wait no longer retry the trip. No thread may be making it any more."""
        for place in self.places:
            if place.undecided is not None and not place.is_done:
                error = BufferUnavailable("The thread that had to send it was interrupted.")
                own = self._trip_of(place)
                place.failure = own._undecided(error) if own._is_sent else error
                place.is_done = True

    def _trip_of(self, place: Place) -> "Trip":
        return next((trip for trip in self._alone if place in trip.places), self)

    async def retry(self, link: Link) -> None:
        await super().retry(link)
        await self.conclude(link)

    def _own(self, error: Exception) -> Exception:
        """An error object for one place: several threads would mix their tracebacks in one."""
        return error if len(self.places) == 1 else _copy_of(error)

    async def _failure(self, link: Link) -> Exception | None:
        """Send the events, if the breaker allows it.

        None if the events are in Redis or in the spill afterwards, else the error.
        """
        breaker = breaker_of(self._store.cache, self._store.keys.open)
        if breaker.failure and (refusal := breaker.refusal(self._store.name)) is not None:
            if self._is_stored:
                return None
            # An interrupt has ended this trip before.
            error = self._undecided(refusal) if self._is_undecided else refusal
            return await self._spilled(error, link)
        try:
            await self.send(link)
            if breaker.failure:
                breaker.close()
            if losses.unreported:
                self.rest += (partial(losses.report, self._store),)
            if self._options.spill_dir is not None:
                self.rest += (partial(spilling.forward_some, self._store, self._options),)
        except BaseException as error:
            breaker.learn(error, seconds=time.monotonic() - self.began, bucket=self._store.name)
            if not isinstance(error, Exception):
                raise
            return await self._spilled(error, link)
        return None

    @property
    def timeout(self) -> timedelta:
        # A bucket that spills does not send again: an undecided append keeps its stamp in the
        # spill, so it is stored once.
        spills = self._options.on_unavailable == "spill"
        return _NO_TIME if spills else self._options.append_timeout

    async def _call(self, link: Link, stamp: Stamp) -> None:
        limits, patience = self._options.limits, self._options.append_timeout
        size, traces = self._size, self._traces
        if (since := self.places[0].waits_since) is not None:
            patience -= timedelta(seconds=time.monotonic() - since)
        if limits.durability is not None:
            patience -= timedelta(seconds=time.monotonic() - self.began)
        if len(self.places) > 1 and limits.overflow == "drop_newest":
            # It would drop the events of all callers. Alone, some of them may have room.
            limits = replace(limits, overflow="raise")
        outcome = await self._store.append_by(
            link, self._events, stamp, limits, size=size, traces=traces, patience=patience
        )
        if outcome:
            if outcome.dropped:
                TURN.leave()
            self.rest += (partial(reports.of_append, self._store.identity, outcome),)

    async def _spilled(self, error: Exception, link: Link) -> Exception | None:
        """Spill the events. None if they are in the spill afterwards, else the error."""
        store, options = self._store, self._options
        if options.on_unavailable != "spill" or not isinstance(error, BufferUnavailable):
            return error
        if not error.may_be_repeated:
            return error  # the spill would send the append again
        try:
            if await spilling.put(store, options, self._events, error, link):
                self.rest += (partial(spilling.report, store, options),)
        except Exception as failure:  # noqa: BLE001  (each caller must get an answer)
            failure.__cause__ = error
            return error if isinstance(error, AppendUndecided) else failure
        return None


def _may_differ_alone(failure: Exception | None) -> bool:
    """Whether some of the callers may succeed if each sends its own events.

    Perhaps there was no room for the events of all, or the first caller had waited for a free
    connection as long as it may, and the others came later.
    """
    return isinstance(failure, BucketFull | SpillFull) or not getattr(failure, "was_asked", True)


def unanswered(place: Place) -> AppendUndecided:
    """The error of a caller that does not wait any longer for the thread that sends its events.

    A retry must not send them, because it is not known what the other thread does next.
    """
    process = os.getpid()

    def left_undecided() -> AppendUndecided | None:
        """The error of the other thread if its answer was lost. Raises any other error."""
        if not place.is_done and process != os.getpid():
            raise BufferUnavailable(
                "The process from which this one was forked sends the append. Look for its events "
                "before you append them again."
            )
        if not place.is_done:
            raise unanswered(place)
        if place.failure is None or isinstance(place.failure, AppendUndecided):
            return place.failure
        raise place.failure

    def retry() -> None:
        if undecided := left_undecided():
            undecided.retry()

    async def aretry() -> None:
        if undecided := left_undecided():
            await undecided.aretry()

    return AppendUndecided(
        "It is not known whether the append was stored: another thread sends it, and has no answer "
        "yet. Call retry() of this error later, to find out what the answer was.",
        retry=retry,
        aretry=aretry,
    )


def _copy_of(error: Exception) -> Exception:
    copy: Exception = type(error).__new__(type(error), *error.args)
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy.with_traceback(error.__traceback__)
