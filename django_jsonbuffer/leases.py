"""What a worker holds, kept for as long as the worker lives."""

import logging
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from .exceptions import LeaseLost
from .store import Claim, Store

logger = logging.getLogger("django_jsonbuffer")

HEARTBEAT: Final = timedelta(seconds=10)

_SHORTEST_PERIOD: Final = timedelta(milliseconds=10)


class Lease:
    """One worker's lease of the batch in its hands, which a thread renews, and its heartbeat.

    A processor that holds the GIL for longer than a lease keeps that thread from its work. So does
    whatever stops the whole process: then the lease is lost, and what renews it next says so.
    """

    def __init__(self, store: Store, worker: str, *, duration: timedelta) -> None:
        self._store = store
        self._worker = worker
        self._is_renewed = duration > timedelta(0)
        period = min(HEARTBEAT, duration / 3) if self._is_renewed else HEARTBEAT
        self._period_seconds = max(period, _SHORTEST_PERIOD).total_seconds()
        self._claim: Claim | None = None
        self.loss: LeaseLost | None = None
        """What the last confirmation raised."""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Let the worker be heard of, from now on until the end."""
        if self._thread is None:
            self._store.beat(self._worker)
            thread = threading.Thread(
                target=_keep,
                args=[weakref.ref(self), self._ended, self._period_seconds],
                name=f"lease of {self._worker}",
                daemon=True,
            )
            thread.start()
            self._thread = thread

    def end(self) -> None:
        self._ended.set()
        if self._thread is not None:
            # Of a server that never answers and a client without a timeout nothing would come.
            self._thread.join(timeout=HEARTBEAT.total_seconds())

    @contextmanager
    def held(self, claim: Claim) -> Iterator[None]:
        """Renew the lease of this batch for as long as the block lasts."""
        self._claim = claim
        try:
            yield
        finally:
            self._claim = None

    def confirm(self, claim: Claim) -> None:
        """Renew it at once. Raises :class:`LeaseLost`."""
        if not self._is_renewed:
            return
        try:
            self._store.renew(claim)
        except LeaseLost as lost:
            self.loss = lost
            raise

    def renew(self) -> None:
        """Be heard of, and renew what is held. Raises nothing: it is tried again."""
        claim = self._claim
        try:
            self._store.beat(self._worker)
            if claim is not None and self._is_renewed:
                self._store.renew(claim)
        except LeaseLost as lost:
            if self._claim is claim:
                self._claim = None
                logger.warning("%s Its processor still runs.", lost)
        except Exception as error:  # noqa: BLE001  (no error may end what keeps the lease)
            logger.warning("The lease of %s could not be renewed yet: %r", self._worker, error)


def _keep(of: "weakref.ref[Lease]", ended: threading.Event, period_seconds: float) -> None:
    """What the thread does, for as long as the worker is there."""
    while not ended.wait(period_seconds) and (lease := of()) is not None:
        lease.renew()
        del lease
