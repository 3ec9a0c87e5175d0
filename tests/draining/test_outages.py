from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from django_jsonbuffer.draining.outages import (
    MOST_PROBES,
    PROBES,
    ROW_TO_PROBE,
    WEIGHT,
    WEIGHT_OF_A_SUSPECT,
    WEIGHT_OF_AN_EXCEPTION,
    WEIGHT_OF_ANOTHER_ERROR,
    Evidence,
    backoff_after,
    retry_after,
    size_of_probe,
)
from django_jsonbuffer.exceptions import DestinationUnavailable
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.claims import Claim, Reason, Row
from tests.server import both_servers

pytestmark = both_servers


def a_claim(
    *, failed: int = 0, alone: int = 0, tries: int = 0, by_exception: bool = False, **fields: Any
) -> Claim:
    row = Row(failed, alone, by_exception, tries)
    defaults: dict[str, Any] = {"attempt": 1, "count": 10, "array": b""}
    return Claim(id="1-1", stream_id="1-1", worker="w", row=row, **(defaults | fields))


def evidence(
    claim: Claim,
    error: BaseException | None = None,
    summary: str = "ValueError: no",
    **options: Any,
) -> Evidence:
    return Evidence.of(claim, error or ValueError("no"), summary, Options(**options))


class TestEvidence:
    def test_of_a_batch_that_fails_for_the_first_time(self) -> None:
        assert evidence(a_claim()) == Evidence(WEIGHT, Reason.RETRY, False, False)

    def test_of_a_batch_that_fails_again_weighs_nothing_more(self) -> None:
        assert evidence(a_claim(attempt=2, has_failed=True)).weight == 0

    def test_of_a_batch_that_fails_again_after_an_outage(self) -> None:
        assert evidence(a_claim(attempt=2)).weight == WEIGHT

    def test_of_a_piece_that_fails_like_its_batch_says_that_it_is_at_fault(self) -> None:
        piece = a_claim(has_failed=True, others_succeeded=True, error="KeyError: 'path'")
        found = evidence(piece, summary="KeyError: 'name'")
        assert found == Evidence(WEIGHT_OF_A_SUSPECT, Reason.FAILURE, False, False)

    def test_of_a_piece_that_fails_with_another_error_weighs_less(self) -> None:
        piece = a_claim(has_failed=True, others_succeeded=True, error="ValueError: 422 no room")
        found = evidence(piece, summary="ValueError: 503 not now")
        assert found == Evidence(WEIGHT_OF_ANOTHER_ERROR, Reason.CHANGED, False, False)

    def test_of_a_piece_that_fails_with_an_exception_is_no_outage_of_its_own(self) -> None:
        piece = a_claim(has_failed=True, others_succeeded=True, error="ValueError: 422 no room")
        found = evidence(piece, OperationalError(), "OperationalError")
        assert found == Evidence(WEIGHT_OF_ANOTHER_ERROR, Reason.CHANGED, True, False)

    @pytest.mark.parametrize(
        ("error", "has_changed", "weight", "reason"),
        [
            ("ValueError: no", False, 0, Reason.FAILURE),
            ("ValueError: no", True, 0, Reason.FAILURE),
            ("KeyError", False, WEIGHT_OF_ANOTHER_ERROR, Reason.CHANGED),
            ("KeyError", True, WEIGHT_OF_ANOTHER_ERROR, Reason.DOUBTFUL),
        ],
    )
    def test_of_a_retry_depends_on_its_error(
        self, error: str, has_changed: bool, weight: int, reason: Reason
    ) -> None:
        again = a_claim(
            attempt=2, has_failed=True, others_succeeded=True, has_changed=has_changed, error=error
        )
        found = evidence(again)
        assert found == Evidence(weight, reason, False, False)

    def test_of_an_exception_that_means_an_outage_weighs_more(self) -> None:
        found = evidence(a_claim(), OperationalError())
        assert found == Evidence(WEIGHT_OF_AN_EXCEPTION, Reason.OUTAGE, True, False)

    def test_of_an_exception_that_the_project_names(self) -> None:
        assert evidence(a_claim(), KeyError(), outage_errors=(LookupError,)).is_by_exception

    def test_of_such_an_exception_is_no_outage_while_others_succeed(self) -> None:
        again = a_claim(attempt=2, has_failed=True, others_succeeded=True, error="ValueError: no")
        found = evidence(again, OperationalError())
        assert found == Evidence(WEIGHT_OF_A_SUSPECT, Reason.DOUBTFUL, True, False)

    def test_of_several_single_events_is_an_outage(self) -> None:
        row = WEIGHT * (PROBES - 1)
        one = a_claim(count=1, failed=row, alone=row)
        assert evidence(one) == Evidence(WEIGHT, Reason.OUTAGE, False, True)
        assert evidence(a_claim(count=1, failed=row - 1, alone=row - 1)).reason is not Reason.OUTAGE
        assert evidence(a_claim(count=2, failed=row, alone=row)).reason is not Reason.OUTAGE

    def test_of_large_batches_alone_is_not_an_outage(self) -> None:
        assert evidence(a_claim(failed=100)).reason is not Reason.OUTAGE

    def test_of_three_exceptions_that_mean_an_outage_lets_all_wait(self) -> None:
        row = 2 * WEIGHT_OF_AN_EXCEPTION
        assert evidence(a_claim(failed=row, alone=row), OperationalError()).do_all_wait
        one = WEIGHT_OF_AN_EXCEPTION
        assert not evidence(a_claim(failed=one, alone=one), OperationalError()).do_all_wait

    @pytest.mark.parametrize("count", [1, 10])
    def test_of_any_failure_in_an_outage_lets_all_wait(self, count: int) -> None:
        found = evidence(a_claim(tries=1, count=count, attempt=3, others_succeeded=True))
        assert (found.reason, found.do_all_wait) == (Reason.OUTAGE, True)

    def test_of_an_event_that_failed_often_while_nothing_succeeded_is_an_outage_for_it(
        self,
    ) -> None:
        def often(attempt: int = PROBES, **fields: Any) -> Evidence:
            return evidence(a_claim(count=1, attempt=attempt, has_failed=True, **fields))

        assert often() == Evidence(0, Reason.OUTAGE, False, False)
        assert often(PROBES - 1).reason is not Reason.OUTAGE
        assert often(others_succeeded=True).reason is not Reason.OUTAGE
        assert evidence(a_claim(attempt=PROBES, has_failed=True)).reason is not Reason.OUTAGE

    @pytest.mark.parametrize("others_succeeded", [False, True])
    @pytest.mark.parametrize("count", [1, 10])
    def test_of_an_exception_that_asks_to_wait_is_an_outage_for_all(
        self, others_succeeded: bool, count: int
    ) -> None:
        error = DestinationUnavailable("busy", retry_after=timedelta(seconds=5))
        claim = a_claim(count=count, attempt=2, has_failed=True, others_succeeded=others_succeeded)
        found = evidence(claim, error, "DestinationUnavailable")
        assert (found.reason, found.do_all_wait) == (Reason.OUTAGE, True)
        found = evidence(claim, DestinationUnavailable("busy"), "DestinationUnavailable")
        assert found.do_all_wait is False


class TestRetryAfter:
    def test_is_that_of_the_exception(self) -> None:
        error = DestinationUnavailable("busy", retry_after=timedelta(seconds=5))
        assert retry_after(error) == timedelta(seconds=5)

    @pytest.mark.parametrize("value", [None, timedelta(-1), timedelta(0), 5, "5"])
    def test_of_any_other_exception_is_zero(self, value: Any) -> None:
        assert retry_after(DestinationUnavailable("busy", retry_after=value)) == timedelta(0)
        assert retry_after(ValueError()) == timedelta(0)


class TestSizeOfProbe:
    def test_is_one_event_when_batches_fail_in_a_row(self) -> None:
        assert size_of_probe(a_claim(failed=WEIGHT * ROW_TO_PROBE - 1)) == 0
        assert size_of_probe(a_claim(failed=WEIGHT * ROW_TO_PROBE)) == 1

    def test_is_the_whole_batch_if_it_has_one_event(self) -> None:
        assert size_of_probe(a_claim(failed=100, count=1)) == 0
        assert size_of_probe(a_claim(failed=1000, alone=1000, count=1, attempt=3)) == 0

    def test_is_half_a_batch_that_failed_twice_in_an_outage_beyond_doubt(self) -> None:
        for attempt, size in [(2, 0), (3, 5)]:
            certain = a_claim(alone=WEIGHT * MOST_PROBES, tries=99, count=11, attempt=attempt)
            assert size_of_probe(certain) == size

    def test_is_one_event_of_a_batch_that_failed_twice_with_an_exception_that_means_an_outage(
        self,
    ) -> None:
        assert size_of_probe(a_claim(by_exception=True, attempt=2)) == 0
        assert size_of_probe(a_claim(by_exception=True, attempt=3)) == 1


class TestBackoff:
    def test_grows_with_each_attempt_and_stays_finite(self) -> None:
        for attempt in range(1, 18):
            full = timedelta(seconds=2 ** (attempt - 1))
            assert full / 2 <= backoff_after(attempt, most=timedelta.max) <= full
        assert backoff_after(10_000, most=timedelta.max) < timedelta(days=1)

    @pytest.mark.parametrize("attempt", [5, 20])
    def test_is_at_most_the_lease_and_brings_no_workers_in_step(self, attempt: int) -> None:
        lease = timedelta(minutes=1)
        found = {backoff_after(attempt, most=lease) for _ in range(20)}
        assert len(found) > 10
        assert max(found) <= lease
