"""Recorded events, checked against the official JSON schema of CloudEvents 1.0.

Source: the npm package ``cloudevents``, where it is ``dist/schema/cloudevent.json``.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.db import transaction
from django.db.models import Model
from jsonschema import Draft7Validator

from django_jsonbuffer import Bucket

VALIDATOR: Final = Draft7Validator(
    json.loads(Path(__file__).with_name("cloudevents.schema.json").read_text()),
    format_checker=Draft7Validator.FORMAT_CHECKER,
)


def recorded(bucket: Bucket) -> list[Any]:
    """Take the bucket's events, which all must be valid."""
    events = bucket.take()
    for event in events:
        VALIDATOR.validate(event)
    return events


def told(bucket: Bucket) -> list[tuple[str, str]]:
    """Take the events and return the type and the subject of each, without the app's label."""
    return [
        (event["type"].removeprefix("library."), event["subject"]) for event in recorded(bucket)
    ]


def data(bucket: Bucket) -> list[Any]:
    """Take the events and return the data of each."""
    return [event["data"] for event in recorded(bucket)]


def pk(instance: Model) -> str:
    """The subject of an event about the instance."""
    return str(instance.pk)


@contextmanager
def rolled_back(*, using: str | None = None) -> Iterator[None]:
    """A transaction that is rolled back."""
    with transaction.atomic(using=using):
        yield
        transaction.set_rollback(True, using=using)
