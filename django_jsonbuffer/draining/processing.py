"""Processing: a claimed batch goes through the project's processor."""

import os
import time
from asyncio import CancelledError
from collections.abc import Callable
from functools import partial

from django_jsonbuffer import tracing
from django_jsonbuffer.declarations import Parts
from django_jsonbuffer.exceptions import ReceiptTaken
from django_jsonbuffer.processors import Processor
from django_jsonbuffer.store.claims import Claim

from .batches import Batch, Processed
from .failures import Failures
from .leases import Lease
from .processor_transactions import run_processor
from .receipts import Before, receipts_of
from .watchdog import watched


class Processing:
    """Calls the processor of one bucket for one worker, and treats the batches that fail."""

    def __init__(
        self,
        parts: Parts,
        processor: Processor,
        *,
        lease: Lease,
        failures: Failures,
        on_timeout: Callable[[], object] | None,
    ) -> None:
        configuration, self._options, store, encoder = parts
        self._bucket = store.name
        self._decode = encoder.decode
        self._logs_messages = configuration.logs_messages(self._options)
        self._processor = processor
        self._receipts = receipts_of(store, self._options, processor)
        self._lease = lease
        self._failures = failures
        self._on_timeout = on_timeout
        self._process_id = os.getpid()

    def process(self, claim: Claim) -> Processed | None:
        """Call the processor. None if the batch failed, and was released, halved or buried."""
        try:
            events = self._decode(claim.array)
            batch = Batch(events, id=claim.id, attempt=claim.attempt, bucket=self._bucket)
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
