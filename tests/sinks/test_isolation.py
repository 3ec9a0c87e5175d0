from collections.abc import Callable, Sequence

import pytest
from django.db import OperationalError

from django_jsonbuffer.sinks.isolation import (
    MOST_IN_VAIN,
    process_or_reject,
    reject_unless_all,
    results_or_reject,
)
from tests.sinks.batches import a_batch


def refusing(done: list[int], *bad: int) -> Callable[[Sequence[int]], None]:
    """Processes places, and fails if one of them is bad."""

    def process(places: Sequence[int]) -> None:
        calls.append(places)
        if not set(bad).isdisjoint(places):
            raise ValueError(f"{places[0]} is bad")
        done.extend(places)

    calls: list[Sequence[int]] = []
    process.__dict__["calls"] = calls
    return process


class TestProcessOrReject:
    def test_processes_all_in_one_call(self) -> None:
        batch, done = a_batch(*range(10)), list[int]()
        process = refusing(done)
        process_or_reject(batch, range(10), process, bad_event_errors=(ValueError,))
        assert done == [*range(10)]
        assert len(process.__dict__["calls"]) == 1

    @pytest.mark.parametrize("bad", [(0,), (999,), (317, 318), (*range(0, 1000, 100),)])
    def test_rejects_bad_events_alone_and_keeps_the_order(self, bad: tuple[int, ...]) -> None:
        batch, done = a_batch(*range(1000)), list[int]()
        process = refusing(done, *bad)
        process_or_reject(batch, range(1000), process, bad_event_errors=(ValueError,))
        assert sorted(batch.rejected) == [*bad]
        assert done == [place for place in range(1000) if place not in bad]
        assert len(process.__dict__["calls"]) <= 1 + 20 * len(bad)

    def test_takes_few_calls_for_one_bad_event_of_a_thousand(self) -> None:
        for bad in range(0, 1000, 37):
            process = refusing([], bad)
            batch = a_batch(*range(1000))
            process_or_reject(batch, range(1000), process, bad_event_errors=(ValueError,))
            assert [*batch.rejected] == [bad]
            assert len(process.__dict__["calls"]) <= 21

    def test_raises_the_first_error_if_no_event_is_processed(self) -> None:
        batch = a_batch(*range(5))
        with pytest.raises(ValueError, match="0 is bad"):
            process_or_reject(
                batch, range(5), refusing([], *range(5)), bad_event_errors=(ValueError,)
            )
        assert not batch.rejected

    def test_ends_early_if_everything_fails(self) -> None:
        batch, process = a_batch(*range(1000)), refusing([], *range(1000))
        with pytest.raises(ValueError, match="0 is bad"):
            process_or_reject(batch, range(1000), process, bad_event_errors=(ValueError,))
        assert len(process.__dict__["calls"]) <= 10 + 2 * MOST_IN_VAIN

    def test_goes_on_after_one_success(self) -> None:
        batch, done = a_batch(*range(100)), list[int]()
        process_or_reject(
            batch, range(100), refusing(done, *range(1, 100)), bad_event_errors=(ValueError,)
        )
        assert done == [0]
        assert len(batch.rejected) == 99

    def test_raises_another_error_at_once(self) -> None:
        def fail(places: Sequence[int]) -> None:
            raise OperationalError

        batch = a_batch(1, 2)
        with pytest.raises(OperationalError):
            process_or_reject(batch, [0, 1], fail, bad_event_errors=(ValueError,))

    def test_of_no_event_makes_no_call(self) -> None:
        process_or_reject(a_batch(1), [], refusing([], 0), bad_event_errors=(ValueError,))


class TestResultsOrReject:
    def test_rejects_events_with_which_the_function_fails(self) -> None:
        batch = a_batch("1", "one", "2")
        assert results_or_reject(batch, int) == {0: 1, 2: 2}
        assert [*batch.rejected] == [1]

    def test_raises_the_first_error_if_no_event_is_left(self) -> None:
        batch = a_batch("one", "two")
        with pytest.raises(ValueError, match="one"):
            results_or_reject(batch, int)

    def test_raises_an_outage_at_once(self) -> None:
        def fail(event: object) -> None:
            if event == 2:
                raise ConnectionError

        with pytest.raises(ConnectionError):
            results_or_reject(a_batch(1, 2), fail)


class TestRejectUnlessAll:
    def test_counts_events_that_were_rejected_before(self) -> None:
        batch = a_batch(1, 2)
        batch.reject_at(0, "bad")
        with pytest.raises(KeyError):
            reject_unless_all(batch, {1: KeyError()})
        assert [*batch.rejected] == [0]
