"""The pages of the buckets in the admin. Only these ask Redis, the rest of the admin never."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import django
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from django_jsonbuffer import buckets
from django_jsonbuffer.exceptions import BufferMisconfigured, BufferUnavailable, JSONBufferError
from django_jsonbuffer.figures import Age, Figures, whole
from django_jsonbuffer.health import health
from django_jsonbuffer.models import Bucket
from django_jsonbuffer.options import Options
from django_jsonbuffer.store import Deliveries, Delivery

from .actions import (
    ACTIONS,
    DRAIN_SECONDS,
    PERMISSIONS,
    QUESTIONS,
    Confirmation,
    Outcome,
    nothing_selected,
)
from .charts import History
from .display import MOST_BYTES, Exhibit
from .listing import Listing

# Generic for the type checker only: Django's own class takes no parameter.
if TYPE_CHECKING:
    BucketModelAdmin = admin.ModelAdmin[Bucket]
else:
    BucketModelAdmin = admin.ModelAdmin

BREADCRUMBS_ARE_A_LIST: Final = django.VERSION >= (6, 1)
"""The admin's own style sheet knows an ``<ol>`` from there on, and a ``<div>`` before."""

EVENTS_SHOWN: Final = 10
LETTERS_SHOWN: Final = 20
DELIVERIES_SHOWN: Final = 100


@admin.register(Bucket)
class BucketAdmin(BucketModelAdmin):
    """To be registered with any further AdminSite as with the default one."""

    change_list_template = "admin/django_jsonbuffer/bucket/change_list.html"
    change_form_template = "admin/django_jsonbuffer/bucket/change_form.html"
    confirmation_template = "admin/django_jsonbuffer/bucket/confirmation.html"
    unavailable_template = "admin/django_jsonbuffer/bucket/unavailable.html"
    list_per_page = 100

    def get_urls(self) -> list[URLPattern]:
        # In place of the inherited ones: those pages read and write a table.
        name = "django_jsonbuffer_bucket"
        return [
            path("", self._view(self.changelist_view), name=f"{name}_changelist"),
            path("<str:object_id>/change/", self._view(self.change_view), name=f"{name}_change"),
            *(
                path(
                    f"<str:object_id>/{action}/",
                    self._view(self.action_view),
                    {"action": action},
                    name=f"{name}_{action}",
                )
                for action in PERMISSIONS
            ),
        ]

    def _view(self, view: Any) -> Any:
        """A drain within the transaction of a request would lose events by a rollback."""
        view = self.admin_site.admin_view(view)
        for alias in settings.DATABASES:
            view = transaction.non_atomic_requests(alias)(view)
        return view

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Bucket | None = None) -> bool:
        return False

    def has_bucket_permission(self, request: HttpRequest, codename: str) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    @method_decorator(require_safe)
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            listing = Listing(request.GET.dict(), per_page=self.list_per_page)
            context = {
                "title": capfirst(self.opts.verbose_name_plural),
                "listing": listing,
                "rows": listing.read_rows(),
                **(extra_context or {}),
            }
        except JSONBufferError as error:
            return self._unavailable(request, error)
        return self._page(request, self.change_list_template, context)

    @method_decorator(require_safe)
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            bucket = _bucket(object_id)
            context = self._shown(request, bucket) | (extra_context or {})
        except JSONBufferError as error:
            return self._unavailable(request, error)
        return self._page(request, self.change_form_template, context)

    def _shown(self, request: HttpRequest, bucket: buckets.Bucket) -> dict[str, Any]:
        [how] = health([bucket])
        context: dict[str, Any] = {
            "title": bucket.name,
            "name": bucket.name,
            "health": how,
            "may": {
                codename: self.has_bucket_permission(request, codename)
                for codename in ("view_events", *PERMISSIONS.values())
            },
            "has_processor": bucket.has_processor,
            "drain_seconds": whole(int(DRAIN_SECONDS)),
            "log": self._log_of(bucket),
        }
        if how.status is None:
            return context
        [samples] = buckets.histories([bucket])
        history = History(samples, how.status)
        context |= {
            "status": how.status,
            "figures": Figures.of(how.status),
            "backlog": history.backlog(),
            "throughput": history.throughput(),
            "newest_letter": bucket.dead.newest(),
            "options": [*_told_options(bucket.options)],
            **_told_deliveries(bucket.deliveries(DELIVERIES_SHOWN), lease=bucket.options.lease),
        }
        if context["may"]["view_events"]:
            context |= _told_events(bucket, after=request.GET.get("after"))
        return context

    def _log_of(self, bucket: buckets.Bucket) -> Any:
        entries = LogEntry.objects.filter(
            content_type=get_content_type_for_model(self.model), object_id=bucket.name
        )
        return entries.select_related("user").order_by("-action_time")[:10]

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def action_view(self, request: HttpRequest, object_id: str, action: str) -> HttpResponse:
        """Do it, or ask first what it destroys. A GET, as after a login, does nothing."""
        is_permitted = self.has_bucket_permission(request, PERMISSIONS[action])
        if not (is_permitted and self.has_view_permission(request)):
            raise PermissionDenied
        try:
            bucket = _bucket(object_id)
        except JSONBufferError as error:
            return self._unavailable(request, error)
        if request.method == "POST":
            try:
                outcome = self._act(request, bucket, action)
            except JSONBufferError as error:
                if not isinstance(error, BufferUnavailable) or error.is_unreachable:
                    return self._unavailable(request, error)
                outcome = Outcome(str(error), messages.ERROR)
            if isinstance(outcome, Confirmation):
                return self._ask(request, bucket, outcome)
            self.message_user(request, outcome.message, outcome.level)
        url = reverse(
            "admin:django_jsonbuffer_bucket_change",
            args=[quote(bucket.name)],
            current_app=self.admin_site.name,
        )
        return HttpResponseRedirect(url)

    def _act(
        self, request: HttpRequest, bucket: buckets.Bucket, action: str
    ) -> Outcome | Confirmation:
        if action in QUESTIONS and "confirmed" not in request.POST:
            return QUESTIONS[action](bucket, request) or nothing_selected()
        # Before, so that what ends half-way is on record.
        entry = self.log_change(
            request, Bucket(name=bucket.name), _("Begun: %(action)s.") % {"action": action}
        )
        try:
            outcome = ACTIONS[action](bucket, request)
        except JSONBufferError as error:
            told = _("Ended half-way: %(action)s. %(error)s")
            entry.change_message = told % {"action": action, "error": error}
            entry.save()
            raise
        except BadRequest:
            entry.delete()
            raise
        if outcome.is_logged:
            entry.change_message = outcome.message
            entry.save()
        else:
            entry.delete()
        return outcome

    def _ask(
        self, request: HttpRequest, bucket: buckets.Bucket, question: Confirmation
    ) -> TemplateResponse:
        context = {"title": question.title, "name": bucket.name, "confirmation": question}
        return self._page(request, self.confirmation_template, context)

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
            "subtitle": None,
            "breadcrumbs_are_a_list": BREADCRUMBS_ARE_A_LIST,
            **context,
        }
        return TemplateResponse(request, template, context, status=status)


def _bucket(object_id: str) -> buckets.Bucket:
    """Of what a page's address names. Raises :class:`Http404` for what is not in the list."""
    name = unquote(object_id)
    for bucket in buckets.known_buckets():
        if bucket.name == name:
            return bucket
    raise Http404(_("There is no bucket of this name."))


def _local(moment: datetime | None) -> datetime | None:
    """In the time zone in force, which templates see to only with USE_TZ."""
    return None if moment is None else timezone.localtime(moment).replace(tzinfo=None)


def _told_options(options: Options) -> Iterator[tuple[str, str]]:
    for field in fields(options):
        value = getattr(options, field.name)
        if isinstance(value, timedelta):
            age = Age.of(value)
            told = age.words if value >= timedelta(seconds=1) else age.exact
        elif isinstance(value, int):
            told = whole(value)
        elif isinstance(value, tuple):
            told = ", ".join(kind.__qualname__ for kind in value) or "–"
        elif value is None:
            told = "–"
        elif callable(value):  # whose repr may tell more than its name
            told = getattr(value, "__qualname__", type(value).__qualname__)
        else:
            told = str(value)
        yield field.name, told


def _told_deliveries(deliveries: Deliveries, *, lease: timedelta) -> dict[str, Any]:
    """What each worker has in hand, and what waits for another attempt."""
    in_hand = {delivery.worker: delivery for delivery in deliveries.batches if delivery.worker}
    heard = {name: deliveries.workers.get(name) for name in sorted({*deliveries.workers, *in_hand})}
    return {
        "workers": [
            {
                "name": name,
                "heard": Age.of(ago) if ago is not None else None,
                "batch": (batch := in_hand.get(name)),
                "since": _since(batch),
            }
            for name, ago in heard.items()
        ],
        "given_back": [
            {"batch": batch, "comes_in": Age.of(max(lease - batch.idle, timedelta(0)))}
            for batch in deliveries.batches
            if not batch.worker
        ],
    }


def _since(batch: Delivery | None) -> Age | None:
    return Age.of(batch.claimed) if batch is not None and batch.claimed is not None else None


def _told_events(bucket: buckets.Bucket, *, after: str | None) -> dict[str, Any]:
    events = bucket.leading_events(EVENTS_SHOWN, most_bytes=EVENTS_SHOWN * MOST_BYTES)
    try:
        letters = bucket.dead.page(LETTERS_SHOWN + 1, after=after or None, most_bytes=MOST_BYTES)
    except ValueError as error:
        raise Http404(str(error)) from error
    return {
        "events": [
            Exhibit.of_event(bucket, event, size=len(event) if is_whole else None)
            for event, is_whole in events
        ],
        "letters": [
            {
                "letter": letter,
                "first_failed": _local(letter.first_failed),
                "last_failed": _local(letter.last_failed),
                "event": Exhibit.of_letter(bucket, letter),
                "error": Exhibit.of_error(bucket, letter),
                "traceback": Exhibit.of_traceback(bucket, letter),
            }
            for letter in letters[:LETTERS_SHOWN]
        ],
        "is_first_page": not after,
        "next_after": letters[LETTERS_SHOWN - 1].id if len(letters) > LETTERS_SHOWN else None,
    }
