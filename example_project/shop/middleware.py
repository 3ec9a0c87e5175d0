import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from django_jsonbuffer.exceptions import JSONBufferError
from example_project.shop.buckets import page_views

logger = logging.getLogger(__name__)


class PageViewMiddleware:
    """Appends one page view for each request of a visitor to the shop, whatever its answer is."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.skipped = (reverse("admin:index"), reverse("shop:webhooks"), settings.STATIC_URL)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = self.get_response(request)
        if not request.path.startswith(self.skipped):
            self.record(request, response, seconds=time.perf_counter() - started)
        return response

    def record(self, request: HttpRequest, response: HttpResponse, *, seconds: float) -> None:
        """Append a page view. Without Redis, the page is more important and is still answered."""
        try:
            page_views.append(
                {
                    "path": _storable(request.path),
                    "method": _storable(request.method or "")[:16],
                    "status_code": response.status_code,
                    "user_agent": _storable(request.headers.get("User-Agent", "")),
                    "duration_ms": round(seconds * 1000, 3),
                    "at": timezone.now(),
                }
            )
        except JSONBufferError as error:
            logger.error("No page view of %s was recorded: %s", request.path, error)


def _storable(text: str) -> str:
    """Remove NUL characters: no column of PostgreSQL can store them, so no drain could."""
    return text.replace("\0", "")
