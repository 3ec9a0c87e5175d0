"""The pages of the buckets, and the views that show them."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.admin import AdminSite
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.models import Bucket

from .acting import ActingViews
from .actions import PERMISSIONS
from .bulk_actions import BULK_ACTIONS
from .collector import collector_paused
from .details import read_details
from .frame import find_bucket
from .letters import download, read_letters
from .listing import Listing
from .workers import read_workers

_read = method_decorator(require_safe)


class BucketAdmin(ActingViews):
    """The list of buckets, the page of each bucket, and the actions.

    The default AdminSite has it. Another AdminSite gets it with ``site.register()``.
    """

    change_list_template = "admin/django_jsonbuffer/bucket/change_list.html"
    change_form_template = "admin/django_jsonbuffer/bucket/change_form.html"
    letters_template = "admin/django_jsonbuffer/bucket/dead_letters.html"
    workers_template = "admin/django_jsonbuffer/bucket/workers.html"
    index_template: str | None = "admin/django_jsonbuffer/index.html"
    list_per_page = 100

    def __init__(self, model: type[Bucket], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        admin_site.index_template = admin_site.index_template or self.index_template

    def get_urls(self) -> list[URLPattern]:
        # These URLs replace the inherited URLs, whose pages read and write a table.
        name = "<str:object_id>"
        return [
            self.url("", self.changelist_view, "changelist"),
            self.url("workers/", self.workers_view, "workers"),
            self.url("actions/", self.bulk_view, "bulk"),
            self.url(f"{name}/change/", self.change_view, "change"),
            self.url(f"{name}/dead-letters/", self.letters_view, "letters"),
            self.url(f"{name}/dead-letters/download/", self.download_view, "download"),
            *(
                self.url(f"{name}/{action}/", self.action_view, action, action=action)
                for action in PERMISSIONS
            ),
        ]

    @_read
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require(request)
        try:
            with collector_paused():
                listing = Listing(request.GET.dict(), per_page=self.list_per_page)
            context = {
                "title": capfirst(self.opts.verbose_name_plural),
                "listing": listing,
                "rows": listing.read_rows(),
                "bulk_actions": self._bulk_actions(request),
                **(extra_context or {}),
            }
        except JSONBufferError as error:
            return self.unavailable(request, error)
        return self.page(request, self.change_list_template, context)

    def _bulk_actions(self, request: HttpRequest) -> list[tuple[str, Any]]:
        may = self.permissions(request)
        return [(action, bulk) for action, bulk in BULK_ACTIONS.items() if may[PERMISSIONS[action]]]

    @_read
    def workers_view(self, request: HttpRequest) -> HttpResponse:
        self.require(request)
        try:
            with collector_paused():
                context = {"title": _("Workers"), "here": _("Workers"), **read_workers()}
        except JSONBufferError as error:
            return self.unavailable(request, error)
        return self.page(request, self.workers_template, context)

    @_read
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        self.require(request)
        may = self.permissions(request)
        try:
            bucket = find_bucket(object_id)
            context = {
                "title": bucket.name,
                "name": bucket.name,
                **read_details(bucket, with_events=may["view_events"]),
                **(extra_context or {}),
            }
        except JSONBufferError as error:
            return self.unavailable(request, error)
        return self.page(request, self.change_form_template, context)

    @_read
    def letters_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.require(request, "view_events")
        try:
            bucket = find_bucket(object_id)
            context = {
                "title": _("Dead letters of %(name)s") % {"name": bucket.name},
                "name": bucket.name,
                "here": _("Dead letters"),
                **read_letters(bucket, request.GET.dict()),
            }
        except JSONBufferError as error:
            return self.unavailable(request, error)
        return self.page(request, self.letters_template, context)

    @_read
    def download_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Dead letters as NDJSON. If it ends early, the connection breaks off."""
        self.require(request, "view_events")
        try:
            bucket = find_bucket(object_id)
            bucket.status()  # so that an error is a page, and not a broken file
        except JSONBufferError as error:
            return self.unavailable(request, error)
        lines: Any = download(bucket, request.GET.dict())
        if isinstance(request, ASGIRequest):
            lines = _async_lines(lines)
        response = StreamingHttpResponse(lines, content_type="application/x-ndjson")
        name = f"{bucket.name.replace(':', '_')}-dead-letters.ndjson"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


async def _async_lines(lines: Iterator[str]) -> AsyncIterator[str]:
    """The same for ASGI, where Django would keep all lines in memory first."""
    while line := await sync_to_async(lambda: next(lines, ""))():
        yield line
