"""A worker's drain of one bucket: claim, process, acknowledge, one batch after the other."""

import os
import secrets
import socket
import time
from asyncio import CancelledError
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final, Self

from django_jsonbuffer import tracing
from django_jsonbuffer.declarations import Parts, Processor
from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError, ReceiptTaken
from django_jsonbuffer.store.claims import Claim

from .acks import Acks
from .batches import Batch, Processed
from .cursors import Cursor
from .failures import Failures
from .forwarding import Forwarding
from .leases import Lease
from .processor_transactions import run_processor
from .receipts import Before, receipts_of
from .report import DrainReport
from .retention import Retention
from .watchdog import watched

_LONGEST_WAIT_SECONDS: Final = 0.5
"""How long one call of `wait` takes at most."""

_LONGEST_PAUSE_SECONDS: Final = 5.0
"""The longest pause of an outage that a drain without `watch` waits for."""


class Drain:
    """One worker's drain of one bucket. Each `step` processes one batch.

    The worker holds one batch at a time, under a name that only this worker has in the consumer
    group. Use the drain as a context manager, which removes that name at the end.

    Without `watch` the drain ends. It seals the open batch first, and stops after the batch that is
    then the newest, and after the pieces of batches that were split. It comes to each batch once,
    so a batch that keeps failing cannot hold it up. In an outage it ends after a few tries.

    With `skip_busy` it finds no batch while another worker of the bucket is alive.
    """

    def __init__(
        self,
        parts: Parts,
        processor: Processor,
        *,
        watch: bool,
        on_timeout: Callable[[], object] | None = None,
        skip_busy: bool = False,
    ) -> None:
        configuration, self._options, self._store, encoder = parts
        self.bucket = self._store.name
        self.report = DrainReport()
        self.wait_seconds = 0.0
        """How long to wait before the next step, which may find a batch although the last one found
        none: the pause of an outage ends soon, or the lease of a worker has run out, and it gets
        some time to show that it lives."""
        self._decode = encoder.decode
        self._processor = processor
        self._receipts = receipts_of(self.bucket, self._options, processor)
        self._watch = watch
        self._on_timeout = on_timeout
        self._skips_busy = skip_busy
        self._worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lease = Lease(self._store, self._worker, duration=self._options.lease)
        self._logs_messages = configuration.logs_messages(self._options)
        self._failures = Failures(
            self._store, self._options, self.report, logs_messages=self._logs_messages
        )
        self._acks = Acks(self._store, self._options, self.report, self._failures)
        self.forwarding = Forwarding(self._store, self._options)
        self._retention = Retention(self._store, self._options)
        self._process_id = os.getpid()
        self._waits_for_outage = False
        self._has_sealed = False
        self._cursor = Cursor(watch=watch)

    @property
    def is_failing(self) -> bool:
        """Whether a batch failed and has not succeeded since, or waits for the end of an outage."""
        return bool(self._failures.failing) or self._waits_for_outage

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
        if isinstance(error, BufferUnavailable):
            self._lease.end()
        self.end()

    def end(self) -> None:
        """Remove the name of this worker, and release what it holds. A further step begins anew."""
        if not self._lease.end():
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
        if self._skips_busy and not self._lease.begin(alone=True):
            self.forwarding.forward()  # the living worker may be on another machine
            return False
        self._retention.apply()
        if (claim := self._claim()) is None:
            return False
        if self._failures.replaces(claim):
            return True
        done = self._process(claim)
        self._cursor.note_end(claim, is_done=done is not None)
        if done:
            self._acks.acknowledge(done)
        return True

    def wait(self) -> bool:
        """Wait a little, if the next step may find a batch after `wait_seconds`. False if not."""
        if self.wait_seconds:
            time.sleep(min(self.wait_seconds, _LONGEST_WAIT_SECONDS))
        return self.wait_seconds > 0

    def _claim(self) -> Claim | None:
        """Claim the next batch. None if there is none, or if the drain has ended."""
        self.wait_seconds = 0.0
        if self._watch or not self._has_sealed:
            self.forwarding.forward()
        if not self._watch and not self._has_sealed:
            self._cursor.newest, foreign = self._store.seal()
            self.report.buried += foreign
            self._has_sealed = True
        if self._cursor.is_at_end:
            return None
        self._lease.begin()
        found = self._store.claim(
            self._worker,
            lease=self._options.lease,
            linger=self._options.linger if self._watch else None,
            after=self._cursor.last,
            newest=self._cursor.newest,
            prefers_new=self._cursor.prefers_new,
        )
        self.report.buried += found.foreign
        self._waits_for_outage = found.reason == "outage"
        if not self._watch and found.reason:
            seconds = found.wait.total_seconds()
            is_long = found.reason == "outage" and seconds > _LONGEST_PAUSE_SECONDS
            self.wait_seconds = 0.0 if is_long else seconds
        if (claim := found.claim) is not None:
            self._cursor.note_claim(claim, is_probe=self._failures.keeps_probe)
        self._failures.keeps_probe = False
        return claim

    def _process(self, claim: Claim) -> Processed | None:
        """Call the processor. None if the batch failed, and was released, halved or buried."""
        try:
            events = self._decode(claim.array)
            batch = Batch(events, id=claim.id, attempt=claim.attempt, bucket=self.bucket)
        except Exception as error:  # noqa: BLE001  (an encoder of the project may raise anything)
            self._failures.unreadable(claim, error)
            return None
        length, began = len(batch), time.monotonic()
        self._lease.claim = claim
        try:
            try:
                with watched(self._options.processor_timeout, partial(self._give_up, claim)):
                    before = self._call_processor(claim, batch)
            finally:
                self._lease.claim = None
            if os.getpid() != self._process_id:
                raise RuntimeError(
                    "The processor forked, and its child returned. End the child with os._exit()."
                )
        except BaseException as error:
            if not self._goes_on_after(claim, error, seconds=time.monotonic() - began):
                raise
            return None
        seconds = time.monotonic() - began
        if before.length < length:
            self._failures.has_receipts(claim, before.length)
            return None
        had_receipt = before.have_receipts
        return Processed(claim, batch, length, had_receipt=had_receipt, seconds=seconds)

    def _call_processor(self, claim: Claim, batch: Batch) -> Before:
        """Call the processor, unless events have receipts."""
        function, alias = self._processor
        before = Before(have_receipts=False, length=len(batch))
        if self._receipts is not None:
            before = self._receipts.before(claim)
            if before.have_receipts or before.length < len(batch):
                return before
            function, alias = self._receipts.noting(function, claim, before), self._receipts.alias
        with tracing.processing(batch, claim.traces, with_messages=self._logs_messages):
            run_processor(
                function,
                batch,
                atomic=alias,
                confirm=partial(self._lease.confirm, claim),
                on_late_error=partial(self._failures.failed_after_commit, claim),
            )
        return before

    def _give_up(self, claim: Claim, stacks: str) -> None:
        """Give up a batch whose processor hangs. Called in another thread than the processor."""
        self._lease.claim = None
        try:
            self._failures.hangs(claim, stacks)
        finally:
            if self._on_timeout is not None:
                self._on_timeout()
            self._lease.end()  # a worker whose processor hangs does not count as alive

    def _goes_on_after(self, claim: Claim, error: BaseException, *, seconds: float) -> bool:
        """Release, halve or bury a batch that failed. False if the worker must end.

        It must end after a panic in Rust, for example, or if other code ends this greenlet. In a
        forked child, and after an interrupt, the batch stays as it is.
        """
        is_child = os.getpid() != self._process_id
        if is_child or isinstance(error, (KeyboardInterrupt, GeneratorExit)):
            return False
        if error is self._lease.loss:
            consequence = "The transaction of the processor is rolled back."
            self._failures.log.lease_lost(claim, error, consequence)
            return True
        if isinstance(error, ReceiptTaken):
            self._failures.receipt_taken(claim)
            return True
        self._failures.failed(claim, error, seconds=seconds)
        return isinstance(
            error, (Exception, SystemExit, CancelledError, *self._options.outage_errors)
        )
