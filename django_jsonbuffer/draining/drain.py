"""A worker's drain of one shard: claim, process, acknowledge, one batch after the other."""

import os
import time
from collections.abc import Callable
from copy import copy
from types import TracebackType
from typing import Final, Self

from django_jsonbuffer.declarations import Parts
from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError
from django_jsonbuffer.processors import Processor
from django_jsonbuffer.store.claims import Claim, Found

from .acks import Acks
from .cursors import Cursor
from .failures import Failures
from .forwarding import Forwarding
from .leases import Lease
from .presence import new_worker_name
from .processing import Processing
from .report import DrainReport
from .retention import Retention

_LONGEST_WAIT_SECONDS: Final = 0.5
"""How long one call of `wait` takes at most."""

_LONGEST_PAUSE_SECONDS: Final = 5.0
"""The longest pause of an outage that a drain without `watch` waits for."""


class Drain:
    """One worker's drain of one shard of a bucket. Each `step` processes one batch.

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
        watch: bool = False,
        shard: int = 0,
        report: DrainReport | None = None,
        on_timeout: Callable[[], object] | None = None,
        skip_busy: bool = False,
    ) -> None:
        configuration, self.options, store, _ = parts
        self._store = copy(store.of_shard(shard))
        self.bucket = store.name
        self.name, self.key = self._store.identity.name, self._store.keys.open
        """The name of the shard, and the key of its open batch."""
        self.report = DrainReport() if report is None else report
        """What was done. All drains of a bucket may share it."""
        self.next_seconds: float | None = 0.0
        """When the next step may find a batch, as far as the last step knows. None if it does not
        know of any. Without `watch`, the drain has then ended."""
        self._watch = watch
        self._skips_busy = skip_busy
        self._worker = new_worker_name()
        # Not with the short patience of the other calls: a lease that was only renewed late stays.
        patient = store.of_shard(shard)
        self._lease = Lease(patient, self._worker, duration=self.options.lease)
        logs_messages = configuration.logs_messages(self.options)
        self._failures = Failures(
            self._store, self.options, self.report, logs_messages=logs_messages
        )
        self._processing = Processing(
            parts._replace(store=self._store),
            processor,
            lease=self._lease,
            failures=self._failures,
            on_timeout=on_timeout,
        )
        self._acks = Acks(self._store, self.options, self.report, self._failures)
        self.forwarding = Forwarding(self._store, self.options)
        self._retention = Retention(self._store, self.options)
        self._process_id = os.getpid()
        self.reason = ""
        """Why the last step has claimed nothing: see :class:`~.store.claims.Found`."""
        self._has_sealed = False
        self._cursor = Cursor(watch=watch)

    @property
    def node(self) -> str:
        """The node of a cluster that has the shard: see :attr:`Store.node`."""
        return self._store.node

    @property
    def is_failing(self) -> bool:
        """Whether a batch failed and has not succeeded since, or waits for the end of an outage."""
        return bool(self._failures.failing) or self.reason == "outage"

    def wait_only(self, patience_seconds: Callable[[], float]) -> None:
        """Let each call to Redis wait only so long until a reply begins."""
        self._store.patience_seconds = patience_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(tells_redis=not isinstance(error, BufferUnavailable))

    def end(self, *, tells_redis: bool = True) -> bool:
        """Remove the name of this worker, and release what it holds. A further step begins anew.

        Returns False if Redis is unavailable. Then a name or a batch stays behind, as without
        `tells_redis`. The name is harmless, and another worker claims the batch after its lease.
        """
        self.forwarding.end()
        if os.getpid() != self._process_id:
            return True  # in a child that the processor has forked: the parent is the worker
        if not self._lease.end() or not tells_redis:
            return True
        try:
            if self._acks.waiting is not None:
                self._acks.acknowledge(self._acks.waiting)
            self._store.retire(self._worker, lease=self.options.lease)
        except JSONBufferError as error:
            return not isinstance(error, BufferUnavailable)
        return True

    def note_away(self) -> None:
        """Send no heartbeats, because the server of the shard does not answer."""
        self._lease.note_doubt(False)

    def step(self) -> bool:
        """Claim one batch, process it and acknowledge it. False if there is no batch to claim.

        An exception of the processor is logged, and the batch is released, halved or buried. Then
        it is re-raised, unless it is an ``Exception``, ``SystemExit`` or ``CancelledError``, or one
        of ``outage_errors``. A ``KeyboardInterrupt`` or ``GeneratorExit`` is re-raised at once,
        because it says nothing about the batch. The end of the context then releases the batch.
        """
        if self._acks.waiting is not None:
            self._acks.acknowledge(self._acks.waiting)
            self.next_seconds = 0.0
            return True
        self.next_seconds = None
        if self._skips_busy and not self._lease.begin(alone=True):
            self.forwarding.forward()  # the living worker may be on another machine
            return False
        self._retention.apply()
        if (claim := self._claim()) is None:
            return False
        done = None
        if not self._failures.replaces(claim):
            done = self._processing.process(claim)
            self._cursor.note_end(claim, is_done=done is not None)
        if done:
            self._acks.acknowledge(done)
        else:
            self.next_seconds = 0.0  # to learn when it, or a piece of it, comes again
        return True

    def wait(self) -> bool:
        """Wait a little, if the next step may find a batch later. False if not."""
        if self.next_seconds is None:
            return False
        time.sleep(min(self.next_seconds, _LONGEST_WAIT_SECONDS))
        return True

    def _claim(self) -> Claim | None:
        """Claim the next batch. None if there is none, or if the drain has ended."""
        if self._watch or not self._has_sealed:
            self.forwarding.forward()
        if not self._watch and not self._has_sealed:
            self._cursor.newest, foreign = self._store.seal()
            self.report.buried += foreign
            self._has_sealed = True
            if self._cursor.newest is None:
                self._leave_sample()
        if self._cursor.is_at_end:
            return None
        self._lease.begin()
        beats = self._lease.is_heartbeat_due()
        found = self._store.claim(
            self._worker,
            lease=self.options.lease,
            linger=self.options.linger if self._watch else None,
            after=self._cursor.last,
            newest=self._cursor.newest,
            prefers_new=self._cursor.prefers_new,
            beats=beats,
        )
        if beats:
            self._lease.note_heartbeat()
        self.report.buried += found.foreign
        self.reason = found.reason
        self._lease.note_doubt(found.reason == "doubt")
        self._note_next(found)
        if (claim := found.claim) is not None:
            self._cursor.note_claim(claim, is_probe=self._failures.keeps_probe)
        self._failures.keeps_probe = False
        return claim

    def _leave_sample(self) -> None:
        """Let the status of an empty bucket know that a run was here.

        Otherwise its next event would look as if nobody drained the bucket, until the next run.
        """
        if not self._skips_busy:  # then the heartbeat of `step` has taken the sample
            lease = self.options.lease
            if self._store.beat(self._worker, lease=lease, if_used=True):
                self._store.retire(self._worker, lease=lease)

    def _note_next(self, found: Found) -> None:
        """Note when the next step may find a batch.

        A watching worker looks at a batch that others hold as often as its own heartbeat is due:
        so it notices in time if somebody sets the clock of Redis. Without `watch`, what others hold
        is not waited for, and the pause of an outage only if it is short.
        """
        seconds = None if found.wait is None else found.wait.total_seconds()
        if self._watch:
            if found.reason == "held" and seconds is not None:
                seconds = min(seconds, self._lease.period_seconds)
        elif found.claim is not None:
            seconds = 0.0
        elif found.reason not in ("outage", "doubt") or (
            found.reason == "outage" and seconds is not None and seconds > _LONGEST_PAUSE_SECONDS
        ):
            seconds = None
        self.next_seconds = seconds
