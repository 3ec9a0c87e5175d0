"""The page of the buckets in the admin. Only this page asks Redis, the rest of the admin never."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self

import django
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import number_format
from django.utils.html import avoid_wrapping
from django.utils.text import capfirst
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from . import buckets
from .exceptions import BufferMisconfigured, BufferUnavailable, JSONBufferError
from .models import Bucket
from .store import BucketStatus, Drops

# Generic for the type checker only: Django's own class takes no parameter.
if TYPE_CHECKING:
    BucketModelAdmin = admin.ModelAdmin[Bucket]
else:
    BucketModelAdmin = admin.ModelAdmin

BREADCRUMBS_ARE_A_LIST: Final = django.VERSION >= (6, 1)
"""The admin's own style sheet knows an ``<ol>`` from there on, and a ``<div>`` before."""

LONGEST_IN_WORDS: Final = timedelta(days=1000 * 365)
"""Another client may spoil what an age is reckoned from, and no date lies far enough back."""


@admin.register(Bucket)
class BucketAdmin(BucketModelAdmin):
    """To be registered with any further AdminSite as with the default one."""

    change_list_template = "admin/django_jsonbuffer/bucket/change_list.html"
    unavailable_template = "admin/django_jsonbuffer/bucket/unavailable.html"

    def get_urls(self) -> list[URLPattern]:
        # In place of the inherited ones: those pages read and write a table.
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="django_jsonbuffer_bucket_changelist")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Bucket | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Bucket | None = None) -> bool:
        return False

    @method_decorator(require_safe)
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        try:
            context |= listing()
        except JSONBufferError as error:
            return self._unavailable(request, error)
        return self._page(request, self.change_list_template, context)

    def _unavailable(self, request: HttpRequest, error: JSONBufferError) -> TemplateResponse:
        context = {
            "title": _("The buckets cannot be read"),
            "error": error,
            "redis_is_at_fault": isinstance(error, BufferUnavailable),
            "settings_are_at_fault": isinstance(error, BufferMisconfigured),
        }
        return self._page(request, self.unavailable_template, context, status=503)

    def _page(
        self, request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200
    ) -> TemplateResponse:
        # The admin's templates link to "admin:..."; with this, to the site that the page is of.
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "subtitle": None,
            "breadcrumbs_are_a_list": BREADCRUMBS_ARE_A_LIST,
            **context,
        }
        return TemplateResponse(request, template, context, status=status)


def listing() -> dict[str, Any]:
    """What the list shows, in two round trips however many buckets there are."""
    known = buckets.known_buckets()
    outcomes = buckets.statuses(known)
    readable = [outcome for outcome in outcomes if isinstance(outcome, BucketStatus)]
    return {
        "rows": [Row.of(bucket, outcome) for bucket, outcome in zip(known, outcomes, strict=True)],
        "total": Figures.of(total(readable)) if len(readable) > 1 else None,
        "total_is_partial": len(readable) < len(outcomes),
    }


def total(statuses: Sequence[BucketStatus]) -> BucketStatus:
    ages = [status.oldest for status in statuses if status.oldest is not None]
    return BucketStatus(
        pending=sum(status.pending for status in statuses),
        in_flight=sum(status.in_flight for status in statuses),
        dead=sum(status.dead for status in statuses),
        batches=sum(status.batches for status in statuses),
        bytes=sum(status.bytes for status in statuses),
        oldest=max(ages, default=None),
        workers=sum(status.workers for status in statuses),
        lost=sum(status.lost for status in statuses),
        dropped=Drops(*map(sum, zip(*(status.dropped for status in statuses), strict=True))),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A bucket with its figures, or with what is wrong with it."""

    name: str
    has_processor: bool
    is_for_other_clients: bool
    """Its events are meant to be taken from Redis as they lie there."""

    figures: "Figures | None"
    error: JSONBufferError | None

    @classmethod
    def of(cls, bucket: buckets.Bucket, outcome: BucketStatus | JSONBufferError) -> Self:
        return cls(
            name=bucket.name,
            has_processor=bucket.has_processor,
            is_for_other_clients=is_for_other_clients(bucket),
            figures=Figures.of(outcome) if isinstance(outcome, BucketStatus) else None,
            error=outcome if isinstance(outcome, JSONBufferError) else None,
        )


def is_for_other_clients(bucket: buckets.Bucket) -> bool:
    try:
        return bucket.options.batch_size is None
    except BufferMisconfigured:
        return False  # a system check tells what is wrong with the options


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """A status as it is written in the visitor's language."""

    pending: str
    in_flight: str
    batches: str
    dead: str
    bytes: str
    oldest: "Age | None"

    @classmethod
    def of(cls, status: BucketStatus) -> Self:
        return cls(
            pending=number_format(status.pending, force_grouping=True),
            in_flight=number_format(status.in_flight, force_grouping=True),
            batches=number_format(status.batches, force_grouping=True),
            dead=number_format(status.dead, force_grouping=True),
            bytes=filesizeformat(status.bytes),
            oldest=None if status.oldest is None else Age.of(status.oldest),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Age:
    """A duration as it is written in the visitor's language."""

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


def in_words(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    if seconds < 60:
        words = ngettext("%(number)d second", "%(number)d seconds", seconds)
        return avoid_wrapping(words % {"number": seconds})
    now = timezone.now()
    return timesince(now - min(duration, LONGEST_IN_WORDS), now)
