"""The options of ``record()``, checked."""

from collections.abc import Callable, Collection, Iterable, Mapping
from inspect import Parameter, signature
from typing import Any, Final

from django.apps import apps
from django.db.models import ManyToManyField, Model

from django_jsonbuffer.django_internals.models import (
    concrete_fields,
    many_to_many_fields,
    swapped_for,
)
from django_jsonbuffer.exceptions import BufferMisconfigured

from .destination import Destination
from .events import ACTIONS, Recording
from .presentation import Presentation, hide_all, mask_of

_LEFT_OUT: Final = ("password",)
"""Fields that are recorded only if `fields` names them. Django's users have a hash there."""


def checked_recording(
    destination: Destination,
    model: type[Model] | str,
    *,
    on: Collection[str] = ACTIONS,
    fields: Collection[str] | None = None,
    exclude: Collection[str] = (),
    m2m: Collection[str] = (),
    payload: Callable[..., Any] | None = None,
    mask: Any = None,
    labels: bool | Collection[str] = False,
    **options: Any,
) -> Recording:
    """A recording with these options, not connected to any signal.

    Raises :class:`BufferMisconfigured` for a mistake.
    """
    cls = model_of(destination, model)
    chosen = _chosen_fields(destination, cls, fields, exclude)
    recording = Recording(
        destination=destination,
        model=cls,
        on=_actions(destination, cls, on),
        fields=tuple(chosen),
        m2m=tuple(_fields(destination, cls, "m2m", m2m, _links_of(cls))),
        presentation=_presentation(destination, cls, chosen, payload, mask, labels),
        **options,
    )
    _refuse_mistakes(recording)
    return recording


def model_of(destination: Destination, model: type[Model] | str) -> type[Model]:
    """The class, also for a label. Raises :class:`BufferMisconfigured` if it cannot be recorded."""
    try:
        cls = apps.get_model(model) if isinstance(model, str) else model
    except (LookupError, ValueError) as error:
        raise BufferMisconfigured(
            f"Bucket {destination.name!r} cannot record {model!r}: there is no such model. Use "
            "'app.Model'."
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Model) and cls is not Model):
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


def _chosen_fields(
    destination: Destination,
    model: type[Model],
    fields: Collection[str] | None,
    exclude: Collection[str],
) -> list[Any]:
    chosen = _fields(destination, model, "fields", fields, concrete_fields(model))
    if fields is None:
        chosen = [field for field in chosen if field.name not in _LEFT_OUT]
    left_out = _fields(destination, model, "exclude", exclude, concrete_fields(model))
    return [field for field in chosen if field not in left_out]


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
    is_list = isinstance(names, Iterable) and not isinstance(names, str)
    unknown = [name for name in names if name not in known] if is_list else []
    if unknown or not is_list:
        raise BufferMisconfigured(
            f"Bucket {destination.name!r} cannot record {model._meta.label} with {option}="
            f"{unknown or names!r}. The option takes a list of field names, here out of: "
            f"{', '.join(field.name for field in candidates) or 'none'}."
        )
    return [known[name] for name in names]


def _links_of(model: type[Model]) -> list["ManyToManyField[Any, Any]"]:
    # Other libraries put relations of their own among these fields, as the tags of django-taggit.
    return [field for field in many_to_many_fields(model) if isinstance(field, ManyToManyField)]


def _presentation(
    destination: Destination,
    model: type[Model],
    fields: Collection[Any],
    payload: Callable[..., Any] | None,
    mask: Any,
    labels: bool | Collection[str],
) -> Presentation:
    what = f"Bucket {destination.name!r} cannot record {model._meta.label}"
    if payload is not None and not callable(payload):
        raise BufferMisconfigured(
            f"{what} with payload={payload!r}. The option takes a function of an instance."
        )
    if labels and payload is not None:
        raise BufferMisconfigured(
            f"{what} with labels and payload. Leave labels out, and let the payload add them."
        )
    shown = None if mask is None else _mask(destination, model, mask)
    takes_changes = payload is not None and _takes_changes(what, payload)
    return Presentation(
        label_of_model=model._meta.label,
        payload=payload,
        payload_takes_changes=takes_changes,
        mask=shown,
        # A payload may leave values out on purpose. Without a mask, only a payload that takes the
        # changes has decided about them.
        mask_of_changes=hide_all if shown is None and payload and not takes_changes else shown,
        labels={field.attname: field for field in _labelled(destination, model, fields, labels)},
    )


def _takes_changes(what: str, payload: Callable[..., Any]) -> bool:
    try:
        parameter = signature(payload).parameters.get("changes")
    except (TypeError, ValueError):  # some functions written in C have no signature
        return False
    if parameter is not None and parameter.kind is Parameter.POSITIONAL_ONLY:
        raise BufferMisconfigured(
            f"{what}: the parameter 'changes' of the payload is given by name. Take the / out."
        )
    return parameter is not None


def _mask(destination: Destination, model: type[Model], mask: Any) -> Any:
    candidates = [*concrete_fields(model), *_links_of(model)]
    names = {
        name: (field.name, field.attname)
        for field in candidates
        for name in (field.name, field.attname)
    }
    if callable(mask):
        return mask_of(mask, names)
    masked = _fields(destination, model, "mask", mask, candidates)
    if any(field.primary_key or field in model._meta.pk_fields for field in masked):
        raise BufferMisconfigured(
            f"Bucket {destination.name!r} cannot mask the primary key of {model._meta.label}, "
            "because each event has it as its subject. Take it out of mask."
        )
    if isinstance(mask, Mapping) and (wrong := [n for n in mask if not callable(mask[n])]):
        raise BufferMisconfigured(
            f"Bucket {destination.name!r} cannot record {model._meta.label}: mask must have a "
            f"function of a value for {', '.join(wrong)}."
        )
    return mask_of(mask, names)


def _labelled(
    destination: Destination,
    model: type[Model],
    fields: Collection[Any],
    labels: bool | Collection[str],
) -> list[Any]:
    with_label = [f for f in fields if f.choices or f.many_to_one or f.one_to_one]
    if isinstance(labels, bool):
        return with_label if labels else []
    return _fields(destination, model, "labels", labels, with_label)


def _refuse_mistakes(recording: Recording) -> None:
    label = recording.model._meta.label
    if recording.when is not None and not callable(recording.when):
        raise BufferMisconfigured(
            f"Bucket {recording.destination.name!r} cannot record {label} with when="
            f"{recording.when!r}. The option takes a function of an instance."
        )
    taken = {"changes": recording.changes, "labels": bool(recording.presentation.labels)}
    for name in (name for name, is_taken in taken.items() if is_taken):
        if any(field.attname == name for field in recording.fields):
            raise BufferMisconfigured(
                f"{label} has a field {name!r}, but {name}= needs this key for itself. Exclude the "
                "field."
            )
