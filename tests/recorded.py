"""What was recorded, checked against the official JSON schema of CloudEvents 1.0.

Source: the npm package ``cloudevents``, where it is ``dist/schema/cloudevent.json``.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.db import transaction
from jsonschema import Draft7Validator

from django_jsonbuffer import Bucket

VALIDATOR: Final = Draft7Validator(
    json.loads(Path(__file__).with_name("cloudevents.schema.json").read_text()),
    format_checker=Draft7Validator.FORMAT_CHECKER,
)


def recorded(bucket: Bucket) -> list[Any]:
    """Take the bucket's events. Each must be valid."""
    events = bucket.take()
    for event in events:
        VALIDATOR.validate(event)
    return events


def told(bucket: Bucket) -> list[tuple[str, str]]:
    """The same, with no more than what happened to what."""
    return [
        (event["type"].removeprefix("library."), event["subject"]) for event in recorded(bucket)
    ]


def data(bucket: Bucket) -> list[Any]:
    """The same, with no more than the data."""
    return [event["data"] for event in recorded(bucket)]


@contextmanager
def rolled_back(*, using: str | None = None) -> Iterator[None]:
    """A transaction that comes to nothing."""
    with transaction.atomic(using=using):
        yield
        transaction.set_rollback(True, using=using)
