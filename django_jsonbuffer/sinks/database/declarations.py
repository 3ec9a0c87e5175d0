"""Checks of the names and options that the sinks of this folder have in common."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from django.core.checks import CheckMessage, Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import JSONField, Model

from django_jsonbuffer.django_internals.inserts import has_on_conflict
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.suggestions import suggest

from .mapping import Sources, Unknown, WritableFields
from .targets import MODEL_OR_FIELD_UNKNOWN, OTHER_FAULT


def checked_unknown(unknown: str, extra: str | None) -> Unknown:
    """The option `unknown`. Raises :class:`BufferMisconfigured` if it is wrong."""
    if unknown not in ("error", "ignore"):
        raise BufferMisconfigured(
            f"unknown={unknown!r} is not possible. Write unknown='error' or unknown='ignore', or "
            "name a JSON field with extra= that keeps the unknown keys."
        )
    if extra is not None and unknown != "error":
        raise BufferMisconfigured(
            f"unknown={unknown!r} drops the keys that extra={extra!r} keeps. Leave one of them out."
        )
    return cast(Unknown, unknown)


def checked_sources(option: str, sources: object) -> dict[str, Any]:
    """The option's dict of sources. Raises :class:`BufferMisconfigured` if it is not a dict."""
    if sources is None:
        return {}
    if not isinstance(sources, Mapping) or not all(isinstance(name, str) for name in sources):
        raise BufferMisconfigured(
            f"{option}={sources!r:.60} is not possible. Write a dict with the source of each "
            f'field: {option}={{"field": "key of the event"}}.'
        )
    return dict(sources)


def checked_names(option: str, names: object) -> list[str]:
    """The option's list of names. Raises :class:`BufferMisconfigured` if it has no names."""
    found = [names] if isinstance(names, str) else names  # a text is a sequence of letters
    is_list = isinstance(found, Iterable) and not isinstance(found, Mapping | bytes)
    listed = [*found] if is_list else []  # type: ignore[misc]
    if not listed or not all(isinstance(name, str) and name for name in listed):
        raise BufferMisconfigured(
            f"{option}={names!r:.60} is not possible. Write the name of a field, or a list "
            "of names."
        )
    return listed


def check_names(model: type[Model], option: str, names: Iterable[str]) -> Iterator[CheckMessage]:
    """An error for each name that is not a field that can be written."""
    fields = WritableFields(model)
    for name in names:
        if name not in fields:
            known = ", ".join(dict.fromkeys(field.name for field in fields.values()))
            yield Error(
                f"{option} names {name!r}, but {model._meta.label} has no field of this name that "
                "can be written.",
                hint=f"Write one of: {known}.{suggest([name], fields)}",
                id=MODEL_OR_FIELD_UNKNOWN,
            )


def check_repeats(model: type[Model], option: str, names: Iterable[str]) -> Iterator[CheckMessage]:
    """An error for each name of a field that has been named before."""
    fields, found = WritableFields(model), dict[str, str]()
    for name in names:
        if name in fields and (first := found.setdefault(fields[name].attname, name)) != name:
            yield Error(
                f"{option} names {first!r} and {name!r}, which are the same field.",
                hint="Leave one of them out.",
                id=OTHER_FAULT,
            )


def check_mapping(
    model: type[Model], sources: Sources, extra: str | None
) -> Iterator[CheckMessage]:
    """Errors of `mapping` and `extra`."""
    yield from check_sources(model, "mapping", sources)
    if extra is None:
        return
    faults = [*check_names(model, "extra", [extra])]
    yield from faults
    if faults:
        return
    if WritableFields(model)[extra] in [WritableFields(model).get(name) for name in sources]:
        yield Error(
            f"extra names {extra!r}, which mapping names too.",
            hint="Name another JSONField, or leave the field out of mapping.",
            id=OTHER_FAULT,
        )
    if not isinstance(WritableFields(model)[extra], JSONField):
        fields = WritableFields(model).values()
        known = sorted({field.name for field in fields if isinstance(field, JSONField)})
        yield Error(
            f"extra names {extra!r}, which is not a JSONField.",
            hint=f"Write the name of a JSONField. {model._meta.label} has: "
            f"{', '.join(known) or 'none'}.",
            id=OTHER_FAULT,
        )


def check_sources(
    model: type[Model], option: str, sources: Mapping[str, object]
) -> Iterator[CheckMessage]:
    """Errors of unknown and repeated fields, and of sources that are neither name nor function."""
    yield from check_names(model, option, sources)
    yield from check_repeats(model, option, sources)
    for name, source in sources.items():
        if not isinstance(source, str) and not callable(source):
            yield Error(
                f"{option} gives {source!r:.60} as the source of {name!r}.",
                hint="Write the name of a key in the event, or a function of the event.",
                id=OTHER_FAULT,
            )


def check_on_conflict(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    """An error if the database cannot update the row that an INSERT is in conflict with."""
    if not has_on_conflict(connection):
        yield Error(
            f"The database {connection.alias!r} ({connection.display_name}) has no INSERT that "
            "updates a row in conflict.",
            hint=(
                "Use PostgreSQL, SQLite, MariaDB or MySQL for this model, or write a processor of "
                "your own."
            ),
            id=OTHER_FAULT,
        )
