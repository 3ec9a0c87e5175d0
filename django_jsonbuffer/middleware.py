"""Middleware: what a request appends leaves as one."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, cast

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from .commits import gathered

_GetResponse = Callable[[HttpRequest], HttpResponseBase]
_AsyncGetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def gathering_middleware(get_response: Any) -> _GetResponse | _AsyncGetResponse:
    """Each request within ``gathered()``: its appends leave when its answer is ready.

    Nobody waits for an error then, so one is logged unless the bucket says "raise".
    """
    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> HttpResponseBase:
            async with gathered(is_late=True):
                return cast(HttpResponseBase, await get_response(request))

        return middleware

    def sync_middleware(request: HttpRequest) -> HttpResponseBase:
        with gathered(is_late=True):
            return cast(HttpResponseBase, get_response(request))

    return sync_middleware
