"""The user who made the present request."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from django.http import HttpRequest

_request: Final[ContextVar[HttpRequest | None]] = ContextVar("request", default=None)


@contextmanager
def remembered(request: HttpRequest) -> Iterator[None]:
    """Let `actor` return the user of this request within the block."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def actor() -> dict[str, str]:
    """The user of the present request, as attributes of a CloudEvent.

    Empty outside of a request, and for a user who is not logged in or is deleted.

    Source: https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/authcontext.md
    """
    user = getattr(_request.get(), "user", None)
    if user is None or not user.is_authenticated or user.pk is None:
        return {}
    return {"authtype": "app_user", "authid": str(user.pk)}
