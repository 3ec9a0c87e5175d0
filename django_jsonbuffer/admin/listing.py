"""The list of buckets in the admin: searched, filtered, sorted, a page of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.utils.translation import gettext_lazy as _

from django_jsonbuffer import buckets
from django_jsonbuffer.figures import Figures
from django_jsonbuffer.health import Health, State, counted, health, is_for_other_clients
from django_jsonbuffer.store import BucketStatus

from .charts import Chart, History


class Column(NamedTuple):
    key: str
    label: Any
    value: Callable[[BucketStatus], float | None]
    """What rows are sorted by, beside the name."""


def _oldest(status: BucketStatus) -> float | None:
    return None if status.oldest is None else status.oldest.total_seconds()


FIGURES: Final = (
    Column("pending", _("Pending"), lambda status: status.pending),
    Column("oldest", _("Age of oldest"), _oldest),
    Column("in", _("In per minute"), lambda status: status.appended_per_minute),
    Column("out", _("Out per minute"), lambda status: status.processed_per_minute),
    Column("dead", _("Dead letters"), lambda status: status.dead),
    Column("in-flight", _("In flight"), lambda status: status.in_flight),
    Column("batches", _("Batches"), lambda status: status.batches),
    Column("bytes", _("Bytes"), lambda status: status.bytes),
    Column("workers", _("Workers"), lambda status: status.workers),
)
_FIGURES: Final = {column.key: column for column in FIGURES}


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """A heading by which the list can be sorted."""

    label: str
    url: str
    """To sort by it, or the other way round."""

    is_numeric: bool
    order: str
    """``ascending`` or ``descending``, or empty when the list is sorted by another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """A state, to see the buckets that are in it."""

    state: State
    count: int
    url: str
    is_chosen: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A bucket with its figures, or with what is wrong with it."""

    health: Health
    figures: Figures | None
    chart: Chart | None
    has_processor: bool
    is_for_other_clients: bool


class Listing:
    """What the parameters of the page ask for.

    It is read in three round trips, however many buckets there are: names, figures, and the history
    of those that are shown.
    """

    def __init__(self, parameters: Mapping[str, str], *, per_page: int) -> None:
        self.search = parameters.get("q", "").strip()[:100]
        state = parameters.get("state", "")
        self.state = next((each for each in State if each.value == state), None)
        self.sort = parameters.get("sort", "")
        everything = health(
            [
                bucket
                for bucket in buckets.known_buckets()
                if self.search.lower() in bucket.name.lower()
            ]
        )
        found = [one for one in everything if self.state in (None, one.state)]
        self._states = counted(one.state for one in everything)
        self.count = len(found)
        readable = [one.status for one in found if one.status is not None]
        self.total = Figures.of(*readable) if len(readable) > 1 else None
        self.total_is_partial = len(readable) < len(found)
        self.page: Page[Health] = Paginator(self._sorted(found), per_page).get_page(
            parameters.get("p", "1")
        )

    @property
    def is_narrowed(self) -> bool:
        return bool(self.search or self.state)

    @property
    def everything_url(self) -> str:
        return self._url(q="", state="")

    @property
    def headings(self) -> list[Heading]:
        named = [self._heading("name", _("Bucket")), self._heading("state", _("State"))]
        return named + [self._heading(*column[:2], is_numeric=True) for column in FIGURES]

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
        """What is shown, with its history."""
        shown = [*self.page]
        samples = buckets.histories([one.bucket for one in shown])
        return [
            Row(
                health=one,
                figures=Figures.of(one.status) if one.status else None,
                chart=History(its_samples, one.status).sparkline() if one.status else None,
                has_processor=one.bucket.has_processor,
                is_for_other_clients=is_for_other_clients(one.bucket),
            )
            for one, its_samples in zip(shown, samples, strict=True)
        ]

    @property
    def pages(self) -> list[tuple[str, str]]:
        """Text and address of each page that is linked to. Without one: this page, and gaps."""
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
        # The first time with what is most on top.
        is_by_first = orders[first] == order
        return Heading(
            label=str(label),
            url=self._url(sort=second if is_by_first else first),
            is_numeric=is_numeric,
            order=order,
        )

    def _sorted(self, found: Sequence[Health]) -> list[Health]:
        """By name among those that are equal. What is not known comes last either way."""
        key, is_reversed = self.sort.removeprefix("-"), self.sort.startswith("-")
        if key == "name":
            return sorted(found, key=lambda one: one.bucket.name, reverse=is_reversed)
        sign = -1 if is_reversed else 1
        if (column := _FIGURES.get(key)) is None:
            return sorted(found, key=lambda one: (sign * one.state.urgency, one.bucket.name))

        def place(one: Health) -> tuple[bool, float, str]:
            value = None if one.status is None else column.value(one.status)
            return value is None, sign * (value or 0), one.bucket.name

        return sorted(found, key=place)

    def _url(self, **changes: str) -> str:
        state = self.state.value if self.state else ""
        now = {"q": self.search, "state": state, "sort": self.sort}
        return "?" + urlencode({key: value for key, value in (now | changes).items() if value})
