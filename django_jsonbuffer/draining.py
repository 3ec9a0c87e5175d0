"""Claim, process, acknowledge: one batch after the other."""

import logging
import os
import random
import secrets
import socket
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from inspect import isasyncgen, isawaitable, isgenerator
from traceback import format_tb
from types import TracebackType
from typing import Any, Final, Self, overload

from asgiref.sync import async_to_sync

from .exceptions import (
    BufferMisconfigured,
    BufferUnavailable,
    JSONBufferError,
    LeaseLost,
)
from .options import Options
from .store import Claim, Store
from .transactions import no_transaction_left_open

logger = logging.getLogger("django_jsonbuffer")

FIRST_BACKOFF: Final = timedelta(seconds=1)


class Batch(Sequence[Any]):
    """Events as a processor gets them: a sequence of JSON values, in append order."""

    __slots__ = ("_events", "attempt", "bucket", "id")

    def __init__(self, events: Iterable[Any], *, id: str, attempt: int, bucket: str) -> None:
        self._events = tuple(events)
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

    def __repr__(self) -> str:
        # The events may be private, and a repr ends up in logs.
        return f"<Batch {self.id} of {self.bucket!r}, attempt {self.attempt}: {len(self)} events>"


Processor = Callable[[Batch], object]


@dataclass(kw_only=True, slots=True)
class DrainReport:
    """What a drain has done."""

    processed: int = 0
    """Events that were processed and acknowledged."""

    batches: int = 0
    """Batches that were processed and acknowledged."""

    failed: int = 0
    """Batches whose processor raised. They come again after a backoff."""

    buried: int = 0
    """Events that went to the dead letters."""


class Drain:
    """One worker's drain of one bucket.

    It holds one batch at a time, under a name of its own in the consumer group. As a context
    manager it takes that name out of the group at the end.

    Without `watch` it ends: it seals the open batch first, and stops behind the batch that was the
    newest at that moment. It comes to each batch once, so one that keeps failing cannot hold it up.
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
        self._has_joined = False
        self._last: str | None = None
        self._newest: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._has_joined or isinstance(error, BufferUnavailable):
            return
        # A name that stays behind is harmless, and a batch that does is another's after the lease.
        with suppress(JSONBufferError):
            self._store.retire(self._worker, lease=self._options.lease)

    def step(self) -> bool:
        """Claim one batch, process it and acknowledge it. False when there is none to claim.

        What the processor raises is logged, and its batch is released. KeyboardInterrupt goes on
        its way; the end of the context then releases what is still held.
        """
        claim = self._claim()
        if claim is None:
            return False
        try:
            events = self._decode(claim.array)
        except ValueError as error:
            self._bury(claim, error)
            return True
        batch = Batch(events, id=claim.id, attempt=claim.deliveries, bucket=self.bucket)
        try:
            with no_transaction_left_open():
                _finish(self._processor(batch))
        except (Exception, SystemExit, CancelledError) as error:  # noqa: BLE001
            self._fail(claim, error)
        else:
            self._ack(claim, events=len(events))
        return True

    def _claim(self) -> Claim | None:
        if self._watch:
            linger, after = self._options.linger, None
        else:
            if self._last is None:
                self._newest, rubbish = self._store.seal()
                self.report.buried += rubbish
            if self._newest is None or _is_behind(self._last, self._newest):
                return None
            linger, after = None, self._last
        self._has_joined = True
        claim, rubbish = self._store.claim(
            self._worker, lease=self._options.lease, linger=linger, after=after
        )
        self.report.buried += rubbish
        if claim is not None:
            self._last = claim.id
        return claim

    def _ack(self, claim: Claim, *, events: int) -> None:
        try:
            self._store.ack(claim)
        except LeaseLost as lost:
            logger.warning("%s It was processed, and may be once more.", lost)
            return
        except BufferUnavailable:
            logger.warning(
                "Bucket %s: batch %s of %d events was processed and could not be acknowledged. It "
                "comes again.",
                self.bucket,
                claim.id,
                claim.count,
            )
            raise
        self.failing.discard(claim.id)
        self.report.batches += 1
        self.report.processed += events

    def _fail(self, claim: Claim, error: BaseException) -> None:
        backoff = min(_backoff(claim.deliveries), self._options.lease)
        logger.error(
            "Bucket %s: batch %s of %d events failed at attempt %d with %s. It is kept, and comes "
            "again in about %.1f s.\n%s",
            self.bucket,
            claim.id,
            claim.count,
            claim.deliveries,
            _kind(error),
            backoff.total_seconds(),
            "".join(format_tb(error.__traceback__)).rstrip(),
        )
        # What an error says of itself may quote events, as a database quotes the row that fails.
        logger.debug("Batch %s of bucket %s:", claim.id, self.bucket, exc_info=error)
        self.failing.add(claim.id)
        self.report.failed += 1
        try:
            self._store.release(claim, lease=self._options.lease, backoff=backoff)
        except LeaseLost as lost:
            logger.warning("%s Whoever holds it goes on.", lost)

    def _bury(self, claim: Claim, error: ValueError) -> None:
        try:
            self._store.bury(claim, error=f"The batch cannot be read: {_kind(error)}.")
        except LeaseLost as lost:
            logger.warning("%s Whoever holds it goes on.", lost)
            return
        self.report.buried += 1


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


def _backoff(attempt: int) -> timedelta:
    """Twice as long after each attempt, with jitter, so that workers do not come back in step."""
    return FIRST_BACKOFF * (2.0 ** min(attempt - 1, 16)) * random.uniform(0.5, 1)


def _is_behind(last: str | None, newest: str) -> bool:
    """Whether the drain has come as far as the batch that was the newest when it began."""
    return last is not None and _position(last) >= _position(newest)


def _position(id: str) -> tuple[int, int]:
    """A stream id is the server's milliseconds, a dash, and a sequence number."""
    time, _, sequence = id.partition("-")
    return int(time), int(sequence)
