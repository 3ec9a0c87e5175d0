"""Finds the bad events of a batch, by halving the part of it that fails."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.draining.outages import OUTAGE_ERRORS

T = TypeVar("T")

Failures = dict[int, Exception]
"""The errors of the events that failed alone, by their place in the batch."""

MOST_IN_VAIN: Final = 10
"""Events that fail alone, while no other is processed, before the search ends. This is probably an
outage, and the search would take two calls for each event of the batch. If it is none, the worker
halves the batch, and each half is searched again."""


def process_or_reject(
    batch: Batch,
    places: Sequence[int],
    process: Callable[[Sequence[int]], object],
    *,
    bad_event_errors: tuple[type[Exception], ...],
) -> None:
    """Process the events at these places of the batch together, and reject those that fail alone.

    `process` does all that it is asked to do, or raises and has done nothing. If it raises one of
    `bad_event_errors`, it is called with the first half of the events, and with the second, and so
    on. Any other error is raised at once: it says nothing about an event.

    Raises the error of the first event, and rejects nothing, if no event of the batch could be
    processed, or if the first :data:`MOST_IN_VAIN` events failed.
    """
    others_succeed = _others_succeed(batch, places)
    failures = _failures(
        places, process, bad_event_errors, most=None if others_succeed else MOST_IN_VAIN
    )
    reject_unless_all(batch, failures)


def results_or_reject(
    batch: Batch, function: Callable[[Any], T], *, places: Sequence[int] | None = None
) -> dict[int, T]:
    """The results of a function for the events at these places, by place. By default for all.

    Rejects the events with which the function fails. Raises at once what means an outage. Raises
    the error of the first event if no event of the batch is left.
    """
    results: dict[int, T] = {}
    failures: Failures = {}
    for place in range(len(batch)) if places is None else places:
        try:
            results[place] = function(batch[place])
        except OUTAGE_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001  (a function of the project may raise anything)
            failures[place] = error
    reject_unless_all(batch, failures)
    return results


def reject_unless_all(batch: Batch, failures: Mapping[int, Exception]) -> None:
    """Reject the events at these places. Raises the first error if no event would be left, unless
    the batch is a part of one of which other events have been processed."""
    is_left = len(batch.rejected.keys() | failures.keys()) < len(batch)
    if failures and not is_left and not batch.others_processed:
        raise next(iter(failures.values()))
    for place, error in failures.items():
        batch.reject_at(place, error)


def _others_succeed(batch: Batch, places: Sequence[int]) -> bool:
    """Whether there are events beside these that were not rejected."""
    return batch.others_processed or len(batch) - len(batch.rejected) > len(places)


def _failures(
    places: Sequence[int],
    process: Callable[[Sequence[int]], object],
    bad_event_errors: tuple[type[Exception], ...],
    *,
    most: int | None,
) -> Failures:
    """`most` is how many events may fail before one succeeds. None for any number."""
    failures: Failures = {}
    parts = [places] if places else []
    while parts:
        part = parts.pop()
        try:
            process(part)
        except bad_event_errors as error:
            middle = len(part) // 2
            if middle:
                parts += [part[middle:], part[:middle]]
            else:
                failures[part[0]] = error
        else:
            most = None
        if most is not None and len(failures) >= most:
            raise next(iter(failures.values()))
    return failures
