"""Acks: a batch that was processed leaves the bucket."""

import time
from datetime import timedelta
from typing import Final

from django_jsonbuffer.exceptions import BufferUnavailable, LeaseLost
from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.claims import Burial, Claim
from django_jsonbuffer.store.store import Store

from .announcements import announce_processed
from .batches import Batch, Processed
from .descriptions import described
from .failures import Failures
from .report import DrainReport

PAUSE_SECONDS: Final = 0.1
"""Pause before an ack is sent again because its reply was lost."""


class Acks:
    """Acknowledges the batches of one worker. A batch whose ack failed is kept in `waiting`."""

    def __init__(
        self, store: Store, options: Options, report: DrainReport, failures: Failures
    ) -> None:
        self._store = store
        self._timeout_seconds = options.append_timeout.total_seconds()
        self._report = report
        self._failures = failures
        self.waiting: Processed | None = None
        """A batch that was processed and could not be acknowledged yet."""

    def acknowledge(self, processed: Processed) -> None:
        """Remove a batch, and bury the events that its processor rejected.

        Raises :class:`BufferUnavailable` if Redis is unavailable. The batch is then `waiting`, so
        that the worker acknowledges it later.
        """
        claim = processed.claim
        self.waiting = None
        try:
            self._send(processed)
        except LeaseLost as lost:
            was_late = claim is self._failures.given_up
            too_late = "after its timeout" if was_late else "after its lease"
            consequence = (
                f"Its processor has returned {too_late}. The events may be processed again."
            )
            self._failures.log.lease_lost(claim, lost, consequence)
            return
        except BufferUnavailable as error:
            self._failures.log.not_acknowledged(claim, error)
            is_repeat = processed.is_repeat or error.may_be_done
            self.waiting = processed._replace(is_repeat=is_repeat)
            raise
        finally:
            self._failures.failing.discard(claim.id)
        self._report.batches += 1
        if processed.had_receipt:
            self._report.repeated += processed.length
            return
        rejected = len(processed.batch.rejected)
        self._report.processed += processed.length - rejected
        self._report.buried += rejected
        announce_processed(self._store.name, processed)

    def _send(self, processed: Processed) -> None:
        """Send the ack, and again while its reply is lost, to avoid processing the events twice."""
        claim, batch, _, is_repeat, had_receipt, _ = processed
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            try:
                if batch.rejected:
                    ended_outage = self._bury_rejected(claim, batch)
                elif had_receipt:  # which says nothing about an outage
                    ended_outage = self._store.bury(claim, [], processed=0, failures=0)
                else:
                    ended_outage = self._store.ack(claim)
                if ended_outage is not None:
                    self._failures.log.outage_ended(ended_outage)
            except LeaseLost:
                if not is_repeat:
                    raise
                # An earlier ack was carried out. Or, which is rarer, another worker has the batch.
            except BufferUnavailable as error:
                is_patient = self._store.patience_seconds is None
                if not (error.may_be_done and is_patient) or time.monotonic() >= deadline:
                    raise
                is_repeat = True
                time.sleep(PAUSE_SECONDS)
                continue
            return

    def _bury_rejected(self, claim: Claim, batch: Batch) -> timedelta | None:
        """Bury the events that the processor rejected, and acknowledge the other events.

        Returns how long the outage was that ends with this success, if there was one.
        """
        places = spans(claim.array)
        burials = [
            Burial(*places[place], *described(reason), place)
            for place, reason in sorted(batch.rejected.items())
        ]
        processed = len(batch) - len(burials)
        ended = self._store.bury(claim, burials, processed=processed, failures=claim.failures + 1)
        self._failures.log.rejected(claim, len(burials))
        return ended
