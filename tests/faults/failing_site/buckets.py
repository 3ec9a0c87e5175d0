"""The bucket. The endpoint that its processor sends events to is a file, which the test writes. Or
it is a server of the test, if the environment names its URL.

A good event is a number. A bad event is a number and what happens if it is sent: the name of an
exception, or "hang".
"""

import itertools
import json
import os
import random
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import OperationalError

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.sinks import Post

from . import journal


class EndpointAway(OSError):
    """Like the exceptions of `requests`: an OSError, but not a ConnectionError of Python."""


ERRORS = {
    error.__name__: error
    for error in (AttributeError, EndpointAway, ImportError, OperationalError, RuntimeError)
}
"""What the endpoint may raise."""

failing = Bucket("failing")
calls = itertools.count(1)
"""Numbers the calls of this process."""


def send(batch: Batch) -> None:
    outcome, began = "interrupted", time.monotonic()
    try:
        _send(batch)
        outcome = "done"
    except Exception as error:
        outcome = type(error).__name__
        raise
    finally:
        journal.write(
            "call",
            attempt=batch.attempt,
            outcome=outcome,
            took=time.monotonic() - began,
            events=[_number(event) for event in batch],
        )


def _send(batch: Batch) -> None:
    endpoint = json.loads(Path(os.environ["SITE_ENDPOINT"]).read_text())
    if next(calls) >= endpoint["from_call"] and endpoint["errors"]:
        raise ERRORS[random.choice(endpoint["errors"])]("The endpoint is away.")
    for event in batch:
        if not isinstance(event, int):
            _fail(*event)
    time.sleep(endpoint["seconds"])


def _fail(number: int, how: str) -> None:
    if how == "hang":
        time.sleep(10**6)
    if how in ERRORS:
        raise ERRORS[how]("The endpoint is away.")
    raise type(how, (ValueError,), {})(f"Event {number} is bad.")


def _number(event: Any) -> int:
    return event if isinstance(event, int) else event[0]


if url := os.environ.get("SITE_POST"):
    # The timeout is in the faked time, which may be fast.
    failing.processor(Post(url, timeout=timedelta(hours=1)))
else:
    failing.processor(send)
