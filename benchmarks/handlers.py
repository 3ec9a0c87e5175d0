"""The work of a worker with its events, the same for all projects."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.models import PageView
from benchmarks.tally import Tally

tally = Tally()


def handle(events: int) -> None:
    """Only count them."""
    tally.add(events)


def store(views: Sequence[Mapping[str, Any]]) -> None:
    PageView.objects.using("postgresql").bulk_create(PageView(**view) for view in views)
    tally.add(len(views))
