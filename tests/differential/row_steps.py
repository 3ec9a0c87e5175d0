"""Saves and deletions of one instance."""

from random import Random
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from tests.differential.plays import Play
from tests.differential.programs import Step, operation
from tests.differential.relations import ROWS
from tests.differential.worlds import ALIAS


@operation("create", creates=True, weight=8)
def create(play: Play, step: Step) -> None:
    play.hold(play.manager.create(**play.new_key(step), **play.values(step)))


@operation("save of a new instance", creates=True, weight=6)
def save_new(play: Play, step: Step) -> None:
    key = play.touch(play.new_key(step))
    instance = play.model(**key, **play.values(step))
    instance.save(force_insert=Random(step.seed).random() < 0.3)
    play.hold(instance)


@operation("update_or_create", creates=True, weight=4)
def update_or_create(play: Play, step: Step) -> None:
    if not step.given:  # Django does not save then
        return
    key = play.touch(play.key(1, Random(step.seed)))
    play.hold(play.manager.update_or_create(**key, defaults=play.values(step))[0])


@operation("get_or_create", creates=True)
def get_or_create(play: Play, step: Step) -> None:
    key = play.key(1, Random(step.seed))
    play.hold(play.manager.get_or_create(**key, defaults=play.values(step))[0])


@operation("save over a row", creates=True, weight=4)
def save_over(play: Play, step: Step) -> None:
    """Another instance is given the key of a row, which may not exist."""
    key = play.touch(play.key(1, Random(step.seed)))
    instance = play.model(**key, **play.values(step))
    instance.save()
    play.hold(instance)


@operation("save, unchanged", weight=4)
def save(play: Play, step: Step) -> None:
    play.touched = {play.subject}
    play.instance.save()


@operation("save of a fresh instance, unchanged", weight=3)
def save_fresh(play: Play, step: Step) -> None:
    play.touched = {play.subject}
    play.hold(play.fresh())
    play.instance.save()


@operation("set, save", weight=8)
def set_and_save(play: Play, step: Step) -> None:
    play.touched = {play.subject}
    play.set_values(play.instance, step)
    play.instance.save()


@operation("set, save(update_fields)", weight=4)
def set_and_save_some(play: Play, step: Step) -> None:
    """One of the fields that were set is saved, and the others are not."""
    if not step.given:  # Django does not save then
        return
    play.touched = {play.subject}
    play.set_values(play.instance, step)
    some = [given.field for given in step.given][: Random(step.seed).randint(1, 2)]
    play.instance.save(update_fields=some)


@operation("deferred, set, save", weight=4)
def save_deferred(play: Play, step: Step) -> None:
    play.touched = {play.subject}
    names = [spec.name for spec in play.blueprint.fields]
    rng = Random(step.seed)
    some = rng.sample(names, rng.randint(0, len(names)))
    rows = play.rows().only("pk", *some) if rng.random() < 0.5 else play.rows().defer(*some)
    play.hold(rows.get(pk=play.instance.pk))
    play.set_values(play.instance, step)
    play.instance.save()


@operation("refresh_from_db, save")
def refresh(play: Play, step: Step) -> None:
    play.touched = {play.subject}
    rng = Random(step.seed)
    names = [given.field for given in step.given]
    play.instance.refresh_from_db(fields=names if rng.random() < 0.5 else None)
    play.instance.save()


@operation("set, refresh some, save")
def set_and_refresh(play: Play, step: Step) -> None:
    play.touched = {play.subject}
    play.set_values(play.instance, step)
    play.instance.refresh_from_db(fields=[step.given[0].field])
    play.instance.save()


@operation("rolled back")
def roll_back(play: Play, step: Step) -> None:
    instance = play.fresh()
    with transaction.atomic(using=ALIAS):
        play.set_values(instance, step)
        instance.save()
        transaction.set_rollback(True, using=ALIAS)


@operation("in a transaction", weight=3)
def commit(play: Play, step: Step) -> None:
    play.touched = {play.subject}
    with transaction.atomic(using=ALIAS):
        play.set_values(play.instance, step)
        play.instance.save()


@operation("copy of a row")
def copy(play: Play, step: Step) -> None:
    instance = play.fresh()
    for link in instance._meta.concrete_model._meta.parents.values():
        if link:
            setattr(instance, link.attname, None)
    key = play.touch(play.key(2, Random(step.seed)))
    for name, value in key.items():
        setattr(instance, name, value)
    instance._state.adding = True
    play.set_values(instance, step)
    instance.save()
    play.hold(instance)


@operation("save as the parent", needs=lambda blueprint: blueprint.is_child)
def save_parent(play: Play, step: Step) -> None:
    """The row of the parent is saved, and no instance of the child."""
    play.saved_as = play.world.models[play.blueprint.parent]
    play.touched = {play.subject}
    instance: Any = QuerySet(play.saved_as).get(pk=play.instance.pk)
    own = {spec.name for spec in play.world.blueprints[play.blueprint.parent].fields}
    for given in step.given:
        if given.field in own:
            setattr(instance, play.attribute(given), play.note(given))
    instance.save()
    play.hold(play.fresh())


@operation("child of a row of the parent", needs=lambda blueprint: blueprint.is_child)
def adopt(play: Play, step: Step) -> None:
    """A row of the parent gets a row of the child."""
    row: Any = QuerySet(play.world.models[play.blueprint.parent]).get(pk=play.instance.pk)
    play.rows().filter(pk=row.pk)._raw_delete(using=ALIAS)
    play.reread()
    play.touched = {play.subject}
    instance = play.model(**{row._meta.pk.attname: row.pk})
    instance.__dict__.update({**row.__dict__, "_state": instance._state})
    link = next(iter(play.model._meta.parents.values()))
    setattr(instance, link.attname, row.pk)
    play.set_values(instance, step)
    instance.save()
    play.hold(instance)


@operation("delete", weight=3)
def delete(play: Play, step: Step) -> None:
    play.instance.delete()
    play.drop()


@operation("delete of an instance with other values")
def delete_changed(play: Play, step: Step) -> None:
    play.set_values(play.instance, step)
    play.instance.delete()
    play.drop()


@operation("delete of a queryset")
def delete_all(play: Play, step: Step) -> None:
    play.rows().filter(pk=play.instance.pk).delete()
    play.drop()


@operation(
    "delete of the other row of a foreign key",
    needs=lambda blueprint: any(spec.kind.base == "relation" for spec in blueprint.fields),
)
def delete_target(play: Play, step: Step) -> None:
    """The row that a foreign key points to is deleted, and takes this row with it."""
    spec = next(spec for spec in play.blueprint.fields if spec.kind.base == "relation")
    target = play.model._meta.get_field(spec.name).related_model
    number = Random(step.seed).choice(ROWS)
    play.saved_as = target
    for row in target.objects.all()[number - 1 : number]:
        row.delete()
    play.drop()
