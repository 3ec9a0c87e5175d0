"""The log of failed batches: what failed, why, and what happens next.

Each line about a batch names its delivery. It has the fields ``bucket``, ``batch_id``, ``attempt``,
``error_type`` and ``error_message`` for handlers that store structured records. A traceback is
logged once for each place of an error.
"""

import logging
from datetime import timedelta
from typing import Final

from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.claims import Claim, Outage
from django_jsonbuffer.summaries import kind_of, places_of, summary_of

logger = logging.getLogger("django_jsonbuffer")

places_logged: Final[set[tuple[str, str]]] = set()
"""Buckets and tracebacks that this process has logged."""

_MOST_PLACES: Final = 1000
"""How many of them are remembered, so that the memory of a worker does not grow for ever."""


class FailureLog:
    """Logs the failures of one worker's batches."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def halved(self, claim: Claim, error: BaseException, summary: str) -> None:
        # A piece that fails is expected: that is how the event is found.
        level = logging.DEBUG if claim.error else logging.ERROR
        text = f"{_failed(claim, summary)} It is halved, to find the event that fails."
        self._write(level, claim, summary, text, error)

    def counted(
        self, claim: Claim, error: BaseException, summary: str, attempt: str, backoff: timedelta
    ) -> None:
        level = logging.INFO if claim.failures else logging.WARNING
        failed = _failed(claim, summary, f", which is attempt {attempt},")
        text = f"{failed} {_again(backoff)}"
        self._write(level, claim, summary, text, error)

    def kept(self, claim: Claim, error: BaseException, summary: str, backoff: timedelta) -> None:
        level = logging.INFO if claim.error and claim.attempt > 1 else logging.WARNING
        text = "Nothing proves that it is at fault, so this is not counted as an attempt."
        whole = f"{_failed(claim, summary)} {text} {_again(backoff)}"
        self._write(level, claim, summary, whole, error)

    def failed_after_commit(self, claim: Claim, error: BaseException, summary: str) -> None:
        text = (
            f"at delivery {claim.attempt} of batch {claim.id}, the transaction of the processor is "
            f"committed. A function that was to run at this commit failed with {summary}, and the "
            "functions after it were not run."
        )
        self._write(logging.ERROR, claim, summary, text, error)

    def outage(
        self,
        claim: Claim,
        error: BaseException,
        summary: str,
        outage: Outage,
        *,
        backoff: timedelta,
        pause: timedelta | None,
    ) -> None:
        """Log an outage when it begins, and once a minute. `pause` is for all workers, if any."""
        again = _again(max(backoff, pause or backoff))
        if not outage.is_to_be_logged:
            text = f"{_failed(claim, summary)} The outage goes on."
            self._write(logging.DEBUG, claim, summary, text, None)
        elif not outage.is_logged:
            kept = "Nothing proves that it is at fault, so it is kept, as in an outage."
            if pause is not None:
                kept = "This looks like an outage: all events are kept, and workers wait."
            text = f"{_failed(claim, summary)} {kept} {again}"
            self._write(logging.ERROR, claim, summary, text, error)
        else:
            goes_on = f"the outage goes on, after {_minutes(outage.duration)}"
            text = f"{goes_on}: {_failed(claim, summary)} {again}"
            self._write(logging.WARNING, claim, summary, text, error)

    def outage_ended(self, duration: timedelta) -> None:
        logger.warning(
            "Bucket %s: the outage is over, after %s: the processor succeeds again.",
            self._bucket,
            _minutes(duration),
            extra={"bucket": self._bucket},
        )

    def buried(
        self, claim: Claim, error: BaseException | None, summary: str, *, failures: int
    ) -> None:
        after = f", after {failures} failed attempt{'s' * (failures > 1)}" if failures else ""
        at = f"at delivery {claim.attempt}, {_subject(claim)}"
        text = f"{at} is now a dead letter{after}: {summary}"
        self._write(logging.ERROR, claim, summary, text, error)

    def rejected(self, claim: Claim, count: int) -> None:
        text = (
            f"the processor rejected {count} event{'s' * (count > 1)} of batch {claim.id} at "
            f"delivery {claim.attempt}. `manage.py dead_events` shows why."
        )
        self._write(logging.WARNING, claim, "", text, None)

    def killer_halved(self, claim: Claim) -> None:
        text = (
            f"{_subject(claim)} was in the hands of {claim.deaths} workers that died. It is halved "
            f"at delivery {claim.attempt}."
        )
        # No exception is known: that of an earlier failure is not the reason.
        self._write(logging.ERROR, claim, "", text, None)

    def hangs(self, claim: Claim, timeout: timedelta | None, stack: str) -> None:
        text = (
            f"{_subject(claim)}: the processor has not returned within {timeout} at delivery "
            f"{claim.attempt}. The worker gives the batch up. The processor is here:\n{stack}"
        )
        self._write(logging.CRITICAL, claim, "", text, None)

    def lease_lost(self, claim: Claim, lost: BaseException, consequence: str) -> None:
        logger.warning("%s %s", lost, consequence, extra=self._fields(claim, kind_of(lost)))

    def not_acknowledged(self, claim: Claim, error: BufferUnavailable) -> None:
        text = f"{_subject(claim)} is processed, but could not be acknowledged yet."
        self._write(logging.WARNING, claim, kind_of(error), text, None)

    def _write(
        self, level: int, claim: Claim, summary: str, text: str, error: BaseException | None
    ) -> None:
        if not logger.isEnabledFor(level):
            return
        places = self._new_places(error, summary)
        logger.log(
            level,
            "Bucket %s: %s%s",
            self._bucket,
            text,
            f"\n{places}" if places else "",
            extra=self._fields(claim, summary),
        )

    def _fields(self, claim: Claim, summary: str) -> dict[str, object]:
        kind, _, message = summary.partition(": ")
        return {
            "bucket": self._bucket,
            "batch_id": claim.id,
            "attempt": claim.attempt,
            "error_type": kind,
            "error_message": message,
        }

    def _new_places(self, error: BaseException | None, summary: str) -> str:
        """The traceback of an error that was not logged before, without its message.

        A line of source code may contain the message. If the log may not have messages, the
        traceback names files and lines alone.
        """
        if error is None:
            return ""
        is_whole = summary == summary_of(error, with_message=True)
        places = places_of(error, with_source=is_whole)
        place = (self._bucket, places)
        if not places or place in places_logged:
            return ""
        if len(places_logged) < _MOST_PLACES:
            places_logged.add(place)
        return places


def _subject(claim: Claim) -> str:
    if claim.count == 1:
        return f"the event of batch {claim.id}"
    return f"batch {claim.id} of {claim.count:,} events"


def _failed(claim: Claim, summary: str, which: str = "") -> str:
    """The delivery is not the number of attempts, because not every failure counts as one."""
    return f"{_subject(claim)} failed at delivery {claim.attempt}{which} with {_stopped(summary)}"


def _stopped(text: str) -> str:
    """The text with a full stop, if it does not end a sentence itself."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _again(backoff: timedelta) -> str:
    return f"It comes again in about {backoff.total_seconds():.1f} s."


def _minutes(duration: timedelta) -> str:
    return str(timedelta(seconds=round(duration.total_seconds())))
