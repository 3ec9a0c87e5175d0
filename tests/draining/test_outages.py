from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from django_jsonbuffer.draining.outages import (
    MOST_PROBES,
    PROBES,
    ROW_TO_PROBE,
    WEIGHT_OF_AN_EXCEPTION,
    Evidence,
    backoff_after,
    size_of_probe,
)
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.claims import Claim, Row


def a_claim(
    *, failed: int = 0, alone: int = 0, tries: int = 0, by_exception: bool = False, **fields: Any
) -> Claim:
    row = Row(failed, alone, by_exception, tries)
    defaults: dict[str, Any] = {"attempt": 1, "count": 10, "array": b""}
    return Claim(id="1-1", stream_id="1-1", worker="w", row=row, **(defaults | fields))


def evidence(claim: Claim, error: BaseException | None = None, **options: Any) -> Evidence:
    return Evidence.of(claim, error or ValueError("no"), Options(**options))


class TestEvidence:
    def test_of_a_batch_that_fails_for_the_first_time_weighs_one(self) -> None:
        assert evidence(a_claim()) == Evidence(1, False, False, False)

    def test_of_a_batch_that_comes_again_weighs_nothing(self) -> None:
        assert evidence(a_claim(attempt=2)).weight == 0

    def test_of_an_exception_that_means_an_outage_weighs_more(self) -> None:
        found = evidence(a_claim(), OperationalError())
        assert found == Evidence(WEIGHT_OF_AN_EXCEPTION, True, True, False)

    def test_of_an_exception_that_the_project_names(self) -> None:
        assert evidence(a_claim(), KeyError(), outage_errors=(LookupError,)).is_by_exception

    def test_of_such_an_exception_counts_as_any_other_while_others_succeed(self) -> None:
        found = evidence(a_claim(others_succeeded=True, error="ValueError"), OperationalError())
        assert found == Evidence(1, False, False, False)

    def test_of_a_piece_of_a_batch_that_is_at_fault_weighs_nothing(self) -> None:
        at_fault = a_claim(others_succeeded=True, error="ValueError: of another event")
        assert evidence(at_fault).weight == 0
        assert evidence(at_fault, OSError()).weight == 1

    def test_of_several_single_events_is_an_outage(self) -> None:
        row = PROBES - 1
        one = a_claim(count=1, failed=row, alone=row)
        assert evidence(one) == Evidence(1, False, True, True)
        assert not evidence(a_claim(count=2, failed=row, alone=row)).is_outage

    def test_of_large_batches_alone_is_not_an_outage(self) -> None:
        assert not evidence(a_claim(failed=100)).is_outage

    def test_of_two_exceptions_that_mean_an_outage_lets_all_wait(self) -> None:
        one = WEIGHT_OF_AN_EXCEPTION
        assert evidence(a_claim(failed=one, alone=one), OperationalError()).do_all_wait

    @pytest.mark.parametrize("count", [1, 10])
    def test_of_any_failure_in_an_outage_lets_all_wait(self, count: int) -> None:
        found = evidence(a_claim(tries=1, count=count, attempt=3, others_succeeded=True))
        assert (found.is_outage, found.do_all_wait) == (True, True)

    def test_of_an_event_that_failed_often_while_nothing_succeeded_is_an_outage_for_it(
        self,
    ) -> None:
        often = PROBES
        assert evidence(a_claim(count=1, attempt=often)) == Evidence(0, False, True, False)
        assert not evidence(a_claim(count=1, attempt=often - 1)).is_outage
        assert not evidence(a_claim(count=1, attempt=often, others_succeeded=True)).is_outage
        assert not evidence(a_claim(attempt=PROBES)).is_outage


class TestSizeOfProbe:
    def test_is_one_event_when_batches_fail_in_a_row(self) -> None:
        assert size_of_probe(a_claim(failed=ROW_TO_PROBE - 1)) == 0
        assert size_of_probe(a_claim(failed=ROW_TO_PROBE)) == 1

    def test_is_the_whole_batch_if_it_has_one_event(self) -> None:
        assert size_of_probe(a_claim(failed=ROW_TO_PROBE, count=1)) == 0
        assert size_of_probe(a_claim(failed=100, alone=100, count=1, attempt=3)) == 0

    @pytest.mark.parametrize("row", [{"by_exception": True}, {"alone": MOST_PROBES}])
    def test_is_half_a_batch_that_failed_twice_in_an_outage_beyond_doubt(
        self, row: dict[str, Any]
    ) -> None:
        certain = {"failed": MOST_PROBES, "count": 11, "tries": 9, **row}
        assert size_of_probe(a_claim(**certain, attempt=2)) == 0
        assert size_of_probe(a_claim(**certain, attempt=3)) == 5

    def test_is_half_a_batch_whose_exception_means_an_outage_that_it_alone_has(self) -> None:
        assert size_of_probe(a_claim(by_exception=True, attempt=2)) == 0
        assert size_of_probe(a_claim(by_exception=True, attempt=3)) == 5


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
