from asgiref.sync import iscoroutinefunction
from django.utils import timezone
from django.utils.decorators import sync_and_async_middleware

from .buckets import page_views


def _page_view(request):
    return {"path": request.path, "at": timezone.now()}


@sync_and_async_middleware
def record_page_view(get_response):
    """Append a page view for each page that was found."""
    if iscoroutinefunction(get_response):

        async def middleware(request):
            response = await get_response(request)
            if request.method == "GET" and response.status_code == 200:
                await page_views.aappend(_page_view(request))
            return response

    else:

        def middleware(request):
            response = get_response(request)
            if request.method == "GET" and response.status_code == 200:
                page_views.append(_page_view(request))
            return response

    return middleware
