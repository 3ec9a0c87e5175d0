"""Claim, process, acknowledge: one batch after the other. Retry, isolate, bury what fails."""

import logging
import os
import random
import secrets
import socket
import time
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from inspect import isasyncgen, isawaitable, isgenerator
from traceback import format_exception, format_exception_only, format_tb
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, overload

from asgiref.sync import async_to_sync
from django.db import InterfaceError, OperationalError

from .encoding import spans
from .exceptions import (
    BufferMisconfigured,
    BufferUnavailable,
    JSONBufferError,
    LeaseLost,
)
from .leases import Lease
from .options import Options
from .store import Burial, Claim, Store, position
from .transactions import close_broken_connections, committed, no_transaction_left_open

logger = logging.getLogger("django_jsonbuffer")

FIRST_BACKOFF: Final = timedelta(seconds=1)

DEATHS_TO_SPLIT: Final = 3
"""Workers that a batch may kill before it is halved without another attempt. What follows is the
same for its halves after one more death each, down to the single event."""

DEATHS_TO_BURY: Final = 5
"""Workers that a single event may kill. More, since workers die of other causes, too."""

PAUSE_SECONDS: Final = 0.1
"""Before an ack whose reply was lost is sent again."""

OUTAGES_TO_STOP: Final = 3
"""Batches in a row for which the sink was away, before a drain that is to end gives up. The last of
them is one that was never delivered, if there is one, in case that it is the others."""

_OUTAGE_ERRORS: Final = (
    OperationalError,
    InterfaceError,
    ConnectionError,
    TimeoutError,
    BufferUnavailable,
)

_MOST_OF_A_TRACEBACK: Final = 20_000
"""Characters of it, the last ones."""


class Batch(Sequence[Any]):
    """Events as a processor gets them: a sequence of JSON values, in append order."""

    __slots__ = ("_events", "_places", "_rejected", "attempt", "bucket", "id")

    def __init__(self, events: Iterable[Any], *, id: str, attempt: int, bucket: str) -> None:
        self._events = tuple(events)
        self._rejected: dict[int, object] = {}
        self._places: dict[int, list[int]] = {}
        """Where the events are that were not rejected, by the identity of the object."""
        self.id = id
        """The same on every delivery of this batch, and of no other: a key to tell a repeat by."""
        self.attempt = attempt
        """How often this batch was delivered, this time included."""
        self.bucket = bucket
        """Name of the bucket."""

    def __len__(self) -> int:
        return len(self._events)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._events[index]

    def reject(self, event: Any, reason: str | BaseException) -> None:
        """Name an event that cannot be processed: when the processor returns, it goes to the dead
        letters with this reason, and the others count as processed.

        Raises ``ValueError`` for what is no event of this batch, or was rejected as often as it is.
        """
        if not self._places:
            for at, own in enumerate(self._events):
                self._places.setdefault(id(own), []).append(at)
        places = self._places.get(id(event)) or self._places_of_equals(event)
        if not places:
            raise ValueError("Only an event of the batch can be rejected, and each once.")
        self._rejected[places.pop(0)] = reason

    def _places_of_equals(self, event: Any) -> list[int]:
        """To Python, 1, 1.0 and True are equal: what is written alike comes first."""
        equal = [p for p in self._places.values() if p and self._events[p[0]] == event]
        alike = [p for p in equal if repr(self._events[p[0]]) == repr(event)]
        return [*alike, *equal, []][0]

    @property
    def rejected(self) -> Mapping[int, object]:
        """The reasons, by the place of the event in the batch."""
        return self._rejected

    def __repr__(self) -> str:
        # The events may be private, and a repr ends up in logs.
        return f"<Batch {self.id} of {self.bucket!r}, attempt {self.attempt}: {len(self)} events>"


class Processor(NamedTuple):
    """What batches are processed with."""

    function: Callable[[Batch], object]
    atomic: str | None
    """Alias of a database, to wrap each call in a transaction of it."""


@dataclass(kw_only=True, slots=True)
class DrainReport:
    """What a drain has done."""

    processed: int = 0
    """Events that were processed and acknowledged."""

    batches: int = 0
    """Batches that were processed and acknowledged."""

    failed: int = 0
    """How often the processor raised."""

    buried: int = 0
    """Events that went to the dead letters."""


class Drain:
    """One worker's drain of one bucket.

    It holds one batch at a time, under a name of its own in the consumer group. As a context
    manager it takes that name out of the group at the end.

    Without `watch` it ends: it seals the open batch first, and stops behind the batch that was the
    newest at that moment, or behind the halves of what it has split. It comes to each batch once,
    so one that keeps failing cannot hold it up.
    """

    def __init__(
        self,
        bucket: str,
        *,
        store: Store,
        options: Options,
        decode: Callable[[bytes], list[Any]],
        processor: Processor,
        watch: bool,
    ) -> None:
        self.bucket = bucket
        self.report = DrainReport()
        self.failing: set[str] = set()
        """Ids of the batches that failed and have not succeeded since."""
        self._store = store
        self._options = options
        self._decode = decode
        self._processor = processor
        self._watch = watch
        self._worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lease = Lease(store, self._worker, duration=options.lease)
        self._process = os.getpid()
        self._has_joined = False
        self._last: str | None = None
        self._newest: str | None = None
        self._outages = 0
        self._resumes_at = 0.0
        self._unacknowledged: tuple[Claim, Batch, bool] | None = None
        """What was processed, and whether it may have been acknowledged all the same."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if os.getpid() != self._process:
            return  # a child that the processor has forked: the worker is its parent
        self._lease.end()
        if not self._has_joined or isinstance(error, BufferUnavailable):
            return
        # A name that stays behind is harmless, and a batch that does is another's after the lease.
        with suppress(JSONBufferError):
            if self._unacknowledged is not None:
                self._succeed(*self._unacknowledged)
            self._store.retire(self._worker, lease=self._options.lease)

    def step(self) -> bool:
        """Claim one batch, process it and acknowledge it. False when there is none to claim.

        What the processor raises is logged, and its batch is released, split or buried. What is no
        Exception goes on its way then, but for SystemExit and CancelledError. KeyboardInterrupt
        and GeneratorExit say nothing of the batch, which the end of the context releases.
        """
        if self._unacknowledged is not None:
            done, self._unacknowledged = self._unacknowledged, None
            self._succeed(*done)
            return True
        if self._is_waiting_for_the_sink() or (claim := self._claim()) is None:
            return False
        if claim.deaths >= DEATHS_TO_SPLIT and self._isolate_killer(claim):
            return True
        try:
            batch = Batch(
                self._decode(claim.array),
                id=claim.id,
                attempt=claim.deliveries,
                bucket=self.bucket,
            )
        except ValueError as error:
            told = f"The batch cannot be read: {_kind(error)}."
            self._isolate(claim, told, kind=_kind(error), attempts=0)
            return True
        except Exception as error:  # noqa: BLE001  (of an encoder that may be mended)
            self._fail(claim, error)
            return True
        try:
            with self._lease.held(claim), no_transaction_left_open():
                self._process_batch(claim, batch)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            if os.getpid() != self._process:
                raise
            if error is self._lease.loss:
                logger.warning("%s What the processor did is rolled back.", error)
                return True
            self._fail(claim, error)
            if not self._may_go_on_after(error):
                raise
        else:
            self._outages = 0
            self._succeed(claim, batch)
        return True

    def _process_batch(self, claim: Claim, batch: Batch) -> None:
        function, alias = self._processor
        if alias is None:
            _finish(function(batch))
        else:
            with committed(alias, confirm=partial(self._lease.confirm, claim)):
                _finish(function(batch))
        if os.getpid() != self._process:
            raise RuntimeError(
                "The processor forked, and its child returned: end it by os._exit()."
            )

    def _may_go_on_after(self, error: BaseException) -> bool:
        """As after a panic in Rust it may not, or when somebody ends this greenlet."""
        return isinstance(
            error, (Exception, SystemExit, CancelledError, *self._options.outage_errors)
        )

    def _is_waiting_for_the_sink(self) -> bool:
        if self._watch:
            return time.monotonic() < self._resumes_at
        return self._outages >= OUTAGES_TO_STOP

    def _forward(self) -> None:
        """What this machine has spilled goes first. What keeps it is no reason not to drain."""
        if self._options.spill_dir is None:
            return
        from .spill import forward  # SQLite is for those alone who spill

        try:
            forward(self._store, self._options)
        except JSONBufferError as error:
            if isinstance(error, BufferUnavailable) and error.is_unreachable:
                raise
            logger.warning("Bucket %s: what was spilled still waits. %s", self.bucket, error)

    def _claim(self) -> Claim | None:
        if self._watch:
            self._forward()
            return self._claim_behind(None, linger=self._options.linger)
        if self._last is None:
            self._forward()
            self._newest, rubbish = self._store.seal()
            self.report.buried += rubbish
        if self._newest is None or _is_behind(self._last, self._newest):
            return None
        if self._outages == OUTAGES_TO_STOP - 1 and (claim := self._claim_behind(self._newest)):
            return claim
        if claim := self._claim_behind(self._last):
            self._last = claim.id
        return claim

    def _claim_behind(self, after: str | None, *, linger: timedelta | None = None) -> Claim | None:
        self._has_joined = True
        self._lease.begin()
        claim, rubbish = self._store.claim(
            self._worker, lease=self._options.lease, linger=linger, after=after
        )
        self.report.buried += rubbish
        return claim

    def _succeed(self, claim: Claim, batch: Batch, is_repeat: bool = False) -> None:
        try:
            self._acknowledge(claim, batch, is_repeat=is_repeat)
        except LeaseLost as lost:
            logger.warning("%s It was processed, and may be once more.", lost)
            return
        except BufferUnavailable as error:
            logger.warning(
                "Bucket %s: batch %s of %d events was processed and could not be acknowledged yet.",
                self.bucket,
                claim.id,
                claim.count,
            )
            self._unacknowledged = claim, batch, is_repeat or error.may_be_done
            raise
        finally:
            self.failing.discard(claim.id)
        self.report.batches += 1
        self.report.processed += len(batch) - len(batch.rejected)
        self.report.buried += len(batch.rejected)

    def _acknowledge(self, claim: Claim, batch: Batch, *, is_repeat: bool) -> None:
        """Again while the reply is lost: what has been processed is not to be processed twice."""
        deadline = time.monotonic() + self._options.append_timeout.total_seconds()
        while True:
            try:
                if batch.rejected:
                    self._bury_rejected(claim, batch)
                else:
                    self._store.ack(claim)
            except LeaseLost:
                if not is_repeat:
                    raise
                # The first had been carried out. Or another worker has the batch, which is rarer.
            except BufferUnavailable as error:
                if not error.may_be_done or time.monotonic() >= deadline:
                    raise
                is_repeat = True
                time.sleep(PAUSE_SECONDS)
                continue
            return

    def _bury_rejected(self, claim: Claim, batch: Batch) -> None:
        places = spans(claim.array)
        burials = [
            Burial(*places[at], *_told(reason)) for at, reason in sorted(batch.rejected.items())
        ]
        processed = len(batch) - len(burials)
        self._store.bury(claim, burials, processed=processed, attempts=claim.failures + 1)
        logger.warning(
            "Bucket %s: the processor rejected %d events of batch %s. They are dead letters.",
            self.bucket,
            len(burials),
            claim.id,
        )

    def _fail(self, claim: Claim, error: BaseException) -> None:
        self.report.failed += 1
        if isinstance(error, (*_OUTAGE_ERRORS, *self._options.outage_errors)):
            close_broken_connections()
            self._outages += 1
            self._resumes_at = (
                time.monotonic() + _backoff(self._outages, most=self._options.lease).total_seconds()
            )
            if claim.count > 1 and claim.outages >= self._options.max_attempts:
                # Which was not away for others. It is never buried for that.
                self._log_failure(claim, error, "has failed while others were processed")
                self._isolate(claim, *_told(error), kind=_kind(error), attempts=claim.failures)
            else:
                self._release(claim, error, failed=False)
            return
        self._outages = 0
        attempts = claim.failures + 1
        if attempts < self._options.max_attempts:
            self._release(claim, error, failed=True)
            return
        self._log_failure(claim, error, "has used up its attempts")
        self._isolate(claim, *_told(error), kind=_kind(error), attempts=attempts)

    def _release(self, claim: Claim, error: BaseException, *, failed: bool) -> None:
        backoff = _backoff(claim.deliveries, most=self._options.lease)
        comes_again = f"is kept, and comes again in about {backoff.total_seconds():.1f} s"
        self._log_failure(claim, error, comes_again)
        self.failing.add(claim.id)
        try:
            self._store.release(
                claim,
                lease=self._options.lease,
                backoff=backoff,
                failed=failed,
                error=_kind(error),
            )
        except LeaseLost as lost:
            logger.warning("%s Whoever holds it goes on.", lost)

    def _log_failure(self, claim: Claim, error: BaseException, outcome: str) -> None:
        logger.error(
            "Bucket %s: batch %s of %d events failed at attempt %d with %s. It %s.\n%s",
            self.bucket,
            claim.id,
            claim.count,
            claim.deliveries,
            _kind(error),
            outcome,
            "".join(format_tb(error.__traceback__)).rstrip(),
        )
        # What an error says of itself may quote events, as a database quotes the row that fails.
        logger.debug("Batch %s of bucket %s:", claim.id, self.bucket, exc_info=error)

    def _isolate_killer(self, claim: Claim) -> bool:
        """Split a batch that its workers died of, or bury the single event. False to try again."""
        if claim.count == 1 and claim.deaths < DEATHS_TO_BURY:
            return False
        error = f"{claim.deaths} workers died, or were silent for a lease, while they processed it."
        self._isolate(claim, error, kind="", attempts=claim.failures)
        return True

    def _isolate(
        self, claim: Claim, error: str, traceback: str = "", *, kind: str, attempts: int
    ) -> None:
        """Halve the batch, or bury it when it is one event or cannot be told apart."""
        try:
            places = spans(claim.array)
        except ValueError:
            places = [(0, len(claim.array))]
        try:
            if len(places) > 1:
                self._split(claim, places, kind=kind, attempts=attempts)
            else:
                burial = Burial(*places[0], error, traceback)
                self._store.bury(claim, [burial], processed=0, attempts=attempts)
                self.report.buried += 1
                logger.error(
                    "Bucket %s: the event that batch %s ended with is a dead letter.",
                    self.bucket,
                    claim.id,
                )
        except LeaseLost as lost:
            logger.warning("%s Whoever holds it goes on.", lost)
        self.failing.discard(claim.id)

    def _split(
        self, claim: Claim, places: Sequence[tuple[int, int]], *, kind: str, attempts: int
    ) -> None:
        deaths = min(claim.deaths, DEATHS_TO_SPLIT - 1)
        newest = self._store.split(
            claim, places, failures=attempts, deaths=deaths, outages=claim.outages, error=kind
        )
        if self._newest is not None and not _is_behind(self._newest, newest):
            self._newest = newest
        logger.warning(
            "Bucket %s: batch %s of %d events was halved, to find what is wrong with it.",
            self.bucket,
            claim.id,
            len(places),
        )


def _finish(result: object) -> None:
    """Run to its end what a coroutine function only began, and refuse what cannot be."""
    if isawaitable(result):
        async_to_sync(_wait_for)(result)
    elif isgenerator(result) or isasyncgen(result):
        raise BufferMisconfigured(
            "The processor returned a generator, whose body has not been run. Take the yield out."
        )


async def _wait_for(result: Awaitable[object]) -> None:
    await result


def _kind(error: BaseException) -> str:
    return type(error).__qualname__


def _told(reason: object) -> tuple[str, str]:
    """What a dead letter tells: the error, and the traceback."""
    if not isinstance(reason, BaseException):
        return _as_text(str(reason)), ""
    text = "".join(format_exception(reason)).rstrip()
    error = "".join(format_exception_only(reason)).strip()
    return _as_text(error), _as_text(text[-_MOST_OF_A_TRACEBACK:])


def _as_text(text: str) -> str:
    """Without lone surrogates, which the name of a file may bring into an error."""
    return text.encode(errors="backslashreplace").decode()


def _backoff(attempt: int, *, most: timedelta) -> timedelta:
    """Twice as long after each attempt, with jitter, so that workers do not come back in step."""
    return min(FIRST_BACKOFF * (2.0 ** min(attempt - 1, 16)) * random.uniform(0.5, 1), most)


def _is_behind(last: str | None, newest: str) -> bool:
    """Whether the drain has come as far as the batch that was the newest when it began."""
    return last is not None and position(last) >= position(newest)
