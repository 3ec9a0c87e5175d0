"""Bulk operations, through `RecordingQuerySetMixin` or told by `record_bulk`."""

from random import Random
from typing import Any

from django.db import transaction

from tests.differential.blueprints import Blueprint
from tests.differential.plays import Play
from tests.differential.programs import Step, operation
from tests.differential.worlds import ALIAS


def _has_one_table(blueprint: Blueprint) -> bool:
    return not blueprint.is_child and not (blueprint.is_proxy and "Child" in blueprint.name)


def _can_be_updated(blueprint: Blueprint) -> bool:
    """Django's ``update()`` finds no parent of a child whose key is a datetime, except on
    PostgreSQL: it takes the key of the database for one of the current time zone."""
    return _has_one_table(blueprint) or blueprint.key.name != "datetime"


def _keeps_values(blueprint: Blueprint) -> bool:
    """Whether instances hold the values that they were read with, when the rows are gone."""
    return _has_one_table(blueprint) and not any(
        "Shouted" in field.kind.name for field in blueprint.fields
    )


def _told(play: Play, action: str, instances: list[Any]) -> None:
    """Tell the bucket, if the queryset does not."""
    play.is_bulk = not play.blueprint.records_bulk
    if play.is_bulk and play.world.is_recorded:
        play.world.plain.record_bulk(instances, action)


@operation("bulk_create", needs=_has_one_table, creates=True, weight=4)
def bulk_create(play: Play, step: Step) -> None:
    rng = Random(step.seed)
    instances = [
        play.model(**play.new_key(step, number), **play.values(step))
        for number in (4, 2)[: rng.randint(1, 2)]
    ]
    play.is_bulk = not play.blueprint.records_bulk
    play.manager.bulk_create(instances)
    _told(play, "created", instances)
    play.hold(instances[-1])


@operation("bulk_update", needs=_can_be_updated, weight=4)
def bulk_update(play: Play, step: Step) -> None:
    rows = list(play.rows())
    for row in rows:
        play.set_values(row, step)
    names = [given.field for given in step.given]
    play.is_bulk = not play.blueprint.records_bulk
    play.touched = set(play.before.rows[play.program.model])
    with transaction.atomic(using=ALIAS):
        play.manager.bulk_update(rows, names)
    _told(play, "updated", rows)
    play.hold(play.fresh())


@operation("update of a queryset", needs=_can_be_updated, weight=6)
def update(play: Play, step: Step) -> None:
    play.is_bulk = not play.blueprint.records_bulk
    play.touched = set(play.before.rows[play.program.model])
    with transaction.atomic(using=ALIAS):  # or the tables of a child and its parent differ
        play.manager.update(**play.values(step))
    _told(play, "updated", list(play.rows()))
    play.hold(play.fresh())


@operation("update of one row", needs=_can_be_updated, weight=2)
def update_one(play: Play, step: Step) -> None:
    play.is_bulk = not play.blueprint.records_bulk
    play.touched = {play.subject}
    with transaction.atomic(using=ALIAS):
        play.manager.filter(pk=play.instance.pk).update(**play.values(step))
    _told(play, "updated", [play.fresh()])
    play.hold(play.fresh())


@operation("record_bulk of deleted rows", needs=_keeps_values)
def bulk_delete(play: Play, step: Step) -> None:
    instances = list(play.rows())
    play.is_bulk = True
    play.rows()._raw_delete(using=play.rows().db)
    if play.world.is_recorded:
        play.world.plain.record_bulk(instances, "deleted")
    play.drop()
