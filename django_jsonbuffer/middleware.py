"""Middleware: to send the events of a request together, and to record who made the request."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, cast

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from .appending.gathering import gathered
from .recording.actors import remembered

_GetResponse = Callable[[HttpRequest], HttpResponseBase]
_AsyncGetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def gathering_middleware(get_response: Any) -> _GetResponse | _AsyncGetResponse:
    """Runs each request within ``gathered()``: its appends leave when the response is ready.

    If an append fails, its error is logged. It is raised only if the bucket's ``on_unavailable`` is
    ``"raise"``.
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


@sync_and_async_middleware
def actor_middleware(get_response: Any) -> _GetResponse | _AsyncGetResponse:
    """Remembers the user of each request, for recordings with ``actor=True``."""
    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> HttpResponseBase:
            with remembered(request):
                return cast(HttpResponseBase, await get_response(request))

        return middleware

    def sync_middleware(request: HttpRequest) -> HttpResponseBase:
        with remembered(request):
            return cast(HttpResponseBase, get_response(request))

    return sync_middleware
