"""The unique keys of a model, and the order of rows by their key."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.checks import CheckMessage, Error
from django.db.models import Model, UniqueConstraint

from django_jsonbuffer.django_internals.models import concrete_fields, model_with_table

from .mapping import WritableFields
from .targets import NO_UNIQUE_KEY

if TYPE_CHECKING:
    from django_jsonbuffer.django_internals.models import AnyField

Place = TypeVar("Place")


def fields_of_key(model: type[Model], names: Iterable[str]) -> list["AnyField"]:
    """The fields with these names. ``pk`` stands for all fields of the primary key."""
    fields = WritableFields(model)
    found: dict[str, AnyField] = {}
    for name in names:
        for field in model._meta.pk_fields if name == "pk" else [fields[name]]:
            found[field.attname] = field
    return [*found.values()]


def unique_keys(model: type[Model]) -> Iterator[frozenset[str]]:
    """The attnames of each unique key that an ON CONFLICT clause may name."""
    options = model_with_table(model)._meta
    attnames = {field.name: field.attname for field in concrete_fields(model)}
    yield frozenset(field.attname for field in options.pk_fields)
    for field in concrete_fields(model):
        if field.unique:
            yield frozenset([field.attname])
    for names in options.unique_together:
        yield frozenset(attnames[name] for name in names)
    for constraint in options.constraints:
        is_plain = isinstance(constraint, UniqueConstraint) and constraint.fields
        if is_plain and constraint.condition is None and constraint.deferrable is None:  # type: ignore[attr-defined]
            yield frozenset(attnames[name] for name in constraint.fields)  # type: ignore[attr-defined]


def check_unique_key(
    model: type[Model], fields: Sequence["AnyField"], option: str
) -> Iterator[CheckMessage]:
    """An error if these fields are not a unique key. `option` is what the user wrote."""
    key = frozenset(field.attname for field in fields)
    if not model._meta.managed or key in unique_keys(model):
        return
    names = [field.name for field in fields]
    label = model._meta.label
    pk = {field.attname for field in model._meta.pk_fields}
    known = [sorted(each) for each in unique_keys(model) if each != pk]
    yield Error(
        f"{label} has no unique constraint of exactly {', '.join(names)}, which {option} names.",
        hint=(
            f"Add UniqueConstraint(fields={names!r}, name=...) without condition= and deferrable= "
            f"to the constraints of {label}, or name one of its unique keys: "
            f"{', '.join(map(str, [*known, 'pk']))}."
        ),
        id=NO_UNIQUE_KEY,
    )


def sorted_by_key(places: Iterable[Place], key: Callable[[Place], tuple[Any, ...]]) -> list[Place]:
    """In the same order on every worker, so that no two of them wait for each other's rows."""
    places = [*places]
    try:
        return sorted(places, key=key)
    except TypeError:  # values that Python does not compare
        return sorted(places, key=lambda place: repr(key(place)))


def key_of(values: Mapping[str, Any], attnames: Sequence[str]) -> tuple[Any, ...]:
    return tuple([values[attname] for attname in attnames])
