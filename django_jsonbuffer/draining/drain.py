"""A worker's drain of one bucket: claim, process, acknowledge, one batch after the other."""

import logging
import os
import secrets
import socket
from asyncio import CancelledError
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

from django_jsonbuffer.declarations import Processor
from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.claims import Claim, position
from django_jsonbuffer.store.store import Store

from .acks import Acks
from .batches import Batch, Processed
from .failures import DEATHS_TO_SPLIT, OUTAGES_TO_STOP, DrainReport, Failures
from .forwarding import Forwarding
from .leases import Lease
from .processor_transactions import run_processor
from .retention import Retention

logger = logging.getLogger("django_jsonbuffer")


class Drain:
    """One worker's drain of one bucket. Each `step` processes one batch.

    The worker holds one batch at a time, under a name that only this worker has in the consumer
    group. Use the drain as a context manager, which removes that name at the end.

    Without `watch` the drain ends. It seals the open batch first, and stops after the batch that is
    then the newest. If it has halved a batch, it stops after the last half. It comes to each batch
    once, so a batch that keeps failing cannot hold it up.
    """

    def __init__(
        self,
        store: Store,
        options: Options,
        *,
        decode: Callable[[bytes], list[Any]],
        processor: Processor,
        watch: bool,
    ) -> None:
        self.bucket = store.name
        self.report = DrainReport()
        self._store = store
        self._options = options
        self._decode = decode
        self._processor = processor
        self._watch = watch
        self._worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lease = Lease(store, self._worker, duration=options.lease)
        self._failures = Failures(store, options, self.report)
        self._acks = Acks(store, options, self.report, self._failures)
        self.forwarding = Forwarding(store, options)
        self._retention = Retention(store, options)
        self._process_id = os.getpid()
        self._has_joined = False
        self._last: str | None = None
        """Id of the last batch that this drain claimed."""
        self._newest: str | None = None
        """Id of the batch after which this drain stops."""

    @property
    def failing(self) -> set[str]:
        """Ids of the batches that failed and have not succeeded since."""
        return self._failures.failing

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if os.getpid() != self._process_id:
            return  # in a child that the processor has forked: the parent is the worker
        self._lease.end()
        if not self._has_joined or isinstance(error, BufferUnavailable):
            return
        # If this fails, a name or a batch stays behind. The name is harmless, and another worker
        # claims the batch after its lease.
        with suppress(JSONBufferError):
            if self._acks.waiting is not None:
                self._acks.acknowledge(self._acks.waiting)
            self._store.retire(self._worker, lease=self._options.lease)

    def step(self) -> bool:
        """Claim one batch, process it and acknowledge it. False if there is no batch to claim.

        An exception of the processor is logged, and the batch is released, halved or buried. Then
        it is re-raised, unless it is an ``Exception``, ``SystemExit`` or ``CancelledError``, or one
        of ``outage_errors``. A ``KeyboardInterrupt`` or ``GeneratorExit`` is re-raised at once,
        because it says nothing about the batch. The end of the context then releases the batch.
        """
        if self._acks.waiting is not None:
            self._acks.acknowledge(self._acks.waiting)
            return True
        if self._failures.outages and self._failures.stop(watch=self._watch):
            return False
        self._retention.apply()
        if (claim := self._claim()) is None:
            return False
        if claim.deaths >= DEATHS_TO_SPLIT and self._failures.isolate_killer(claim):
            return True
        if done := self._process(claim):
            self._failures.outages = 0
            self._acks.acknowledge(done)
        return True

    def _claim(self) -> Claim | None:
        """Claim the next batch. None if there is none, or if the drain has ended."""
        places = [self._last]
        if self._watch or self._last is None:
            self.forwarding.forward()
        if not self._watch:
            if self._last is None:
                self._newest, foreign = self._store.seal()
                self.report.buried += foreign
            elif self._newest is not None and self._has_ended(self._last, self._newest):
                return None
            if self._newest is None:
                return None
            if self._failures.outages == OUTAGES_TO_STOP - 1:
                places.insert(0, self._newest)
        self._has_joined = True
        self._lease.begin()
        linger = self._options.linger if self._watch else None
        for after in places:
            claim, foreign = self._store.claim(
                self._worker, lease=self._options.lease, linger=linger, after=after
            )
            self.report.buried += foreign
            if claim is not None:
                if not self._watch and after == self._last:
                    self._last = claim.id
                return claim
        return None

    def _has_ended(self, last: str, newest: str) -> bool:
        """Whether the drain has come to the batch at which it stops, and to the last half."""
        if half := self._failures.newest_half:
            self._newest = newest = max(newest, half, key=position)
        return position(last) >= position(newest)

    def _process(self, claim: Claim) -> Processed | None:
        """Call the processor. None if the batch failed, and was released, halved or buried."""
        try:
            events = self._decode(claim.array)
            batch = Batch(events, id=claim.id, attempt=claim.attempt, bucket=self.bucket)
        except Exception as error:  # noqa: BLE001  (an encoder of the project may raise anything)
            self._failures.unreadable(claim, error)
            return None
        length = len(batch)
        function, alias = self._processor
        confirm = partial(self._lease.confirm, claim)
        self._lease.claim = claim
        try:
            try:
                run_processor(function, batch, atomic=alias, confirm=confirm)
            finally:
                self._lease.claim = None
            if os.getpid() != self._process_id:
                raise RuntimeError(
                    "The processor forked, and its child returned. End the child with os._exit()."
                )
        except BaseException as error:
            if not self._goes_on_after(claim, error):
                raise
            return None
        return Processed(claim, batch, length, False)

    def _goes_on_after(self, claim: Claim, error: BaseException) -> bool:
        """Release, halve or bury a batch that failed. False if the worker must end.

        It must end after a panic in Rust, for example, or if other code ends this greenlet. In a
        forked child, and after an interrupt, the batch stays as it is.
        """
        is_child = os.getpid() != self._process_id
        if is_child or isinstance(error, (KeyboardInterrupt, GeneratorExit)):
            return False
        if error is self._lease.loss:
            logger.warning("%s The transaction of the processor is rolled back.", error)
            return True
        self._failures.failed(claim, error)
        return isinstance(
            error, (Exception, SystemExit, CancelledError, *self._options.outage_errors)
        )
