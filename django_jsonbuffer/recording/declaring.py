"""What each bucket records of which model."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from django.apps import apps
from django.db.models import Model

from django_jsonbuffer.django_internals.models import (
    concrete_fields,
    many_to_many_fields,
    models_are_loaded,
    swapped_for,
)
from django_jsonbuffer.exceptions import BufferMisconfigured

from . import signals
from .destination import Destination
from .events import ACTIONS, Recording

_LEFT_OUT: Final = ("password",)
"""Fields that are recorded only if `fields` names them. Django's users have a hash there."""

recordings: Final[list[Recording]] = []
"""Every recording that has begun."""

_waiting: Final[list[tuple[Destination, type[Model] | str, Mapping[str, Any]]]] = []
"""Recordings that wait until all models are loaded."""


def record(destination: Destination, model: type[Model] | str, **options: Any) -> None:
    """Begin a recording as soon as all models are loaded.

    Raises :class:`BufferMisconfigured` for a mistake: at once, or in `record_waiting`.
    """
    if not models_are_loaded():
        _waiting.append((destination, model, options))
        return
    recording = checked_recording(destination, model, **options)
    _refuse_overlap(recording)
    recordings.append(recording)
    signals.connect(recording)


def record_waiting() -> None:
    """Begin the recordings that were declared before all models were loaded."""
    while _waiting:
        destination, model, options = _waiting.pop(0)
        record(destination, model, **options)


def recordings_of(model: type[Model], action: str) -> list[Recording]:
    """The recordings, of any bucket, that are about this action on this model."""
    return [r for r in recordings if issubclass(model, r.model) and action in r.on]


def checked_recording(
    destination: Destination,
    model: type[Model] | str,
    *,
    on: Collection[str] = ACTIONS,
    fields: Collection[str] | None = None,
    exclude: Collection[str] = (),
    m2m: Collection[str] = (),
    **options: Any,
) -> Recording:
    """A recording with these options, not connected to any signal.

    Raises :class:`BufferMisconfigured` for a mistake.
    """
    cls = _model(destination, model)
    actions = _actions(destination, cls, on)
    chosen = _fields(destination, cls, "fields", fields, concrete_fields(cls))
    if fields is None:
        chosen = [field for field in chosen if field.name not in _LEFT_OUT]
    left_out = _fields(destination, cls, "exclude", exclude, concrete_fields(cls))
    recording = Recording(
        destination=destination,
        model=cls,
        on=actions,
        fields=tuple(field for field in chosen if field not in left_out),
        m2m=tuple(_fields(destination, cls, "m2m", m2m, many_to_many_fields(cls))),
        **options,
    )
    _refuse_mistakes(recording)
    return recording


def _model(destination: Destination, model: type[Model] | str) -> type[Model]:
    try:
        cls = apps.get_model(model) if isinstance(model, str) else model
    except (LookupError, ValueError) as error:
        raise BufferMisconfigured(
            f"Bucket {destination.name!r} cannot record {model!r}: {error} Use 'app.Model'."
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Model)):
        raise BufferMisconfigured(
            f"Bucket {destination.name!r} cannot record {cls!r}, which is not a model."
        )
    if replacement := swapped_for(cls):
        raise BufferMisconfigured(
            f"Bucket {destination.name!r} cannot record {cls._meta.label}, which the settings have "
            f"swapped for {replacement}. Record {replacement}."
        )
    if cls._meta.abstract:
        raise BufferMisconfigured(
            f"Bucket {destination.name!r} cannot record {cls._meta.label}, which is abstract. "
            "Record the models that derive from it."
        )
    return cls


def _actions(destination: Destination, model: type[Model], on: Collection[str]) -> frozenset[str]:
    actions = frozenset([on] if isinstance(on, str) else on)
    if unknown := sorted(actions - {*ACTIONS}):
        raise BufferMisconfigured(
            f"Bucket {destination.name!r} cannot record {model._meta.label} on "
            f"{', '.join(map(repr, unknown))}. Use {', '.join(ACTIONS)}."
        )
    return actions


def _fields(
    destination: Destination,
    model: type[Model],
    option: str,
    names: Collection[str] | None,
    candidates: Collection[Any],
) -> list[Any]:
    """The fields with these names or attnames; all candidates for None."""
    if names is None:
        return [*candidates]
    known = {name: field for field in candidates for name in (field.name, field.attname)}
    if isinstance(names, str) or (unknown := [name for name in names if name not in known]):
        raise BufferMisconfigured(
            f"Bucket {destination.name!r} cannot record {model._meta.label} with {option}="
            f"{names if isinstance(names, str) else unknown!r}. The option takes a list of "
            f"{', '.join(field.name for field in candidates) or 'nothing: there are none'}."
        )
    return [known[name] for name in names]


def _refuse_mistakes(recording: Recording) -> None:
    label = recording.model._meta.label
    for option, function in (("when", recording.when), ("payload", recording.payload)):
        if function is not None and not callable(function):
            raise BufferMisconfigured(
                f"Bucket {recording.destination.name!r} cannot record {label} with {option}="
                f"{function!r}. The option takes a function of an instance."
            )
    if recording.changes and any(field.attname == "changes" for field in recording.fields):
        raise BufferMisconfigured(
            f"{label} has a field 'changes', but changes=True needs this name for the old and new "
            "values. Exclude the field."
        )


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
                f"{', '.join(twice)}. Remove one of the two, or use two buckets."
            )
