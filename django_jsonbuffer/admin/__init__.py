"""The pages of the buckets in the admin. Of all other pages, only the index reads Redis."""

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
from django.utils.decorators import method_decorator
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from django_jsonbuffer import buckets, catalog
from django_jsonbuffer.exceptions import BufferMisconfigured, BufferUnavailable, JSONBufferError
from django_jsonbuffer.models import Bucket
from django_jsonbuffer.spilled import describe_spills

from .actions import ACTIONS, PERMISSIONS, Outcome, refuse_empty_selection
from .confirmations import CONFIRMATIONS, Confirmation
from .details import read_details
from .listing import Listing

# Generic for the type checker only: Django's own class takes no parameter.
if TYPE_CHECKING:
    BucketModelAdmin = admin.ModelAdmin[Bucket]
else:
    BucketModelAdmin = admin.ModelAdmin

BREADCRUMBS_ARE_A_LIST: Final = django.VERSION >= (6, 1)
"""The admin's style sheet expects an ``<ol>`` since Django 6.1, and a ``<div>`` before."""


@admin.register(Bucket)
class BucketAdmin(BucketModelAdmin):
    """The list of buckets, the page of each bucket, and the actions.

    The default AdminSite has it. Another AdminSite gets it with ``site.register()``.
    """

    change_list_template = "admin/django_jsonbuffer/bucket/change_list.html"
    change_form_template = "admin/django_jsonbuffer/bucket/change_form.html"
    confirmation_template = "admin/django_jsonbuffer/bucket/confirmation.html"
    unavailable_template = "admin/django_jsonbuffer/bucket/unavailable.html"
    index_template: str | None = "admin/django_jsonbuffer/index.html"
    list_per_page = 100

    def __init__(self, model: type[Bucket], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        admin_site.index_template = admin_site.index_template or self.index_template

    def get_urls(self) -> list[URLPattern]:
        # These URLs replace the inherited URLs, whose pages read and write a table.
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
        """The view, outside of the transactions of ``ATOMIC_REQUESTS``.

        A rollback of such a transaction would undo the work of the processor, and the drain has
        acknowledged the events already.
        """
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
        codenames = ("view_events", *PERMISSIONS.values())
        may = {codename: self.has_bucket_permission(request, codename) for codename in codenames}
        try:
            bucket = _find_bucket(object_id)
            context = {
                "title": bucket.name,
                "name": bucket.name,
                "may": may,
                "log": self._log_of(bucket),
                **read_details(bucket, request.GET, with_events=may["view_events"]),
                **(extra_context or {}),
            }
        except JSONBufferError as error:
            return self._unavailable(request, error)
        return self._page(request, self.change_form_template, context)

    def _log_of(self, bucket: buckets.Bucket) -> Any:
        entries = LogEntry.objects.filter(
            content_type=get_content_type_for_model(self.model), object_id=bucket.name
        )
        return entries.select_related("user").order_by("-action_time")[:10]

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def action_view(self, request: HttpRequest, object_id: str, action: str) -> HttpResponse:
        """Carry the action out, or ask first if it destroys events.

        A GET does nothing, because the login redirects to it.
        """
        is_permitted = self.has_bucket_permission(request, PERMISSIONS[action])
        if not (is_permitted and self.has_view_permission(request)):
            raise PermissionDenied
        try:
            bucket = _find_bucket(object_id)
        except JSONBufferError as error:
            return self._unavailable(request, error)
        if request.method == "POST":
            try:
                outcome = self._confirm_or_act(request, bucket, action)
            except JSONBufferError as error:
                if not isinstance(error, BufferUnavailable) or error.is_unreachable:
                    return self._unavailable(request, error)
                outcome = Outcome(str(error), messages.ERROR)
            if isinstance(outcome, Confirmation):
                return self._ask(request, bucket, outcome)
            self.message_user(request, outcome.message, outcome.level)
        return HttpResponseRedirect(self._url_of(bucket))

    def _confirm_or_act(
        self, request: HttpRequest, bucket: buckets.Bucket, action: str
    ) -> Outcome | Confirmation:
        if action in CONFIRMATIONS and "confirmed" not in request.POST:
            return CONFIRMATIONS[action](bucket, request) or refuse_empty_selection()
        return self._act(request, bucket, action)

    def _act(self, request: HttpRequest, bucket: buckets.Bucket, action: str) -> Outcome:
        """Carry the action out, and log it.

        The log entry is written first, so that an action that ends halfway is logged as well.
        """
        began = _("Begun: %(action)s.") % {"action": action}
        entry = self.log_change(request, Bucket(name=bucket.name), began)
        try:
            outcome = ACTIONS[action](bucket, request)
        except JSONBufferError as error:
            message = _("Ended halfway: %(action)s. %(error)s")
            entry.change_message = message % {"action": action, "error": error}
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

    def _url_of(self, bucket: buckets.Bucket) -> str:
        return reverse(
            "admin:django_jsonbuffer_bucket_change",
            args=[quote(bucket.name)],
            current_app=self.admin_site.name,
        )

    def _ask(
        self, request: HttpRequest, bucket: buckets.Bucket, confirmation: Confirmation
    ) -> TemplateResponse:
        context = {"title": confirmation.title, "name": bucket.name, "confirmation": confirmation}
        return self._page(request, self.confirmation_template, context)

    def _unavailable(self, request: HttpRequest, error: JSONBufferError) -> TemplateResponse:
        context = {
            "title": _("The buckets cannot be read"),
            "error": error,
            "redis_is_at_fault": isinstance(error, BufferUnavailable),
            "settings_are_at_fault": isinstance(error, BufferMisconfigured),
            "spills": describe_spills(),
        }
        return self._page(request, self.unavailable_template, context, status=503)

    def _page(
        self, request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200
    ) -> TemplateResponse:
        # Templates link to "admin:…". With current_app, these links lead to the site of the page.
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "subtitle": None,
            "breadcrumbs_are_a_list": BREADCRUMBS_ARE_A_LIST,
            **context,
        }
        return TemplateResponse(request, template, context, status=status)


def _find_bucket(object_id: str) -> buckets.Bucket:
    """The bucket that the URL of a page names. Raises :class:`Http404` if it is not known."""
    name = unquote(object_id)
    known, gap = catalog.read_known()
    for bucket in known:
        if bucket.name == name:
            return bucket
    if gap is not None:
        raise gap
    raise Http404(_("There is no bucket of this name."))
