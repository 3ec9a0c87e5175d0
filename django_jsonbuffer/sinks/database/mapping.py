"""An event becomes the values of a model's fields."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from django.db import InterfaceError, OperationalError
from django.db.models import Model

from django_jsonbuffer.cloudevents import is_cloud_event
from django_jsonbuffer.django_internals.models import concrete_fields, is_generated
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.suggestions import suggest

from .conversions import Convert, EventDoesNotFit, conversion, is_required

if TYPE_CHECKING:
    from django_jsonbuffer.django_internals.models import AnyField

Source = str | Callable[[Any], Any]
"""A name in the event, or a function that is called with the event."""

Sources = Mapping[str, Source]
"""The source of each field, by the field's name."""

Unknown = Literal["error", "ignore"]

_MOST_SHAPES: Final = 500
_MOST_NAMES: Final = 10


class _Step(NamedTuple):
    attname: str
    name: str
    """Name in the event."""
    convert: Convert


class _Plan(NamedTuple):
    """What becomes of an event with certain keys."""

    from_data: Sequence[_Step]
    from_envelope: Sequence[_Step]
    extra: Sequence[str]
    fault: str


class WritableFields(dict[str, "AnyField"]):
    """The fields that can be written, by name and by attname.

    Raises :class:`BufferMisconfigured` for a name that no field has.
    """

    def __init__(self, model: type[Model]) -> None:
        fields = [field for field in concrete_fields(model) if not is_generated(field)]
        super().__init__({field.attname: field for field in fields})
        self.update({field.name: field for field in fields})
        self.label = model._meta.label

    def __missing__(self, name: str) -> "AnyField":
        raise BufferMisconfigured(f"{self.label} has no field {name!r}.{suggest([name], self)}")


class EventMapping:
    """The way from the events of a sink to the fields of its model.

    With `only`, the names of some fields, no other field is filled by its name. An event that does
    not give a field of `required`, or gives null for it, is bad.
    """

    def __init__(
        self,
        model: type[Model],
        sources: Sources,
        *,
        unknown: Unknown = "error",
        extra: str | None = None,
        required: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> None:
        self.fields = WritableFields(model)
        self._required = {self._attname(name): name for name in required}
        named = {self._attname(name): source for name, source in sources.items()}
        self._convert = {f.attname: conversion(f) for f in self.fields.values()}
        self._named = {a: source for a, source in named.items() if isinstance(source, str)}
        self._computed = [
            (attname, source, self._convert[attname])
            for attname, source in named.items()
            if not isinstance(source, str)
        ]
        self._unknown = unknown
        self._extra = self._attname(extra) if extra else None
        self.blank: Final[Mapping[str, Any]] = self._blank()
        """What a new row has in `extra` if its event has no unknown key."""
        named_so = self.fields if only is None else only
        self._by_name = {self._attname(name) for name in named_so} - named.keys()
        self._plans: dict[object, _Plan] = {}

    def values(self, event: Any) -> dict[str, Any]:
        """The values that the event gives, by the attname of their field.

        Raises :class:`EventDoesNotFit` if the event is bad.
        """
        data, envelope = self._parts(event)
        shape = tuple(data), tuple(envelope)
        if (plan := self._plans.get(shape)) is None:
            plan = self._plan(data, envelope)
            if len(self._plans) >= _MOST_SHAPES:
                self._plans.clear()
            self._plans[shape] = plan
        if plan.fault:
            raise EventDoesNotFit(plan.fault)
        values = {attname: convert(data[name]) for attname, name, convert in plan.from_data}
        for attname, name, convert in plan.from_envelope:
            values[attname] = convert(envelope[name])
        for attname, function, convert in self._computed:
            values[attname] = convert(self._result(attname, function, event))
        if plan.extra and self._extra:
            values[self._extra] = {name: data[name] for name in plan.extra}
        for attname, name in self._required.items():
            if values.get(attname) is None:
                raise EventDoesNotFit(f"The event gives no {name!r}, or null.")
        return values

    def _blank(self) -> dict[str, Any]:
        is_filled = self._extra and is_required(self.fields[self._extra])
        return {self._extra: {}} if self._extra and is_filled else {}

    def _attname(self, name: str) -> str:
        return self.fields[name].attname

    def _parts(self, event: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The object with the fields, and the envelope of a CloudEvent around it."""
        if isinstance(event, dict):
            if not is_cloud_event(event):
                return event, {}
            if isinstance(data := event.get("data"), dict):
                return data, event
            if self._named or self._computed:
                return {}, event
            raise EventDoesNotFit("The data of the CloudEvent is not an object.")
        if self._computed and not self._named:
            return {}, {}
        raise EventDoesNotFit(
            f"The event must be an object, not {_KINDS.get(type(event), type(event).__name__)}."
        )

    def _plan(self, data: Mapping[str, Any], envelope: Mapping[str, Any]) -> _Plan:
        named = {a: name for a, name in self._named.items() if name in data}
        steps = [_Step(a, name, self._convert[a]) for a, name in named.items()]
        around = [
            _Step(attname, name, self._convert[attname])
            for attname, name in self._named.items()
            if name not in data and name in envelope
        ]
        sources = set(named.values())
        unknown = []
        for name in data:
            if name in sources:
                continue
            field = self.fields.get(name)
            if field is None or field.attname in self._named or field.attname == self._extra:
                unknown.append(name)
            elif field.attname in self._by_name:
                steps.append(_Step(field.attname, name, self._convert[field.attname]))
        if unknown and not self._extra and self._unknown == "error":
            return _Plan((), (), (), self._fault(unknown))
        return _Plan(steps, around, unknown, "")

    def _fault(self, unknown: Sequence[str]) -> str:
        names = ", ".join(f"{name!r:.60}" for name in unknown[:_MOST_NAMES])
        more = f" and {len(unknown) - _MOST_NAMES} more" if len(unknown) > _MOST_NAMES else ""
        known = ", ".join(dict.fromkeys(field.name for field in self.fields.values()))
        return (
            f"The event has unknown keys: {names}{more}.{suggest(unknown, self.fields)} "
            f"The fields of {self.fields.label} are {known}. Name the right fields in mapping=, "
            "keep the keys in a JSON field with extra=, or drop them with unknown='ignore'."
        )

    def _result(self, attname: str, function: Callable[[Any], Any], event: Any) -> Any:
        try:
            return function(event)
        except (OSError, OperationalError, InterfaceError):
            raise  # an outage, not a fault of this event
        except Exception as error:
            raise EventDoesNotFit(
                f"The function for field {self.fields[attname].name!r} raised "
                f"{type(error).__name__}: {error!s:.200}"
            ) from error


_KINDS: Final[Mapping[type, str]] = {
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}
