"""What a worker does with events, whoever brings them."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.models import PageView
from benchmarks.tally import Tally

tally = Tally()


def handle(events: int) -> None:
    """Nothing but to count them."""
    tally.add(events)


def store(views: Sequence[Mapping[str, Any]]) -> None:
    PageView.objects.using("postgresql").bulk_create(PageView(**view) for view in views)
    tally.add(len(views))
