"""Middleware: what a request appends leaves as one, and who made the request."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import iscoroutinefunction
from typing import Any, Final, cast

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from .commits import gathered

_GetResponse = Callable[[HttpRequest], HttpResponseBase]
_AsyncGetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

_request: Final[ContextVar[HttpRequest | None]] = ContextVar("request", default=None)


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


@sync_and_async_middleware
def actor_middleware(get_response: Any) -> _GetResponse | _AsyncGetResponse:
    """Remembers the request, for recordings that tell who did it."""
    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> HttpResponseBase:
            with _remembered(request):
                return cast(HttpResponseBase, await get_response(request))

        return middleware

    def sync_middleware(request: HttpRequest) -> HttpResponseBase:
        with _remembered(request):
            return cast(HttpResponseBase, get_response(request))

    return sync_middleware


@contextmanager
def _remembered(request: HttpRequest) -> Iterator[None]:
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def actor() -> dict[str, str]:
    """The user of the request in hand, as attributes of a CloudEvent; empty if there is none.

    Source: https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/authcontext.md
    """
    user = getattr(_request.get(), "user", None)
    if user is None or not user.is_authenticated or user.pk is None:
        return {}
    return {"authtype": "app_user", "authid": str(user.pk)}
