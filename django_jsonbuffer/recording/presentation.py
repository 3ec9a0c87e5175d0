"""The data of an event: all values, masked values, labels, or the project's payload."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Field, Model

from django_jsonbuffer.exceptions import InvalidEvent

from .labels import label
from .values import Values

if TYPE_CHECKING:
    AnyField = Field[Any, Any]

HIDDEN: Final = "***"
"""Stands for a masked value."""

Mask = Callable[[str, Any], Any]
"""Called with the name and the value of a field. Returns the value that the event shows."""


def hide_all(name: str, value: Any) -> Any:
    return HIDDEN


def mask_of(
    option: Collection[str] | Mapping[str, Any] | Mask, names: Mapping[str, tuple[str, str]]
) -> Mask:
    """The mask that the option of ``record()`` describes.

    `names` has both names of each field, by its name and by its attname: a foreign key may be
    masked by either. A function is not called for None, so it need not handle None.
    """
    if callable(option):
        return partial(_masked_by_function, option, names)
    if isinstance(option, Mapping):
        functions = {both: option[name] for name in option for both in names[name]}
        return lambda name, value: (
            functions[name](value) if name in functions and value is not None else value
        )
    hidden = {both for name in option for both in names[name]}
    return lambda name, value: HIDDEN if name in hidden else value


def _masked_by_function(
    function: Mask, names: Mapping[str, tuple[str, str]], name: str, value: Any
) -> Any:
    if value is None:
        return None
    for each in dict.fromkeys((name, *names.get(name, ()))):
        if (masked := function(each, value)) != value:
            return masked
    return value


@dataclass(frozen=True, kw_only=True)
class Presentation:
    """Makes the data of events."""

    label_of_model: str
    payload: Callable[..., Any] | None
    payload_takes_changes: bool
    """Whether `payload` decides about the old and new values as well."""

    mask: Mask | None
    mask_of_changes: Mask | None
    labels: Mapping[str, "AnyField"]
    """The fields, by attname, whose display text is added."""

    def of_change(
        self, instance: Model, values: Values, changes: Values | None, *, using: str
    ) -> Any:
        """The data of a change. `changes` are the old and new values, None if they do not count."""
        if self.payload is not None and self.payload_takes_changes:
            return self._masked(self.payload(instance, changes=self._masked_changes(changes or {})))
        data = self._masked(values if self.payload is None else self.payload(instance))
        if self.labels:
            labels = {
                name: self._label(name, values[name], using=using, instance=instance)
                for name in self.labels
                if name in values
            }
            data = self._joined(data, "labels", labels)
        if changes is None:
            return data
        return self._joined(data, "changes", self._shown_changes(changes, using=using))

    @property
    def runs_code(self) -> bool:
        """Whether functions of the project are called, which may send queries."""
        return bool(self.payload or self.mask or self.labels)

    def of_links(self, owner: Model, name: str, change: str, keys: list[Any]) -> Any:
        """The data of links that were "added" or "removed". `keys` are those of the linked rows."""
        shown = self._masked({name: keys})[name]
        if self.payload is not None and self.payload_takes_changes:
            return self._masked(self.payload(owner, changes={name: {change: shown}}))
        data = {} if self.payload is None else self._masked(self.payload(owner))
        return self._joined(data, name, shown)

    def _masked(self, data: Any) -> Any:
        mask = self.mask
        if type(data) is not dict:
            data = _as_mapping(data)
        if mask is None or not isinstance(data, Mapping):
            return data
        return {name: mask(name, value) for name, value in data.items()}

    def _shown_changes(self, changes: Values, *, using: str) -> Values:
        shown = self._masked_changes(changes)
        for name in self.labels.keys() & changes.keys():
            labels = {
                f"{when}_label": self._label(name, value, using=using)
                for when, value in changes[name].items()
            }
            shown[name] = {**shown[name], **labels}
        return shown

    def _masked_changes(self, changes: Values) -> Values:
        mask = self.mask_of_changes
        if mask is None:
            return {**changes}
        return {
            name: {when: mask(name, value) for when, value in both.items()}
            for name, both in changes.items()
        }

    def _label(
        self, name: str, value: Any, *, using: str, instance: Model | None = None
    ) -> str | None:
        # The mask is made for the value. The label would reveal the value.
        if self.mask is not None and self.mask(name, value) != value:
            return HIDDEN
        return label(self.labels[name], value, using=using, instance=instance)

    def _joined(self, data: Any, key: str, value: Any) -> Values:
        if not isinstance(data, Mapping):
            raise InvalidEvent(
                f"The payload of {self.label_of_model} must be a dict, because the key {key!r} is "
                f"added to it. It is a {type(data).__name__}."
            )
        return {**data, key: value}


def _as_mapping(data: Any) -> Any:
    """The data as a dict if they are a dataclass or a pydantic model, which events may hold."""
    if isinstance(data, Mapping | type):
        return data
    if dataclasses.is_dataclass(data):
        return {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    return data.model_dump(mode="json") if hasattr(data, "model_dump") else data
