"""What all pages of the buckets have in common: access, breadcrumbs, and the page without Redis."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import django
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from django_jsonbuffer import buckets, catalog
from django_jsonbuffer.exceptions import BufferMisconfigured, BufferUnavailable, JSONBufferError
from django_jsonbuffer.figures import zone_of
from django_jsonbuffer.models import Bucket
from django_jsonbuffer.spilled import describe_spills

from .actions import PERMISSIONS

# Generic for the type checker only: Django's own class takes no parameter.
if TYPE_CHECKING:
    BucketModelAdmin = admin.ModelAdmin[Bucket]
else:
    BucketModelAdmin = admin.ModelAdmin

BREADCRUMBS_ARE_A_LIST: Final = django.VERSION >= (6, 1)
"""The admin's style sheet expects an ``<ol>`` since Django 6.1, and a ``<div>`` before."""

CODENAMES: Final = ("view_events", *dict.fromkeys(PERMISSIONS.values()))
"""The permissions that decide what a page shows and offers."""


class Frame(BucketModelAdmin):
    """The frame of the pages, without their content."""

    unavailable_template = "admin/django_jsonbuffer/bucket/unavailable.html"

    def url(self, route: str, view: Any, name: str, **parameters: str) -> URLPattern:
        """A URL of these pages, outside of the transactions of ``ATOMIC_REQUESTS``.

        A rollback of such a transaction would undo the work of the processor, and the drain has
        acknowledged the events already.
        """
        view = self.admin_site.admin_view(view)
        for alias in settings.DATABASES:
            view = transaction.non_atomic_requests(alias)(view)
        url: URLPattern = path(route, view, parameters, name=f"django_jsonbuffer_bucket_{name}")
        return url

    def url_of(self, name: str, bucket: buckets.Bucket | None = None) -> str:
        return reverse(
            f"admin:django_jsonbuffer_bucket_{name}",
            args=[quote(bucket.name)] if bucket else [],
            current_app=self.admin_site.name,
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Bucket | None = None) -> bool:
        return False

    def permissions(self, request: HttpRequest) -> dict[str, bool]:
        """Which of the permissions the visitor has, by codename."""
        label = self.opts.app_label
        return {codename: request.user.has_perm(f"{label}.{codename}") for codename in CODENAMES}

    def require(self, request: HttpRequest, *codenames: str) -> None:
        """Raises :class:`PermissionDenied` unless the visitor may see buckets and has these."""
        may = self.permissions(request)
        if not (self.has_view_permission(request) and all(may[each] for each in codenames)):
            raise PermissionDenied

    def unavailable(self, request: HttpRequest, error: JSONBufferError) -> TemplateResponse:
        context = {
            "title": _("The buckets cannot be read"),
            "error": error,
            "redis_is_at_fault": isinstance(error, BufferUnavailable),
            "settings_are_at_fault": isinstance(error, BufferMisconfigured),
            "spills": describe_spills(),
        }
        return self.page(request, self.unavailable_template, context, status=503)

    def page(
        self, request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200
    ) -> TemplateResponse:
        # Templates link to "admin:…". With current_app, these links lead to the site of the page.
        request.current_app = self.admin_site.name
        now = timezone.localtime(datetime.now(UTC))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "subtitle": None,
            "breadcrumbs_are_a_list": BREADCRUMBS_ARE_A_LIST,
            "may": self.permissions(request),
            "read_at": f"{now:%H:%M:%S} {zone_of(now)}",
            **context,
        }
        return TemplateResponse(request, template, context, status=status)


def find_bucket(object_id: str) -> buckets.Bucket:
    """The bucket that the URL of a page names. Raises :class:`Http404` if it is not known."""
    name = unquote(object_id)
    known, gap = catalog.read_known()
    for bucket in known:
        if bucket.name == name:
            return bucket
    if gap is not None:
        raise gap
    raise Http404(_("There is no bucket of this name."))
