"""Batches that fail: halved until the event that fails stands alone, retried, and at last buried.

An event is buried only if the processor has succeeded with others since it first failed. In an
outage, all events are kept, and tries become rare.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from django_jsonbuffer.exceptions import LeaseLost
from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.claims import Burial, Claim, Outage, Reason
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.summaries import kind_of, summary_of

from .announcements import announce_buried, announce_failed
from .descriptions import described
from .failure_log import FailureLog
from .outages import Evidence, backoff_after, is_probe_last, retry_after, size_of_probe
from .processor_transactions import close_broken_connections
from .report import DrainReport

DEATHS_TO_SPLIT: Final = 3
"""Deaths after which a batch is halved without another attempt. Each half is halved again after one
more death, down to the single event."""

DEATHS_TO_BURY: Final = 5
"""Deaths after which a single event is buried. It takes more deaths than to halve a batch, because
workers also die of other causes."""


class Failures:
    """Decides what happens to the failed batches of one worker: halve, retry, wait or bury."""

    def __init__(
        self, store: Store, options: Options, report: DrainReport, *, logs_messages: bool
    ) -> None:
        self.log = FailureLog(store.name)
        self.failing: set[str] = set()
        """Ids of the batches that failed and have not succeeded since."""
        self.given_up: Claim | None = None
        """The batch that the worker gave up because its processor did not return in time."""
        self.keeps_probe = False
        """Whether the worker holds a single event that it tries next."""
        self._store = store
        self._options = options
        self._report = report
        self._logs_messages = logs_messages

    def failed(self, claim: Claim, error: BaseException, *, seconds: float = 0.0) -> None:
        """Halve, release or bury a batch whose processor raised this exception after `seconds`."""
        self._report.failed += 1
        summary = self._summary(error)
        evidence = Evidence.of(claim, error, summary, self._options)
        if evidence.is_by_exception:
            close_broken_connections()
        outcome = "lease_lost"
        with self._lease_may_be_lost(claim):
            outcome = self._settle(claim, error, summary, evidence)
        announce_failed(self._store.name, claim, error, outcome, seconds=seconds)

    def has_receipts(self, claim: Claim, count: int) -> None:
        """Split a batch of which only the first events have receipts, or only the following."""
        with self._lease_may_be_lost(claim):
            self._split(claim, spans(claim.array), at=count)

    def receipt_taken(self, claim: Claim) -> None:
        """Let a batch come again at once, because another worker has processed some of it."""
        with self._lease_may_be_lost(claim):
            self._release(claim, "", Reason.RETRY, timedelta(0))

    def failed_after_commit(self, claim: Claim, error: Exception) -> None:
        """Log the error of an on-commit function. The batch has succeeded all the same."""
        self.log.failed_after_commit(claim, error, self._summary(error))

    def replaces(self, claim: Claim) -> bool:
        """Split or bury a batch without a call of the processor, if that is due. False if not.

        It is due if workers died with the batch, or if a part of it is enough for the next try.
        """
        is_killer, size = claim.deaths >= DEATHS_TO_SPLIT, size_of_probe(claim)
        if not is_killer and not size:
            return False
        places = _places(claim.array)
        with self._lease_may_be_lost(claim):
            if is_killer or len(places) == 1:
                return is_killer and self._isolates_killer(claim, places)
            at, keeps = (len(places) - size, 2) if is_probe_last(claim) else (size, 1)
            self._split(claim, places, at=at, keeps=keeps)
            self.keeps_probe = True
        return True

    def unreadable(self, claim: Claim, error: Exception) -> None:
        """Isolate the event that cannot be decoded (``ValueError``). Another error is a failure."""
        if not isinstance(error, ValueError):
            self.failed(claim, error)
            return
        places = _places(claim.array)
        with self._lease_may_be_lost(claim):
            if len(places) > 1:
                self._halve(claim, places, error, self._summary(error), weight=0)
            else:
                text = f"The batch cannot be read: {kind_of(error)}."
                self._bury(claim, Burial(*places[0], text), "unreadable", failures=0)

    def hangs(self, claim: Claim, stack: str) -> None:
        """Give up a batch whose processor has not returned in time, as if its worker had died.

        It comes again after a whole lease. With a shorter backoff, which may be over when the
        supervisor has restarted the worker, an event that always hangs would hold up all others.
        """
        self.given_up = claim
        self.log.hangs(claim, self._options.processor_timeout, stack)
        with self._lease_may_be_lost(claim):
            self._store.release(
                claim,
                lease=self._options.lease,
                backoff=self._options.lease,
                reason=Reason.DEATH,
                error="The processor did not return in time.",
            )

    def _settle(self, claim: Claim, error: BaseException, summary: str, evidence: Evidence) -> str:
        """Do what the evidence demands. Returns what became of the batch."""
        if evidence.reason is Reason.OUTAGE:
            self._wait(claim, error, summary, evidence)
            return "outage"
        if claim.count > 1:
            places = spans(claim.array)
            self._halve(claim, places, error, summary, weight=evidence.weight)
            return "halved"
        if evidence.reason.is_attempt:
            return self._count(claim, error, summary, evidence)
        backoff = self._backoff(claim.attempt)
        self._release(claim, summary, evidence.reason, backoff, weight=evidence.weight)
        self.log.kept(claim, error, summary, backoff)
        return "kept"

    def _wait(self, claim: Claim, error: BaseException, summary: str, evidence: Evidence) -> None:
        """Keep a batch that failed in an outage."""
        least = min(retry_after(error), self._options.lease)
        backoff = max(self._backoff(claim.attempt), least)
        pause = max(self._backoff(claim.row.tries + 1), least) if evidence.do_all_wait else None
        outage = self._release(
            claim,
            summary,
            Reason.OUTAGE,
            backoff,
            weight=evidence.weight,
            is_by_exception=evidence.is_by_exception,
            pause=pause,
        )
        if outage is not None:
            self.log.outage(claim, error, summary, outage, backoff=backoff, pause=pause)

    def _halve(
        self,
        claim: Claim,
        places: Sequence[tuple[int, int]],
        error: BaseException,
        summary: str,
        *,
        weight: int,
    ) -> None:
        # If others have succeeded since the batch failed, its pieces keep the error of that
        # failure. Only a piece that fails like this may be bad.
        proof = claim.error if claim.others_succeeded else summary
        self._split(claim, places, at=len(places) // 2, weight=weight, error=proof)
        self.log.halved(claim, error, summary)

    def _split(self, claim: Claim, places: Sequence[tuple[int, int]], **options: Any) -> None:
        deaths = min(claim.deaths, DEATHS_TO_SPLIT - 1)
        self._store.split(claim, places, deaths=deaths, **options)
        self.failing.discard(claim.id)

    def _count(self, claim: Claim, error: BaseException, summary: str, evidence: Evidence) -> str:
        """Count an attempt with a single event, while others succeed. The last one buries it."""
        failures, most = claim.failures + 1, self._options.max_attempts
        if failures < most:
            backoff = self._backoff(claim.attempt)
            self._release(claim, summary, evidence.reason, backoff, weight=evidence.weight)
            self.log.counted(claim, error, summary, f"{failures} of {most}", backoff)
            return "kept"
        burial = Burial(*spans(claim.array)[0], *described(error))
        self._bury(claim, burial, "failed", error, failures=failures)
        return "buried"

    def _release(
        self,
        claim: Claim,
        summary: str,
        reason: Reason,
        backoff: timedelta,
        **options: Any,
    ) -> Outage | None:
        self.failing.add(claim.id)
        lease = self._options.lease
        return self._store.release(
            claim, lease=lease, backoff=backoff, reason=reason, error=summary, **options
        )

    def _isolates_killer(self, claim: Claim, places: Sequence[tuple[int, int]]) -> bool:
        """Halve a batch whose workers died, or bury the single event. False if it is retried."""
        if len(places) > 1:
            self._split(claim, places, at=len(places) // 2)
            self.log.killer_halved(claim)
            return True
        if claim.deaths < DEATHS_TO_BURY or not claim.others_succeeded:
            return False
        text = (
            f"{claim.deaths} workers died, or were silent for a lease, while they processed this "
            "event."
        )
        self._bury(claim, Burial(*places[0], text), "killed", failures=claim.failures)
        return True

    def _bury(
        self,
        claim: Claim,
        burial: Burial,
        reason: str,
        error: BaseException | None = None,
        *,
        failures: int,
    ) -> None:
        self._store.bury(claim, [burial], processed=0, failures=failures)
        self._report.buried += 1
        self.failing.discard(claim.id)
        summary = burial.error if error is None else self._summary(error)
        self.log.buried(claim, error, summary, failures=failures)
        announce_buried(self._store.name, claim, reason, [error or burial.error])

    @contextmanager
    def _lease_may_be_lost(self, claim: Claim) -> Iterator[None]:
        """Log a lost lease, and go on: another worker processes the batch."""
        try:
            yield
        except LeaseLost as lost:
            self.log.lease_lost(claim, lost, "Another worker processes the batch.")

    def _summary(self, error: BaseException) -> str:
        return summary_of(error, with_message=self._logs_messages)

    def _backoff(self, attempts: int) -> timedelta:
        return backoff_after(attempts, most=self._options.lease)


def _places(array: bytes) -> Sequence[tuple[int, int]]:
    """Start and end of each event. All of it is one place if the events cannot be separated."""
    try:
        return spans(array)
    except ValueError:
        return [(0, len(array))]
