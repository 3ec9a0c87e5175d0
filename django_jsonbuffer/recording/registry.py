"""Every recording: begun, waiting for the models, or ended."""

from collections.abc import Mapping
from typing import Any, Final

from django.db.models import Model
from django.db.models.signals import class_prepared

from django_jsonbuffer.django_internals.models import models_are_loaded
from django_jsonbuffer.exceptions import BufferMisconfigured

from . import signals
from .declaring import checked_recording, model_of
from .destination import Destination
from .events import Recording
from .suppression import is_suppressed

recordings: Final[list[Recording]] = []
"""Every recording that has begun."""

_waiting: Final[list[tuple[Destination, type[Model] | str, Mapping[str, Any]]]] = []
"""Recordings that wait until all models are loaded."""


def record(destination: Destination, model: type[Model] | str, **options: Any) -> None:
    """Begin a recording as soon as all models are loaded.

    Raises :class:`BufferMisconfigured` if an option is wrong. Before the models are loaded,
    `record_waiting` raises it.
    """
    if not models_are_loaded():
        _waiting.append((destination, model, options))
        return
    recording = checked_recording(destination, model, **options)
    _refuse_overlap(recording)
    recordings.append(recording)
    signals.connect(recording)
    class_prepared.connect(_record_later_class, dispatch_uid=_record_later_class)


def record_waiting() -> None:
    """Begin the recordings that were declared before all models were loaded."""
    while _waiting:
        destination, model, options = _waiting.pop(0)
        record(destination, model, **options)


def unrecord(destination: Destination, model: type[Model] | str) -> None:
    """End all recordings of this bucket and model.

    Raises :class:`BufferMisconfigured` if there are none.
    """
    if not models_are_loaded():
        raise BufferMisconfigured(
            "unrecord() must be called when all models are loaded, as in an AppConfig.ready()."
        )
    cls = model_of(destination, model)
    ended = [r for r in recordings if r.destination.name == destination.name and r.model is cls]
    if not ended:
        raise BufferMisconfigured(
            f"Bucket {destination.name!r} has no recording of {cls._meta.label} itself, so "
            "unrecord() has nothing to end. A recording of a parent includes its proxies and "
            "children: use not_recorded() for these."
        )
    for recording in ended:
        recordings.remove(recording)
        signals.disconnect(recording)


def recordings_of(model: type[Model], action: str) -> list[Recording]:
    """The recordings, of any bucket, that are about this action on this model."""
    if is_suppressed(model):
        return []
    return [r for r in recordings if issubclass(model, r.model) and action in r.on]


def _record_later_class(sender: type[Model], **kwargs: Any) -> None:
    """Connect the recordings of a class to a proxy or a child that is defined after them."""
    for recording in recordings:
        if issubclass(sender, recording.model):
            signals.connect_class(recording, sender)


def _refuse_overlap(recording: Recording) -> None:
    """Raise if another recording of the bucket and model has an action or m2m field of this one."""
    name = recording.destination.name
    for other in recordings:
        if other.destination.name != name or other.model is not recording.model:
            continue
        twice = sorted(other.on & recording.on) or sorted(
            field.name for field in {*other.m2m} & {*recording.m2m}
        )
        if twice:
            raise BufferMisconfigured(
                f"Bucket {name!r} records {recording.model._meta.label} twice: "
                f"{', '.join(twice)}. Remove one of the two, give each its own on= (on=[] for "
                "links alone), or use two buckets."
            )
