"""Compares the events of many-to-many fields with the rows of their tables."""

from collections import defaultdict
from typing import Any, Final

from django.core.serializers.base import DeserializedObject
from django.db.models import Model, QuerySet

from . import journal, noted
from .buckets import links_of, recorded
from .oracle import unlogged

Pairs = set[tuple[Any, Any]]
"""Keys of the linked rows: of the owner, which has the field, and of its target."""

_pairs_before: Final[dict[int, list[Pairs]]] = defaultdict(list)

fields: Final = {
    getattr(model, field.name).through: field for model in recorded for field in links_of(model)
}
"""The recorded fields, by the model with a row for each link."""


def on_change(sender: type[Model], instance: Model, action: str, using: str, **kwargs: Any) -> None:
    pairs = _pairs(sender, instance, kwargs["reverse"], using)
    if action.startswith("pre_"):
        _pairs_before[id(instance)].append(pairs)
        return
    before = _pairs_before[id(instance)].pop()
    journal.write("m2m", field=str(fields[sender]))
    expected = [
        *_texts(sender, "added", pairs - before),
        *_texts(sender, "removed", before - pairs),
    ]
    if _is_from_fixture():
        expected = []
    got = [_text(event["type"], event["subject"], event["data"]) for event in noted.take()]
    if sorted(got) != sorted(expected):
        journal.find("links", field=str(fields[sender]), events=got, rows=expected)


def _is_from_fixture() -> bool:
    """Whether ``loaddata`` makes the links. The signal says so only since Django 6.1."""
    return any(
        frame.f_globals.get("__name__") == DeserializedObject.__module__
        for frame in journal.callers()
    )


def _pairs(through: type[Model], instance: Model, reverse: bool, using: str) -> Pairs:
    """The links of the instance at this moment."""
    field = fields[through]
    owner, target = field.m2m_field_name(), field.m2m_reverse_field_name()
    rows: QuerySet[Any] = QuerySet(through, using=using)
    with unlogged(using):
        rows = rows.filter(**{target if reverse else owner: instance})
        return {*rows.values_list(f"{owner}_id", f"{target}_id")}


def _texts(through: type[Model], change: str, pairs: Pairs) -> list[str]:
    field = fields[through]
    owners = defaultdict(list)
    for owner, target in pairs:
        owners[owner].append(target)
    type_ = f"{field.model._meta.label_lower}.{field.name}.{change}"
    return [_text(type_, str(owner), {field.name: targets}) for owner, targets in owners.items()]


def _text(type_: str, subject: str, data: dict[str, list[Any]]) -> str:
    return f"{type_} of {subject}: { ({name: sorted(keys) for name, keys in data.items()}) }"
