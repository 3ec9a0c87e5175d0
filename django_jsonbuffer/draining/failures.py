"""Batches that fail: retried after a backoff, halved, and at last buried event by event."""

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from traceback import format_exception, format_exception_only, format_tb
from typing import Final

from django.db import InterfaceError, OperationalError

from django_jsonbuffer.exceptions import BufferUnavailable, LeaseLost
from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.claims import Burial, Claim
from django_jsonbuffer.store.store import Store

from .batches import Batch
from .processor_transactions import close_broken_connections

logger = logging.getLogger("django_jsonbuffer")

FIRST_BACKOFF: Final = timedelta(seconds=1)

DEATHS_TO_SPLIT: Final = 3
"""Deaths after which a batch is halved without another attempt. Each half is halved again after one
more death, down to the single event."""

DEATHS_TO_BURY: Final = 5
"""Deaths after which a single event is buried. It takes more deaths than to halve a batch, because
workers also die of other causes."""

OUTAGES_TO_STOP: Final = 3
"""A drain without `watch` gives up after this number of outages in a row. For the last try it
claims a batch that was never delivered, if there is one, because an old batch may itself cause the
error that looks like an outage."""

_OUTAGE_ERRORS: Final = (
    OperationalError,
    InterfaceError,
    ConnectionError,
    TimeoutError,
    BufferUnavailable,
)

LONGEST_TRACEBACK: Final = 20_000
"""Characters of a traceback that are kept, from its end."""


@dataclass(kw_only=True, slots=True)
class DrainReport:
    """What a drain has done."""

    processed: int = 0
    """Events that were processed and acknowledged."""

    batches: int = 0
    """Batches that were processed and acknowledged."""

    failed: int = 0
    """How often the processor raised an exception."""

    buried: int = 0
    """Events that became dead letters."""


class Failures:
    """Decides what happens to the failed batches of one worker: retry, halve or bury."""

    def __init__(self, store: Store, options: Options, report: DrainReport) -> None:
        self._store = store
        self._options = options
        self._report = report
        self.outages = 0
        """How many batches in a row were stopped by an outage."""
        self._resumes_at = 0.0
        """When the backoff after the last outage ends, on the monotonic clock."""
        self.failing: set[str] = set()
        """Ids of the batches that failed and have not succeeded since."""
        self.newest_half: str | None = None
        """Id of the newest half of a batch that was halved."""

    def stop(self, *, watch: bool) -> bool:
        """Whether outages stop the drain: with `watch` until the backoff is over, else for good."""
        if watch:
            return time.monotonic() < self._resumes_at
        return self.outages >= OUTAGES_TO_STOP

    def unreadable(self, claim: Claim, error: Exception) -> None:
        """Isolate the event that cannot be decoded (``ValueError``). Another error is a failure."""
        if not isinstance(error, ValueError):
            self.failed(claim, error)
            return
        kind = kind_of(error)
        self.isolate(claim, f"The batch cannot be read: {kind}.", kind=kind, failures=0)

    def failed(self, claim: Claim, error: BaseException) -> None:
        """Release, halve or bury a batch whose processor raised this exception."""
        self._report.failed += 1
        is_outage = isinstance(error, (*_OUTAGE_ERRORS, *self._options.outage_errors))
        if is_outage:
            close_broken_connections()
            self.outages += 1
            backoff = _backoff(self.outages, most=self._options.lease)
            self._resumes_at = time.monotonic() + backoff.total_seconds()
            failures = claim.failures
            # `claim.outages` counts an outage only if other events were processed since the last
            # one. A batch of one event is never buried for outages.
            is_to_split = claim.count > 1 and claim.outages >= self._options.max_attempts
            reason = "is halved, because outages stopped it while other events were processed"
        else:
            self.outages = 0
            failures = claim.failures + 1
            is_to_split = failures >= self._options.max_attempts
            reason = "has used up its attempts"
        if is_to_split:
            self._log(claim, error, reason)
            self.isolate(claim, *described(error), kind=kind_of(error), failures=failures)
        else:
            self._release(claim, error, failed=not is_outage)

    def isolate_killer(self, claim: Claim) -> bool:
        """Halve a batch whose workers died, or bury the single event. False if it is retried."""
        if claim.count == 1 and claim.deaths < DEATHS_TO_BURY:
            return False
        error = (
            f"{claim.deaths} workers died, or were silent for a lease, while they processed this "
            "event."
        )
        self.isolate(claim, error, kind="", failures=claim.failures)
        return True

    def isolate(
        self, claim: Claim, error: str, traceback: str = "", *, kind: str, failures: int
    ) -> None:
        """Halve the batch. Bury it if it has one event, or if its events cannot be separated."""
        try:
            places = spans(claim.array)
        except ValueError:
            places = [(0, len(claim.array))]
        try:
            if len(places) > 1:
                self._split(claim, places, kind=kind, failures=failures)
            else:
                burial = Burial(*places[0], error, traceback)
                self._store.bury(claim, [burial], processed=0, failures=failures)
                self._report.buried += 1
                logger.error(
                    "Bucket %s: batch %s cannot be halved further. It is now a dead letter.",
                    self._store.name,
                    claim.id,
                )
        except LeaseLost as lost:
            logger.warning("%s Another worker processes the batch.", lost)
        self.failing.discard(claim.id)

    def _split(
        self, claim: Claim, places: Sequence[tuple[int, int]], *, kind: str, failures: int
    ) -> None:
        deaths = min(claim.deaths, DEATHS_TO_SPLIT - 1)
        self.newest_half = self._store.split(
            claim, places, failures=failures, deaths=deaths, outages=claim.outages, error=kind
        )
        logger.warning(
            "Bucket %s: batch %s of %d events was halved, to find the event that fails.",
            self._store.name,
            claim.id,
            len(places),
        )

    def _release(self, claim: Claim, error: BaseException, *, failed: bool) -> None:
        lease = self._options.lease
        backoff = _backoff(claim.attempt, most=lease)
        seconds = backoff.total_seconds()
        self._log(claim, error, f"is kept, and comes again in about {seconds:.1f} s")
        self.failing.add(claim.id)
        kind = kind_of(error)
        try:
            self._store.release(claim, lease=lease, backoff=backoff, failed=failed, error=kind)
        except LeaseLost as lost:
            logger.warning("%s Another worker processes the batch.", lost)

    def _log(self, claim: Claim, error: BaseException, outcome: str) -> None:
        logger.error(
            "Bucket %s: batch %s of %d events failed at attempt %d with %s. It %s.\n%s",
            self._store.name,
            claim.id,
            claim.count,
            claim.attempt,
            kind_of(error),
            outcome,
            "".join(format_tb(error.__traceback__)).rstrip(),
        )
        # The message of an error may quote events, as a database quotes the row that fails.
        logger.debug("Batch %s of bucket %s:", claim.id, self._store.name, exc_info=error)

    def bury_rejected(self, claim: Claim, batch: Batch) -> None:
        """Bury the events that the processor rejected, and acknowledge the other events."""
        places = spans(claim.array)
        burials = [
            Burial(*places[place], *described(reason))
            for place, reason in sorted(batch.rejected.items())
        ]
        processed = len(batch) - len(burials)
        self._store.bury(claim, burials, processed=processed, failures=claim.failures + 1)
        logger.warning(
            "Bucket %s: the processor rejected %d events of batch %s. They are dead letters.",
            self._store.name,
            len(burials),
            claim.id,
        )


def kind_of(error: BaseException) -> str:
    """The name of the exception's class."""
    return type(error).__qualname__


def described(reason: object) -> tuple[str, str]:
    """The reason as a dead letter keeps it: error and traceback."""
    if not isinstance(reason, BaseException):
        return _as_text(str(reason)), ""
    text = "".join(format_exception(reason)).rstrip()
    error = "".join(format_exception_only(reason)).strip()
    return _as_text(error), _as_text(text[-LONGEST_TRACEBACK:])


def _as_text(text: str) -> str:
    """The text without lone surrogates, which the name of a file may bring into an error."""
    return text.encode(errors="backslashreplace").decode()


def _backoff(attempt: int, *, most: timedelta) -> timedelta:
    """The backoff doubles with each attempt. Its jitter keeps workers from retrying in step."""
    return min(FIRST_BACKOFF * (2.0 ** min(attempt - 1, 16)) * random.uniform(0.5, 1), most)
