"""Leases: a worker keeps the batch that it processes, for as long as it lives."""

import logging
import threading
import weakref
from datetime import timedelta
from typing import Final

from django_jsonbuffer.exceptions import LeaseLost
from django_jsonbuffer.store.claims import Claim
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.summaries import is_ours, summary_of

logger = logging.getLogger("django_jsonbuffer")

HEARTBEAT: Final = timedelta(seconds=10)

SILENT_PERIODS: Final = 3
"""After so many periods without a heartbeat, a worker does not count as alive any more."""

_SHORTEST_PERIOD: Final = timedelta(milliseconds=10)


class Lease:
    """One worker's lease of the batch that it processes, and its heartbeat. A thread renews both.

    Set `claim` while a batch is processed. The thread runs from `begin` to `end`. It cannot run
    while a processor holds the GIL, or while the whole process is stopped. If that lasts longer
    than the lease, the lease is lost, and the next renewal reports the loss.
    """

    def __init__(self, store: Store, worker: str, *, duration: timedelta) -> None:
        self._store = store
        self._worker = worker
        self._duration = duration
        self._is_renewed = duration > timedelta(0)
        period = min(HEARTBEAT, duration / 3) if self._is_renewed else HEARTBEAT
        self._period = max(period, _SHORTEST_PERIOD)
        self.claim: Claim | None = None
        """The batch that the worker processes at this moment."""
        self.loss: LeaseLost | None = None
        """The error that the last call of `confirm` raised."""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, *, alone: bool = False) -> bool:
        """Start the heartbeat, which goes on until `end`.

        With `alone`, it does not start if the bucket has a living worker. Returns False then.
        """
        if self._thread is None:
            busy = self._period * SILENT_PERIODS if alone else timedelta(0)
            if not self._store.beat(self._worker, lease=self._duration, busy=busy):
                return False
            self._ended = threading.Event()
            thread = threading.Thread(
                target=_keep,
                args=[weakref.ref(self), self._ended, self._period.total_seconds()],
                name=f"lease of {self._worker}",
                daemon=True,
            )
            thread.start()
            self._thread = thread
        return True

    def end(self) -> bool:
        """End the heartbeat. It may begin again. Returns False if it had not begun."""
        self._ended.set()
        thread, self._thread = self._thread, None
        if thread is None:
            return False
        # With a timeout, because the thread may wait for ever for a Redis that does not answer, if
        # the client has no timeout.
        thread.join(timeout=HEARTBEAT.total_seconds())
        return True

    def confirm(self, claim: Claim) -> None:
        """Renew the lease at once. Raises :class:`LeaseLost` if another worker has the batch."""
        if not self._is_renewed:
            return
        try:
            self._store.renew(claim)
        except LeaseLost as lost:
            self.loss = lost
            raise

    def renew(self) -> None:
        """Send the heartbeat, and renew the lease if a batch is held. Raises nothing: the next
        renewal tries again.
        """
        claim = self.claim
        try:
            self._store.beat(self._worker, lease=self._duration)
            if claim is not None and self._is_renewed:
                self._store.renew(claim)
        except LeaseLost as lost:
            if self.claim is claim:
                self.claim = None
                logger.warning(
                    "%s The processor still runs, but its worker cannot ack the batch.",
                    lost,
                    extra={"bucket": self._store.name},
                )
        except Exception as error:  # noqa: BLE001  (no error may end the thread)
            logger.warning(
                "The lease of %s could not be renewed yet: %s",
                self._worker,
                summary_of(error, with_message=is_ours(error)),
                extra={"bucket": self._store.name},
            )


def _keep(of: "weakref.ref[Lease]", ended: threading.Event, period_seconds: float) -> None:
    """Renew the lease until it is ended or garbage-collected: the target of the thread."""
    while not ended.wait(period_seconds) and (lease := of()) is not None:
        lease.renew()
        del lease
