"""The rows and the links of a world, read with plain querysets."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from tests.differential.blueprints import LINKS
from tests.differential.oracle import Json, canonical, expected, subject
from tests.differential.relations import TARGETS
from tests.differential.worlds import World

Row = Mapping[str, Json]
"""The values of a row, by attname."""


Link = tuple[str, Json]
"""Subject of the owner, and key of the target."""


@dataclass(frozen=True)
class Snapshot:
    rows: Mapping[str, Mapping[str, Row]]
    """By model and subject."""

    links: Mapping[tuple[str, str], Counter[Link]]
    """By model and field. A model in between may have several rows for one link."""


def scope(world: World, name: str, *, with_targets: bool) -> list[str]:
    """Names of the models whose rows a program about this model can change."""
    root = name
    while parent := world.blueprints[root].parent:
        root = parent
    derived = (f"{root}Child", f"{root}Proxy")
    family = [one for one in world.blueprints if one == root or one.startswith(derived)]
    return [*(TARGETS if with_targets else ()), *family]


def read(world: World, names: Iterable[str]) -> Snapshot:
    names = [*names]
    return Snapshot(
        {name: _rows(world, name) for name in names},
        {
            (name, field): _links(world.models[name], field)
            for name in names
            if _has_links(world, name)
            for field in LINKS
        },
    )


def clear(world: World, names: Iterable[str]) -> None:
    """Delete all rows of these models, with their links, without a signal."""
    for name in reversed([*names]):
        model = world.models[name]
        if _has_links(world, name):
            for field in LINKS:
                _delete_all(model._meta.get_field(field).remote_field.through)
        if not model._meta.proxy:
            _delete_all(model)


def _has_links(world: World, name: str) -> bool:
    blueprint = world.blueprints.get(name)
    return blueprint is not None and blueprint.has_links and not blueprint.parent


def _delete_all(model: Any) -> None:
    QuerySet(model)._raw_delete(using=QuerySet(model).db)


def _rows(world: World, name: str) -> dict[str, Row]:
    model = world.models[name]
    fields = model._meta.concrete_fields
    rows: Any = QuerySet(model).values_list("pk", *(field.attname for field in fields))
    return {
        subject(pk): {
            field.attname: canonical(expected(field, value))
            for field, value in zip(fields, values, strict=True)
        }
        for pk, *values in rows
    }


def _links(model: Any, name: str) -> Counter[Link]:
    field = model._meta.get_field(name)
    key = field.related_model._meta.pk
    owner, target = field.m2m_field_name(), field.m2m_reverse_field_name()
    links: Any = QuerySet(field.remote_field.through).values_list(f"{owner}__pk", f"{target}__pk")
    return Counter((subject(pk), canonical(expected(key, other))) for pk, other in links)
