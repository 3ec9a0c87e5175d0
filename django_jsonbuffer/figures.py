"""Figures of buckets as they are written in the visitor's language."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import avoid_wrapping
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .store import BucketStatus

LONGEST_IN_WORDS: Final = timedelta(days=1000 * 365)
"""Another client may spoil what an age is reckoned from, and no date lies far enough back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Those of one bucket, or of several together."""

    pending: str
    in_flight: str
    batches: str
    batches_open: str
    batches_sealed: str
    batches_in_flight: str
    dead: str
    bytes: str
    oldest: "Age | None"
    appended_per_minute: str
    """Empty when it is not known."""

    processed_per_minute: str
    workers: str
    appended: str
    processed: str
    buried: str
    replayed: str
    lost: str
    dropped: str

    @classmethod
    def of(cls, *statuses: BucketStatus) -> Self:
        def summed(figure: str) -> str:
            return whole(sum(getattr(status, figure) for status in statuses))

        def rate(figure: str) -> str:
            rates = [getattr(status, figure) for status in statuses]
            known = [rate for rate in rates if rate is not None]
            return rounded(sum(known)) if known else ""

        ages = [status.oldest for status in statuses if status.oldest is not None]
        return cls(
            pending=summed("pending"),
            in_flight=summed("in_flight"),
            batches=summed("batches"),
            batches_open=summed("batches_open"),
            batches_sealed=summed("batches_sealed"),
            batches_in_flight=summed("batches_in_flight"),
            dead=summed("dead"),
            bytes=filesizeformat(sum(status.bytes for status in statuses)),
            oldest=Age.of(max(ages)) if ages else None,
            appended_per_minute=rate("appended_per_minute"),
            processed_per_minute=rate("processed_per_minute"),
            workers=summed("workers"),
            appended=summed("appended"),
            processed=summed("processed"),
            buried=summed("buried"),
            replayed=summed("replayed"),
            lost=summed("lost"),
            dropped=whole(sum(sum(status.dropped) for status in statuses)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Age:
    """A duration."""

    words: str
    """Rounded down, in the largest units: ``2 hours, 5 minutes``."""

    exact: str
    """In seconds."""

    attribute: str
    """What the attribute ``datetime`` of HTML takes."""

    @classmethod
    def of(cls, duration: timedelta) -> Self:
        seconds = duration.total_seconds()
        exact = number_format(seconds, decimal_pos=3, force_grouping=True)
        return cls(
            words=in_words(duration),
            exact=_("%(number)s seconds") % {"number": exact},
            attribute=f"PT{seconds:.3f}S",
        )


def whole(number: int) -> str:
    return number_format(number, force_grouping=True)


def rounded(number: float) -> str:
    """With one decimal place where that matters."""
    number = round(number, 0 if number >= 100 else 1)
    places = 0 if number == int(number) else 1
    return number_format(number, decimal_pos=places, force_grouping=True)


def in_words(duration: timedelta) -> str:
    """Rounded down, in the largest units: ``2 hours, 5 minutes``."""
    seconds = int(duration.total_seconds())
    if seconds < 60:
        words = ngettext("%(number)d second", "%(number)d seconds", seconds)
        return avoid_wrapping(words % {"number": seconds})
    now = timezone.now()
    return timesince(now - min(duration, LONGEST_IN_WORDS), now)
