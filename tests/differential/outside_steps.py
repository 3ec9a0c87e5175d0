"""Saves by code of Django: the admin's form, and ``loaddata``."""

import tempfile
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.core import serializers
from django.core.management import call_command
from django.forms import FileField, MultiWidget
from django.http import QueryDict
from django.test import RequestFactory

from tests.differential.blueprints import LINKS, Blueprint
from tests.differential.plays import Play
from tests.differential.programs import Step, operation
from tests.differential.worlds import ALIAS, THROUGH


def _has_one_column_key(blueprint: Blueprint) -> bool:
    return "composite" not in blueprint.key.name


def _has_no_parent(blueprint: Blueprint) -> bool:
    return not blueprint.parent


def _is_simple(blueprint: Blueprint) -> bool:
    return not blueprint.parent and not blueprint.has_links


@operation("admin form", needs=_has_one_column_key, weight=4)
def change_in_admin(play: Play, step: Step) -> None:
    play.touched = {play.subject}
    _submit(play, step, play.fresh(), change=True)


@operation("admin form, unchanged", needs=_has_one_column_key)
def resave_in_admin(play: Play, step: Step) -> None:
    play.touched = {play.subject}
    _submit(play, Step(step.operation, (), step.seed), play.fresh(), change=True)


def _submit(play: Play, step: Step, instance: Any, *, change: bool) -> None:
    """Post the values of the row, and others for the fields of the step."""
    request: Any = RequestFactory().post("/")
    request.user = SimpleNamespace(has_perm=lambda *args: True)
    admin: Any = ModelAdmin(play.model, AdminSite())
    # A form that changes the key saves another row.
    admin.exclude = [play.model._meta.get_field(name).name for name in play.key_names()]
    make_form: Any = admin.get_form(request, instance, change=change)
    given = {one.field: play.value(one) for one in step.given if one.form != "F"}
    unbound = make_form(instance=instance, initial=_with_initial(given))
    form = make_form(_posted(play, unbound), instance=instance)
    if not form.is_valid():
        play.touched = set()
        return
    for one in step.given:
        play.forms[play.model._meta.get_field(one.field).attname] = "from a form"
    saved = admin.save_form(request, form, change)
    admin.save_model(request, saved, form, change)
    admin.save_related(request, form, [], change)
    play.hold(saved)


def _with_initial(given: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "pk", value) for name, value in given.items()}


def _posted(play: Play, form: Any) -> QueryDict:
    data = QueryDict(mutable=True)
    for name, field in form.fields.items():
        value = field.prepare_value(form[name].value()) if name not in LINKS else None
        if isinstance(field, FileField):
            continue
        if isinstance(field.widget, MultiWidget):
            for number, part in enumerate(field.widget.decompress(value) or []):
                data[f"{name}_{number}"] = "" if part is None else str(part)
        elif name in LINKS:
            keys = [] if name in THROUGH else form[name].value() or []
            data.setlist(name, [str(getattr(key, "pk", key)) for key in keys])
        elif value is not None and value is not False:
            data[name] = str(getattr(value, "pk", value))
    return data


@operation("loaddata", needs=_has_no_parent, weight=4)
def load(play: Play, step: Step) -> None:
    """A fixture has the row with other values, and with its links."""
    play.touched = {play.subject}
    play.is_raw = True
    instance = play.fresh()
    for name, value in _without_expressions(play, step).items():
        setattr(instance, name, value)
    _load(instance)
    play.hold(play.fresh())


@operation("loaddata of a new row", needs=_is_simple, creates=True, weight=3)
def load_new(play: Play, step: Step) -> None:
    play.is_raw = True
    key = play.key(2, Random(step.seed))
    instance = play.model(**key, **_without_expressions(play, step))
    _load(instance)
    play.hold(play.rows().get(**key))


def _without_expressions(play: Play, step: Step) -> dict[str, Any]:
    """The values that a fixture can have."""
    values = play.values(step)
    return {n: value for n, value in values.items() if not hasattr(value, "resolve_expression")}


def _load(instance: Any) -> None:
    fields = [
        field.name
        for field in (*instance._meta.local_fields, *instance._meta.local_many_to_many)
        if not hasattr(instance.__dict__.get(field.attname), "resolve_expression")
    ]
    with tempfile.TemporaryDirectory() as folder:
        fixture = Path(folder) / "rows.json"
        fixture.write_text(serializers.serialize("json", [instance], fields=fields))
        call_command("loaddata", str(fixture), database=ALIAS, verbosity=0)
