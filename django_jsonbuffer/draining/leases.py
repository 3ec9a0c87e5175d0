"""Leases: a worker keeps the batch that it processes, for as long as it lives."""

import logging
import time
from datetime import timedelta
from typing import Final

from django_jsonbuffer.exceptions import LeaseLost
from django_jsonbuffer.store.claims import Claim
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.summaries import is_ours, summary_of

from .heart import HEART

logger = logging.getLogger("django_jsonbuffer")

HEARTBEAT: Final = timedelta(seconds=10)

SILENT_PERIODS: Final = 3
"""After so many periods without a heartbeat, a worker does not count as alive any more."""

_SHORTEST_PERIOD: Final = timedelta(milliseconds=10)


class Lease:
    """One worker's lease of the batch that it processes. The heart of the process renews it.

    Set `claim` while a batch is processed. The heart is a thread, which cannot run while a
    processor holds the GIL, or while the whole process is stopped. If that lasts longer than the
    lease, the lease is lost, and the next renewal reports the loss.
    """

    def __init__(self, store: Store, worker: str, *, duration: timedelta) -> None:
        self._store = store
        self._worker = worker
        self._duration = duration
        self._is_renewed = duration > timedelta(0)
        period = min(HEARTBEAT, duration / 3) if self._is_renewed else HEARTBEAT
        self._period = max(period, _SHORTEST_PERIOD)
        self.period_seconds: Final = self._period.total_seconds()
        self.loss: LeaseLost | None = None
        """The error that the last call of `confirm` raised."""
        self._claim: Claim | None = None
        self._beats_in_doubt = False
        self._has_begun = False
        self._beats_at = 0.0
        """When the next heartbeat is due, on the monotonic clock."""

    @property
    def claim(self) -> Claim | None:
        """The batch that the worker processes at this moment."""
        return self._claim

    @claim.setter
    def claim(self, claim: Claim | None) -> None:
        self._claim = claim
        if claim is None:
            HEART.discard(self)
        else:
            HEART.add(self)

    def note_doubt(self, is_in_doubt: bool) -> None:
        """Note whether a lease of the bucket has run out whose worker may live.

        Meanwhile send heartbeats, although this worker holds no batch. A doubt ends when there was
        no gap between heartbeats for some time, and perhaps nobody looks at the bucket so often.
        """
        if is_in_doubt and not self._beats_in_doubt:
            HEART.add(self)
        elif self._beats_in_doubt and not is_in_doubt:
            HEART.discard(self)
        self._beats_in_doubt = is_in_doubt

    def begin(self, *, alone: bool = False) -> bool:
        """Begin to live, until `end`. The next claim is then a heartbeat, if one is due.

        With `alone`, write a heartbeat at once, unless the bucket has a living worker. Returns
        False then.
        """
        if self._has_begun:
            return True
        busy = self._period * SILENT_PERIODS
        if alone and not self._store.beat(self._worker, lease=self._duration, busy=busy):
            return False
        HEART.start(self)
        self._has_begun = True
        return True

    def is_heartbeat_due(self) -> bool:
        return time.monotonic() >= self._beats_at

    def note_heartbeat(self) -> None:
        self._beats_at = time.monotonic() + self.period_seconds

    def end(self) -> bool:
        """End. It may begin again. Returns False if it had not begun."""
        self.claim, self._beats_in_doubt = None, False
        HEART.end(self)
        had_begun, self._has_begun, self._beats_at = self._has_begun, False, 0.0
        return had_begun

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
            if claim is not None and self._is_renewed:
                self._store.renew(claim)
            self._store.beat(self._worker, lease=self._duration)
            self.note_heartbeat()
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
