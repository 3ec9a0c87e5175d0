"""Calls of many-to-many fields, on both sides."""

from random import Random
from typing import Any

from tests.differential.blueprints import LINKS, Blueprint
from tests.differential.plays import Play
from tests.differential.programs import Step, operation
from tests.differential.relations import ROWS, make_label
from tests.differential.worlds import THROUGH


def _has_links(blueprint: Blueprint) -> bool:
    return blueprint.has_links


class _Side:
    """One side of a field: its manager, and the rows that it may link."""

    def __init__(self, play: Play, step: Step, *, is_reverse: bool) -> None:
        self.play = play
        self.rng = Random(step.seed)
        names = [name for name in LINKS if not (is_reverse and name == "friends")]
        self.name = self.rng.choice(names)
        self.target = LINKS[self.name]
        self.is_reverse = is_reverse
        play.forms = {"link": self.name}
        if is_reverse:
            self.manager = getattr(self._other(), self._reverse_name())
        else:
            self.manager = getattr(play.instance, self.name)

    def _reverse_name(self) -> str:
        root = self.play.program.model
        while parent := self.play.world.blueprints[root].parent:
            root = parent
        return f"{root}_{self.name}".lower()

    def _other(self) -> Any:
        if self.target == "self":
            return self.rng.choice(list(self.play.rows()))
        return self.play.world.row(self.target, self.rng.choice(ROWS))

    def others(self, count: int) -> list[Any]:
        """Rows to link: instances, keys or texts of keys."""
        if self.is_reverse:
            rows = [self.play.instance if self.rng.random() < 0.5 else self.play.fresh()]
            rows += self.rng.sample(list(self.play.rows()), 1)
        else:
            rows = [self._other() for _ in range(count)]
        return [self._in_some_form(row) for row in rows[:count]]

    def _in_some_form(self, row: Any) -> Any:
        form = self.rng.choice(["instance", "instance", "key", "text of the key"])
        if self.name == "labelled" and not self.is_reverse and form != "instance":
            return row.label
        self.play.forms["link"] = f"{self.name}, {form}"
        return {"instance": row, "key": row.pk}.get(form, str(row.pk))

    @property
    def options(self) -> dict[str, Any]:
        is_noted = self.name in THROUGH and self.rng.random() < 0.5
        return {"through_defaults": {"note": "x"}} if is_noted else {}


def _add(side: _Side) -> None:
    side.manager.add(*side.others(2), **side.options)


def _add_again(side: _Side) -> None:
    side.manager.add(*side.others(1))
    side.manager.add(*side.others(2))


def _remove(side: _Side) -> None:
    side.manager.remove(*side.others(2))


def _set(side: _Side) -> None:
    side.manager.set(side.others(2), **side.options)


def _set_clear(side: _Side) -> None:
    side.manager.set(side.others(2), clear=True)


def _set_none(side: _Side) -> None:
    side.manager.set([])


def _clear(side: _Side) -> None:
    side.manager.clear()


def _create(side: _Side) -> None:
    if side.is_reverse or side.target == "self":
        return _add(side)
    side.manager.create(**_new_row(side))
    return None


def _get_or_create(side: _Side) -> None:
    if side.is_reverse or side.target == "self":
        return _add(side)
    row = _new_row(side)
    side.manager.get_or_create(label=row.pop("label"), defaults=row)
    return None


def _new_row(side: _Side) -> dict[str, Any]:
    key = {} if side.target == "Shelf" else {"pk": side.play.world.key_of(side.target, 9)}
    return {"name": "made", "label": make_label(9), **key}


_CALLS = {
    "add": (_add, 8),
    "add, add again": (_add_again, 4),
    "remove": (_remove, 6),
    "set": (_set, 8),
    "set(clear=True)": (_set_clear, 4),
    "set to nothing": (_set_none, 2),
    "clear": (_clear, 4),
    "create": (_create, 3),
    "get_or_create": (_get_or_create, 3),
}


def _declare(name: str, call: Any, weight: int, *, is_reverse: bool) -> None:
    side = "reverse" if is_reverse else "own side"

    @operation(f"m2m {name}, {side}", needs=_has_links, weight=weight)
    def run(play: Play, step: Step) -> None:
        call(_Side(play, step, is_reverse=is_reverse))


for _name, (_call, _weight) in _CALLS.items():
    for _is_reverse in (False, True):
        _declare(_name, _call, _weight, is_reverse=_is_reverse)
