"""The list of buckets in the admin: search, filter, order and pages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_jsonbuffer import catalog
from django_jsonbuffer.figures import Figures
from django_jsonbuffer.states import (
    BucketState,
    State,
    count_states,
    is_for_other_clients,
    read_states,
    sorted_by_urgency,
)
from django_jsonbuffer.store.status import BucketStatus

from .charts import Chart, History
from .summary import Summary
from .workers import count_workers


class Column(NamedTuple):
    key: str
    label: Any
    value: Callable[[BucketStatus], float | None]
    """The value that rows are sorted by. Rows of equal value are sorted by name."""


def _oldest(status: BucketStatus) -> float | None:
    return None if status.oldest is None else status.oldest.total_seconds()


FIGURES: Final = (
    Column("pending", pgettext_lazy("bucket", "Pending"), lambda status: status.pending),
    Column("oldest", pgettext_lazy("bucket", "Oldest"), _oldest),
    Column("in", _("In per minute"), lambda status: status.appended_per_minute),
    Column("out", _("Out per minute"), lambda status: status.processed_per_minute),
    Column("dead", pgettext_lazy("bucket", "Dead"), lambda status: status.dead),
)
_FIGURES: Final = {column.key: column for column in FIGURES}


_SMALLEST_SHARE: Final = 3
"""Per cent. A shorter bar looks like a stain."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """A heading of the list. A click on it sorts the list."""

    label: str
    url: str
    """Sorts by this column. If the list is sorted by it already, in the opposite order."""

    order: str
    """``ascending`` or ``descending``; empty if the list is sorted by another column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """A link to the buckets in one state."""

    state: State
    count: int
    url: str
    is_chosen: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A bucket with its figures and chart, which are None if the bucket cannot be read."""

    bucket_state: BucketState
    figures: Figures | None
    share: int
    """The pending events, in per cent of those of the bucket that has the most."""

    chart: Chart | None
    has_processor: bool
    is_for_other_clients: bool

    @property
    def rest(self) -> int:
        """Where the bar begins, in per cent: it ends at the right edge."""
        return 100 - self.share


class Found:
    """The buckets that the parameters of a page ask for, in any order."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self.search = parameters.get("q", "").strip()[:100]
        state = parameters.get("state", "")
        self.state = next((each for each in State if each.value == state), None)
        known, self.gap = catalog.read_known()
        matching = [bucket for bucket in known if self.search.lower() in bucket.name.lower()]
        in_any_state = read_states(matching)
        self.in_each_state = count_states(each.state for each in in_any_state)
        self.buckets = [each for each in in_any_state if self.state in (None, each.state)]


class Listing:
    """The page of the list that the parameters ask for.

    To read it takes four round trips: for the names, for all figures, for the workers, and for the
    history of the buckets on this page. There is one more if a bucket may be stalled, and for each
    further 500 buckets.
    """

    def __init__(self, parameters: Mapping[str, str], *, per_page: int) -> None:
        found = Found(parameters)
        self.search, self.state, self.gap = found.search, found.state, found.gap
        self.sort = parameters.get("sort", "")
        self._states = found.in_each_state
        self.count = len(found.buckets)
        self.summary = Summary.of(found.buckets, workers=count_workers())
        self._most = max((each.status.pending for each in found.buckets if each.status), default=0)
        self.page: Page[BucketState] = Paginator(self._sorted(found.buckets), per_page).get_page(
            parameters.get("p", "1")
        )

    @property
    def is_narrowed(self) -> bool:
        return bool(self.search or self.state)

    @property
    def everything_url(self) -> str:
        return self._url(q="", state="")

    @property
    def query(self) -> str:
        """The parameters of this page, to come back to it."""
        return self._url(p=str(self.page.number) if self.page.number > 1 else "")

    @property
    def named_headings(self) -> list[Heading]:
        """Of the first column, which has the name and the state."""
        return [self._heading("name", _("Bucket")), self._heading("state", _("State"))]

    @property
    def headings(self) -> list[Heading]:
        return [self._heading(*column[:2], is_numeric=True) for column in FIGURES]

    @property
    def filters(self) -> list[Filter]:
        return [
            Filter(
                state=state,
                count=count,
                url=self._url(state=state.value),
                is_chosen=state == self.state,
            )
            for state, count in self._states.items()
        ]

    def read_rows(self) -> list[Row]:
        """The rows of this page. Reads the history of those that can be read."""
        shown = [*self.page]
        readable = [each.bucket for each in shown if each.status is not None]
        histories = dict(
            zip([bucket.name for bucket in readable], catalog.histories(readable), strict=True)
        )
        return [
            Row(
                bucket_state=bucket_state,
                figures=Figures.of(bucket_state.status) if bucket_state.status else None,
                share=self._share(bucket_state),
                chart=History(histories[bucket_state.bucket.name], bucket_state.status).sparkline()
                if bucket_state.status
                else None,
                has_processor=catalog.has_processor(bucket_state.bucket),
                is_for_other_clients=is_for_other_clients(bucket_state.bucket),
            )
            for bucket_state in shown
        ]

    def _share(self, bucket_state: BucketState) -> int:
        if not (bucket_state.status and bucket_state.status.pending):
            return 0
        return max(round(100 * bucket_state.status.pending / self._most), _SMALLEST_SHARE)

    @property
    def pages(self) -> list[tuple[str, str]]:
        """Text and URL of each page. The URL is empty for this page and for gaps."""
        numbers = self.page.paginator.get_elided_page_range(self.page.number)
        return [
            (
                str(number),
                self._url(p=str(number))
                if isinstance(number, int) and number != self.page.number
                else "",
            )
            for number in numbers
        ]

    def _heading(self, key: str, label: Any, *, is_numeric: bool = False) -> Heading:
        orders = {key: "ascending", f"-{key}": "descending"}
        order = orders.get(self.sort or "state", "")
        first, second = (f"-{key}", key) if is_numeric else (key, f"-{key}")
        # The first click on a numeric column puts the largest value on top.
        is_by_first = orders[first] == order
        return Heading(
            label=str(label),
            url=self._url(sort=second if is_by_first else first),
            order=order,
        )

    def _sorted(self, found: Sequence[BucketState]) -> list[BucketState]:
        """Equal rows are sorted by name. Unknown values come last in both orders."""
        key, is_reversed = self.sort.removeprefix("-"), self.sort.startswith("-")
        if key == "name":
            return sorted(
                found, key=lambda bucket_state: bucket_state.bucket.name, reverse=is_reversed
            )
        if (column := _FIGURES.get(key)) is None:
            return sorted_by_urgency(found, is_reversed=is_reversed)
        sign = -1 if is_reversed else 1

        def place(bucket_state: BucketState) -> tuple[bool, float, str]:
            value = None if bucket_state.status is None else column.value(bucket_state.status)
            return value is None, sign * (value or 0), bucket_state.bucket.name

        return sorted(found, key=place)

    def _url(self, **changes: str) -> str:
        state = self.state.value if self.state else ""
        now = {"q": self.search, "state": state, "sort": self.sort}
        return "?" + urlencode({key: value for key, value in (now | changes).items() if value})
