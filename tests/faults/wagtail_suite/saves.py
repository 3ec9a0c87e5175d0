"""Compares the events of a save, or of a deletion, with the row before and after it."""

from collections import defaultdict
from typing import Any, Final

from django.db.models import Model

from . import journal, noted, oracle
from .buckets import recorded
from .noted import Event
from .oracle import Row

_rows_before: Final[dict[int, list[dict[type[Model], Row | None]]]] = defaultdict(list)
"""A stack for each instance, because a receiver may save the same instance once more."""


def before_save(instance: Model, using: str, **kwargs: Any) -> None:
    _leave_nothing(noted.take(), "before a save")
    _rows_before[id(instance)].append(_rows(instance, using))


def after_save(instance: Model, raw: bool, using: str, **kwargs: Any) -> None:
    events = noted.take()
    before = _rows_before[id(instance)].pop()
    journal.write("save", model=instance._meta.label, raw=raw)
    if not raw:
        for model, row in _rows(instance, using).items():
            old = before[model]
            if row is None or old is None:
                _expect_one(events, model, "created", row, None)
            elif changes := _changes(old, row):
                _expect_one(events, model, "updated", row, changes)
    _leave_nothing(events, "after a save")


def before_delete(instance: Model, using: str, **kwargs: Any) -> None:
    _leave_nothing(noted.take(), "before a deletion")
    model: Any = instance._meta.concrete_model
    row = oracle.read(model, _pk(instance, model), using=using)
    _rows_before[id(instance)].append({model: row})


def after_delete(instance: Model, **kwargs: Any) -> None:
    events = noted.take()
    journal.write("deletion", model=instance._meta.label)
    for model, row in _rows_before[id(instance)].pop().items():
        if row is not None:
            _expect_one(events, model, "deleted", row, None)
    _leave_nothing(events, "after a deletion")


def _rows(instance: Model, using: str) -> dict[type[Model], Row | None]:
    """The rows of an instance: its own, and those of its parents."""
    return {
        model: oracle.read(model, _pk(instance, model), using=using)
        for model in recorded
        if isinstance(instance, model)
    }


def _pk(instance: Model, model: type[Model]) -> Any:
    return getattr(instance, model._meta.pk.attname)


def _changes(old: Row, new: Row) -> dict[str, Any]:
    return {
        name: {"old": old[name], "new": value}
        for name, value in new.items()
        if not _is_same(old[name], value)
    }


def _expect_one(
    events: list[Event], model: type[Model], action: str, row: Row | None, changes: Any
) -> None:
    """Take the event of this model out of the list, and compare it."""
    label = model._meta.label_lower
    found = [event for event in events if event["type"].rpartition(".")[0] == label]
    events[:] = [event for event in events if event not in found]
    if len(found) != 1:
        changed = [*(changes or ())]
        journal.find("number", model=label, row=action, events=len(found), changed=changed)
    for event in found:
        if (event_action := event["type"].rpartition(".")[2]) != action:
            journal.find("action", model=label, row=action, event=event_action)
        subject = (row or {}).get(model._meta.pk.attname)
        if event["subject"] != str(subject):
            journal.find("subject", model=label, event=event["subject"], row=subject)
        data = dict(event["data"])
        _compare(model, "changes", data.pop("changes", None), changes)
        _compare(model, action, data, row)


def _compare(model: type[Model], part: str, got: Any, expected: Any) -> None:
    """Report each value that differs."""
    got, expected = got or {}, expected or {}
    for name in sorted({*got, *expected}):
        one, other = got.get(name, "missing"), expected.get(name, "missing")
        if not _is_same(one, other):
            field = f"{model._meta.label}.{name}"
            journal.find("value", field=field, part=part, event=one, row=other)


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _leave_nothing(events: list[Event], after: str) -> None:
    for event in events:
        journal.find("surplus", type=event["type"], after=after, sample=event)
