"""The envelope of an event in the format CloudEvents 1.0.

A batch of these events is a *CloudEvents JSON batch*. Any endpoint of that standard accepts
the batch as the body of one request with the content type ``application/cloudevents-batch+json``.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

import re
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from .conf import configuration
from .exceptions import InvalidEvent

_EXTENSION_NAME: Final = re.compile(r"[a-z0-9]{1,20}")


def cloud_event(
    type: str,  # noqa: A002  (the standard's word)
    data: Any,
    *,
    subject: str | None = None,
    **extensions: str,
) -> dict[str, Any]:
    """Make an event with a new id and the present time.

    `type` names what happened (``shop.order.updated``). `subject` names the object that
    changed (a primary key). `data` is any JSON value. The source is ``JSONBUFFER["SOURCE"]``. Names
    of extension attributes are lower-case letters and digits, and their values are text.

    Raises :class:`InvalidEvent` for attributes that the standard does not allow.
    """
    if not (isinstance(type, str) and type and (subject is None or isinstance(subject, str))):
        raise InvalidEvent(
            f"A CloudEvent's type and subject must be text, not {type!r:.60} and {subject!r:.60}."
        )
    for name, value in extensions.items():
        if not (_EXTENSION_NAME.fullmatch(name) and isinstance(value, str)):
            raise InvalidEvent(
                f"A CloudEvent cannot have the extension attribute {name}={value!r:.60}: names "
                "are lower-case letters and digits, and values are text."
            )
    return {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": configuration().source,
        "type": type,
        **({"subject": subject} if subject else {}),
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
        **extensions,
        "data": data,
    }
