"""Charts of a bucket's history, as shapes that templates draw in SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple

from django.utils import timezone
from django.utils.formats import time_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from django_jsonbuffer.figures import format_number
from django_jsonbuffer.store.history import Sample
from django_jsonbuffer.store.status import BucketStatus

PERIOD: Final = timedelta(hours=4)
"""The time that a chart shows: the length of the history, with a sample a minute."""

_MINUTE: Final = timedelta(minutes=1)
_ROOM_OF_LABEL: Final = 36
"""Nearer to the right edge, the label of an hour would be cut on a narrow screen."""

_SHORTEST: Final = 2 * _MINUTE
"""Over a shorter time, a line would be a dot."""

_DIGIT_WIDTH: Final = 15
"""In the largest size that the style sheet gives the labels, on a narrow screen."""


class Point(NamedTuple):
    at: datetime
    value: float


class Line(NamedTuple):
    label: str
    name: str
    """A CSS class."""

    points: str
    """The value of the attribute ``points`` of SVG."""


class Tick(NamedTuple):
    place: float
    """Distance from the left, or from the top."""

    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Lines over the last hours. The right edge is the present."""

    label: str
    """A description of the lines in words, for visitors who cannot see them."""

    width: int
    height: int
    lines: Sequence[Line]
    times: Sequence[Tick] = ()
    values: Sequence[Tick] = ()

    @property
    def margin(self) -> int:
        """The room for the labels of the values, left of the lines."""
        longest = max((len(tick.label) for tick in self.values), default=0)
        return 12 + _DIGIT_WIDTH * longest


class History:
    """Makes the charts of a bucket, from its samples and one more for its present status."""

    def __init__(self, samples: Sequence[Sample], status: BucketStatus) -> None:
        if samples and status.sampled is not None:
            self.now = samples[-1].at + status.sampled  # by the clock of the samples
        else:
            self.now = datetime.now(UTC)
        self._start = self.now - PERIOD
        within = [sample for sample in samples if self._start <= sample.at < self.now]
        # Sorted by time, because the clock of Redis may be set back between two samples.
        self._samples = sorted(within, key=attrgetter("at"))
        last = Sample(self.now, status.pending, status.dead, status.appended, status.processed)
        self._samples.append(last)
        self._is_too_short = self.now - self._samples[0].at < _SHORTEST

    def sparkline(self) -> Chart | None:
        """A small chart of the pending events for the list. None if there is no history."""
        points = self._backlog()
        if self._is_too_short or len(points) < 2:
            return None
        width, height, highest = 120, 24, _highest(points)
        label = _("Pending over the last 4 hours: at most %(most)s, at the end %(last)s.")
        return Chart(
            label=label % {"most": format_number(highest), "last": format_number(points[-1].value)},
            width=width,
            height=height,
            lines=[Line("", "pending", self._draw(points, width, height, top=highest or 1))],
        )

    def _backlog(self) -> list[Point]:
        return [Point(sample.at, sample.pending) for sample in self._samples]

    def _per_minute(self, total: str) -> list[Point]:
        """The rate between samples that are at least half a minute apart.

        The rate is 0 where the total has begun again. Over a shorter time, the rate would jump.
        """
        value = attrgetter(total)
        return [
            Point(
                after.at, max(value(after) - value(before), 0) / ((after.at - before.at) / _MINUTE)
            )
            for before, after in pairwise(self._samples)
            if after.at - before.at >= _MINUTE / 2
        ]

    def backlog(self) -> Chart | None:
        """A chart of the pending events. None if there is no history."""
        return self._chart((pgettext("bucket", "Pending"), "pending", self._backlog()))

    def throughput(self) -> Chart | None:
        """A chart of the events in and out per minute. None if there is no history."""
        return self._chart(
            (_("In per minute"), "appended", self._per_minute("appended")),
            (_("Out per minute"), "processed", self._per_minute("processed")),
        )

    def _chart(self, *series: tuple[str, str, list[Point]]) -> Chart | None:
        """A chart with axes. None if there is no history."""
        if self._is_too_short or any(len(points) < 2 for *_names, points in series):
            return None
        width, height = 640, 160
        top = _round_up(max(_highest(points) for *_names, points in series))
        return Chart(
            label=" ".join(_describe(label, points) for label, _name, points in series),
            width=width,
            height=height,
            lines=[
                Line(label, name, self._draw(points, width, height, top=top))
                for label, name, points in series
            ],
            times=self._hours(width),
            values=[
                Tick(height, "0"),
                Tick(height / 2, format_number(top / 2)),
                Tick(0, format_number(top)),
            ],
        )

    def _draw(self, points: Sequence[Point], width: int, height: int, *, top: float) -> str:
        return " ".join(
            f"{(at - self._start) / PERIOD * width:.1f},{height - value / top * height:.1f}"
            for at, value in points
        )

    def _hours(self, width: int) -> list[Tick]:
        first = timezone.localtime(self._start).replace(minute=0, second=0, microsecond=0)
        hours = (first + timedelta(hours=n) for n in range(1, 6))
        places = [(round((at - self._start) / PERIOD * width, 1), at) for at in hours]
        return [
            Tick(place, time_format(at, "TIME_FORMAT"))
            for place, at in places
            if place <= width - _ROOM_OF_LABEL
        ]


def _describe(label: str, points: Sequence[Point]) -> str:
    text = _("%(what)s: at most %(most)s, at the end %(last)s.")
    return text % {
        "what": label,
        "most": format_number(_highest(points)),
        "last": format_number(points[-1].value),
    }


def _highest(points: Sequence[Point]) -> float:
    return max(point.value for point in points)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 and so on."""
    power = 1
    while True:
        for step in (1, 2, 5):
            if value <= step * power:
                return step * power
        power *= 10
