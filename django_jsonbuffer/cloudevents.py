"""The envelope of an event in the format CloudEvents 1.0.

A batch of these events is a *CloudEvents JSON batch*. Any endpoint of that standard accepts
the batch as the body of one request with the content type ``application/cloudevents-batch+json``.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, TypeGuard
from uuid import uuid4

from .conf import configuration
from .exceptions import InvalidEvent

_EXTENSION_NAME: Final = re.compile(r"[a-z0-9]{1,20}")

_ATTRIBUTES: Final = (
    *("specversion", "id", "source", "type", "subject", "time", "data"),
    *("datacontenttype", "dataschema"),
)
"""Names that the standard gives a meaning, so that no extension may have them."""

_REQUIRED: Final = ("id", "source", "type")
"""Attributes that every event of the standard has, besides ``specversion``."""

_extensions: Final[ContextVar[Mapping[str, str]]] = ContextVar(
    "extensions", default=MappingProxyType({})
)
"""Extension attributes of all events that are made in the surrounding blocks."""


@contextmanager
def event_attributes(**extensions: str) -> Iterator[None]:
    """Within the block, every CloudEvent has these extension attributes too.

    For example ``correlationid``. This concerns recorded changes and `cloud_event`. Blocks may be
    nested. The block applies to the current thread or task, and to the tasks that it starts.

    Raises :class:`InvalidEvent` for attributes that the standard does not allow.
    """
    _check_extensions(extensions)
    token = _extensions.set({**_extensions.get(), **extensions})
    try:
        yield
    finally:
        _extensions.reset(token)


def cloud_event(
    type: str,  # noqa: A002  (the standard's word)
    data: Any,
    *,
    subject: str | None = None,
    **extensions: str,
) -> dict[str, Any]:
    """Make an event with a new id and the current time.

    `type` names what happened (``shop.order.updated``). `subject` names the object that
    changed (a primary key). `data` is any JSON value. The source is ``JSONBUFFER["SOURCE"]``. Names
    of extension attributes are lower-case letters and digits, and their values are text. The
    attributes of `event_attributes` are added.

    Raises :class:`InvalidEvent` for attributes that the standard does not allow.
    """
    if not (isinstance(type, str) and type and (subject is None or isinstance(subject, str))):
        raise InvalidEvent(
            f"A CloudEvent's type and subject must be text, not {type!r:.60} and {subject!r:.60}."
        )
    if extensions:
        _check_extensions(extensions)
    return {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": configuration().source_now(),
        "type": type,
        **({"subject": subject} if subject else {}),
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
        **_extensions.get(),
        **extensions,
        "data": data,
    }


def is_cloud_event(event: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether a decoded event has the attributes that CloudEvents 1.0 requires."""
    return (
        isinstance(event, Mapping)
        and event.get("specversion") == "1.0"
        and all(isinstance(event.get(name), str) and event[name] for name in _REQUIRED)
    )


def _check_extensions(extensions: Mapping[str, object]) -> None:
    for name, value in extensions.items():
        is_free = name not in _ATTRIBUTES and _EXTENSION_NAME.fullmatch(name)
        if not (is_free and isinstance(value, str) and value):
            raise InvalidEvent(
                f"A CloudEvent cannot have the extension attribute {name}={value!r:.60}. A name is "
                "1 to 20 lower-case letters and digits, and not an attribute of the standard. "
                "A value is text that is not empty."
            )
