"""A blueprint becomes model classes and tables: once with recording, and once without."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

from django.apps import apps
from django.db import connections, models
from django.db.models import F
from django.db.models.functions import Lower

from django_jsonbuffer import Bucket
from django_jsonbuffer.querysets import RecordingQuerySetMixin
from tests.differential.blueprints import LINKS, Blueprint, FieldSpec
from tests.differential.kinds import Draw
from tests.differential.relations import ROWS, TARGETS, make_label

APP: Final = "differential"
ALIAS: Final = "differential"
THROUGH: Final = ("noted", "labelled")


class RecordingQuerySet(RecordingQuerySetMixin[Any], models.QuerySet[Any]):
    pass


class World:
    """The classes of all blueprints, in tables of their own."""

    def __init__(self, prefix: str, blueprints: Iterable[Blueprint], *, is_recorded: bool) -> None:
        self.prefix = prefix
        self.is_recorded = is_recorded
        self.blueprints = {blueprint.name: blueprint for blueprint in blueprints}
        self.models: dict[str, Any] = {}
        for name, target in TARGETS.items():
            self._add(name, (models.Model,), {"id": target.make_key(), **_target_fields()})
        for blueprint in self.blueprints.values():
            self._add_blueprint(blueprint)
        self.compared: Final = Bucket(f"{prefix}-compared")
        self.plain: Final = Bucket(f"{prefix}-plain")

    def key_of(self, target: str, number: int) -> Any:
        return TARGETS[target].key(number)

    def row(self, target: str, number: int) -> Any:
        return models.QuerySet(self.models[target]).get(pk=self.key_of(target, number))

    def draw(self, seed: str, name: str = "") -> Draw:
        draw = Draw(seed)
        draw.name = name
        draw.row = self.row
        return draw

    def record(self) -> None:
        """Record every model in both buckets."""
        for name in (*TARGETS, *self.blueprints):
            blueprint = self.blueprints.get(name)
            links = [*LINKS] if blueprint and blueprint.has_links and not blueprint.parent else []
            self.compared.record(self.models[name], changes=True, raw=True, m2m=links)
            self.plain.record(self.models[name])

    def insert_targets(self) -> None:
        for name in TARGETS:
            rows = [
                self.models[name](pk=self.key_of(name, n), name=f"n{n}", label=make_label(n))
                for n in ROWS
            ]
            models.QuerySet(self.models[name]).bulk_create(rows)

    @contextmanager
    def tables(self) -> Iterator[None]:
        """Create the tables. Forget the classes afterwards; the tables go with the database."""
        with connections[ALIAS].schema_editor() as editor:
            for model in self.models.values():
                if not model._meta.proxy:
                    editor.create_model(model)
        self.insert_targets()
        try:
            yield
        finally:
            for label in [one for one in apps.all_models[APP] if one.startswith(self.prefix)]:
                del apps.all_models[APP][label]
            apps.clear_cache()

    @cached_property
    def kind_names(self) -> Mapping[tuple[str, str], str]:
        """The kind of each field, by model and attname."""
        names = {}
        for blueprint in self.blueprints.values():
            own = {spec.name: spec.kind.name for spec in blueprint.fields}
            for field in self.models[blueprint.name]._meta.concrete_fields:
                fallback = f"key: {blueprint.key.name}" if field.primary_key else _class(field)
                names[blueprint.name, field.attname] = own.get(field.name, fallback)
        return names

    def _add(self, name: str, bases: tuple[Any, ...], fields: dict[str, Any], **meta: Any) -> Any:
        options = type("Meta", (), {"app_label": APP, **meta})
        content = {"__module__": __name__, "Meta": options, **fields}
        self.models[name] = type(f"{self.prefix}{name}", bases, content)
        return self.models[name]

    def _add_blueprint(self, blueprint: Blueprint) -> None:
        content: dict[str, Any] = {}
        if blueprint.records_bulk and self.is_recorded:
            content["objects"] = models.Manager.from_queryset(RecordingQuerySet)()
        parent = self.models.get(blueprint.parent)
        if blueprint.is_proxy:
            self._add(blueprint.name, (parent,), content, proxy=True)
            return
        inherited = self.blueprints[blueprint.parent].fields if parent else ()
        for spec in blueprint.fields[len(inherited) :]:
            content.update(self._fields(spec))
        if parent is None:
            content.update(blueprint.key.make(self))
        if blueprint.has_links and parent is None:
            content.update(self._links(blueprint))
        ordered = {"order_with_respect_to": "f1"} if blueprint.is_ordered else {}
        self._add(blueprint.name, (parent or models.Model,), content, **ordered)
        if blueprint.has_links and parent is None:
            self._add_throughs(blueprint)

    def _fields(self, spec: FieldSpec) -> dict[str, Any]:
        options = dict(spec.options)
        if spec.default:
            value = spec.kind.forms[spec.kind.typical]
            make = lambda: value(self.draw("default"))  # noqa: E731
            options[spec.default] = make if spec.default == "default" else make()
        if spec.kind.base == "relation":
            options["world"] = self
        fields = {spec.name: spec.kind.make(**options)}
        if spec.generated:
            fields[f"{spec.name}_made"] = _generated(spec)
        return fields

    def _links(self, blueprint: Blueprint) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, target in LINKS.items():
            options: dict[str, Any] = {"related_name": f"{blueprint.name}_{name}".lower()}
            if name in THROUGH:
                options["through"] = f"{APP}.{self.prefix}{blueprint.name}{name}"
            if name == "noted":
                options["through_fields"] = ("owner", "target")
            if target == "self":
                options["symmetrical"] = name == "friends"
            to = "self" if target == "self" else self.models[target]
            fields[name] = models.ManyToManyField(to, **options)
        return fields

    def _add_throughs(self, blueprint: Blueprint) -> None:
        owner, shelf = self.models[blueprint.name], self.models["Shelf"]
        for name, to_field in (("noted", None), ("labelled", "label")):
            link = {
                "owner": models.ForeignKey(owner, models.CASCADE, related_name="+"),
                "target": models.ForeignKey(
                    shelf, models.CASCADE, related_name="+", to_field=to_field
                ),
                "note": models.CharField(max_length=9, default=""),
            }
            if name == "noted":
                link["other"] = models.ForeignKey(
                    shelf, models.CASCADE, related_name="+", null=True
                )
            self._add(f"{blueprint.name}{name}", (models.Model,), link)


def _class(field: Any) -> str:
    return str(type(field).__name__)


def _target_fields() -> dict[str, Any]:
    return {
        "name": models.CharField(max_length=20, default="n"),
        "label": models.CharField(max_length=20, unique=True),
    }


def _generated(spec: FieldSpec) -> Any:
    is_text = "Integer" not in spec.kind.name
    return models.GeneratedField(
        expression=Lower(spec.name) if is_text else F(spec.name) * 2,
        output_field=models.TextField() if is_text else models.BigIntegerField(),
        db_persist=spec.generated == "stored",
    )
