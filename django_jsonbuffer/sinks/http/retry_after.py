"""The header Retry-After: how long a server asks its clients to wait.

Source: RFC 9110, section 10.2.3.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_WAIT: Final = timedelta(hours=1)
"""A longer wait is cut to this. So a mistake of a server cannot stop a bucket for days."""


def retry_after_of(headers: Mapping[str, str]) -> timedelta | None:
    """How long to wait, at most :data:`LONGEST_WAIT`. None if the headers do not ask for it.

    `headers` must find names in lower case. A date counts from the date of the answer, if it has
    one, because the clocks may differ.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        wait = timedelta(seconds=min(int(text[:9]), LONGEST_WAIT.total_seconds()))
    elif (until := _date(text)) is not None:
        wait = until - (_date(headers.get("date", "")) or datetime.now(UTC))
    else:
        return None
    return min(wait, LONGEST_WAIT) if wait > timedelta(0) else None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
