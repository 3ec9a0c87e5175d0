"""One bucket, which records every model that has a table of its own."""

from inspect import signature
from typing import Any

from django.apps import apps
from django.db.models import ManyToManyField, Model

from django_jsonbuffer import Bucket

everything = Bucket("everything", max_event_bytes=64 * 1024 * 1024)

recorded: list[type[Model]] = [model for model in apps.get_models() if not model._meta.proxy]


def links_of(model: type[Model]) -> list[Any]:
    """The many-to-many fields that the model itself declares. Those of taggit are none."""
    return [f for f in model._meta.local_many_to_many if isinstance(f, ManyToManyField)]


# A checkout that does not have this option counts such a change anyway.
options: Any = (
    {"count_auto_now": True} if "count_auto_now" in signature(Bucket.record).parameters else {}
)

for model in recorded:
    everything.record(model, changes=True, m2m=[f.name for f in links_of(model)], **options)
