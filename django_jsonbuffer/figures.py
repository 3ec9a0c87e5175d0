"""Figures of buckets, written in the visitor's language."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import avoid_wrapping
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .store.status import BucketStatus

LONGEST_IN_WORDS: Final = timedelta(days=1000 * 365)
"""The longest age that is written in words. An age can be longer if another client has overwritten
the time that the age starts from. Then no date would be early enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """The figures of one bucket, or of several together."""

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
    """Empty if the rate is unknown."""

    processed_per_minute: str
    """Empty if the rate is unknown."""

    workers: str
    appended: str
    processed: str
    buried: str
    replayed: str
    lost: str
    dropped: str
    expired: str
    """Dead letters that expired. They are part of `dropped`."""

    @classmethod
    def of(cls, *statuses: BucketStatus) -> Self:
        def total(figure: str) -> str:
            return format_count(sum(getattr(status, figure) for status in statuses))

        def rate(figure: str) -> str:
            rates = [getattr(status, figure) for status in statuses]
            known = [rate for rate in rates if rate is not None]
            return format_number(sum(known)) if known else ""

        ages = [status.oldest for status in statuses if status.oldest is not None]
        return cls(
            pending=total("pending"),
            in_flight=total("in_flight"),
            batches=total("batches"),
            batches_open=total("batches_open"),
            batches_sealed=total("batches_sealed"),
            batches_in_flight=total("batches_in_flight"),
            dead=total("dead"),
            bytes=filesizeformat(sum(status.bytes for status in statuses)),
            oldest=Age.of(max(ages)) if ages else None,
            appended_per_minute=rate("appended_per_minute"),
            processed_per_minute=rate("processed_per_minute"),
            workers=total("workers"),
            appended=total("appended"),
            processed=total("processed"),
            buried=total("buried"),
            replayed=total("replayed"),
            lost=total("lost"),
            dropped=format_count(sum(sum(status.dropped) for status in statuses)),
            expired=format_count(sum(status.dropped.expired for status in statuses)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Age:
    """A duration, in words and as an exact number."""

    words: str
    """Rounded down, in the largest units: ``2 hours, 5 minutes``."""

    short: str
    """The same in a few characters: ``2 h 5 min``."""

    exact: str
    """The number of seconds, in the visitor's language."""

    attribute: str
    """The value for the attribute ``datetime`` of HTML's ``<time>``."""

    @classmethod
    def of(cls, duration: timedelta) -> Self:
        seconds = duration.total_seconds()
        exact = number_format(seconds, decimal_pos=3, force_grouping=True)
        return cls(
            words=format_duration(duration),
            short=_shortened(int(seconds)),
            exact=_("%(number)s seconds") % {"number": exact},
            attribute=f"PT{seconds:.3f}S",
        )


def _shortened(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 1:
        text = _("%(seconds)s s")
    elif hours < 1:
        text = _("%(minutes)s min")
    elif days < 1:
        text = _("%(hours)s h %(minutes)s min")
    elif days < 100:
        text = _("%(days)s d %(hours)s h")
    else:
        text = _("%(days)s d")
    parts = {"seconds": seconds, "minutes": minutes % 60, "hours": hours % 24}
    return avoid_wrapping(text % {**parts, "days": format_count(days)})


def format_moment(moment: datetime) -> str:
    """Date and time in the current time zone, with the zone: ``Nov. 30, 2026, 10:15 a.m. CET``."""
    if timezone.is_naive(moment):  # of a database without time zones
        moment = timezone.make_aware(moment)
    local = timezone.localtime(moment)
    return f"{date_format(local, 'DATETIME_FORMAT')} {zone_of(local)}"


def zone_of(moment: datetime) -> str:
    """The name of the moment's time zone. ``UTC+03`` if the zone only has a number."""
    name = moment.tzname() or ""
    return f"UTC{name}" if name[:1] in ("+", "-") else name


def format_count(number: int) -> str:
    """A whole number, with its digits grouped."""
    return number_format(number, force_grouping=True)


def format_number(number: float) -> str:
    """A number with one decimal place if it is below 100, and with none otherwise."""
    number = round(number, 0 if number >= 100 else 1)
    places = 0 if number == int(number) else 1
    return number_format(number, decimal_pos=places, force_grouping=True)


def format_duration(duration: timedelta) -> str:
    """The duration in words, rounded down, in the largest units: ``2 hours, 5 minutes``."""
    seconds = int(duration.total_seconds())
    if seconds < 60:
        words = ngettext("%(number)d second", "%(number)d seconds", seconds)
        return avoid_wrapping(words % {"number": seconds})
    now = timezone.now()
    return timesince(now - min(duration, LONGEST_IN_WORDS), now)
