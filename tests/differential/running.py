"""A program runs in both worlds. What differs is a fault."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tests.differential.comparing import Comparison
from tests.differential.faults import Fault
from tests.differential.plays import Play
from tests.differential.programs import OPERATIONS, Given, Program, Step
from tests.differential.snapshots import Snapshot, clear, read
from tests.differential.worlds import World


class Outcome(NamedTuple):
    """How a step ended in one world."""

    step: int
    error: str
    """Type and text of the exception, or nothing."""

    rows: Any
    """What both worlds must have in common."""

    faults: list[Fault]
    link: str
    """The many-to-many field of the step, and the form in which it was given a row."""


@dataclass(frozen=True)
class Worlds:
    plain: World
    recorded: World

    def faults(self, program: Program) -> tuple[list[Fault], int]:
        """The faults of a program, and how many steps it ran."""
        faults: list[Fault] = []
        steps = 0
        for fault in self._compared(program):
            if isinstance(fault, int):
                steps = fault
            else:
                faults.append(self._narrowed(program, fault))
        return faults, steps

    def _compared(self, program: Program) -> Iterator[Fault | int]:
        plain = run(self.plain, program)
        recorded = run(self.recorded, program)
        for one, other in zip(plain, recorded, strict=False):
            where = f"{program.seed}:{program.number} step {other.step + 1}"
            for fault in [*_differences(program, one, other), *other.faults]:
                yield replace(fault, where=where)
        yield len(recorded)

    def _narrowed(self, program: Program, fault: Fault) -> Fault:
        """Name the field and the form of value that make the recording raise."""
        if fault.field != "row" or not fault.what.startswith("raises") | fault.what.endswith(
            "missing"
        ):
            return fault
        last = int(fault.where.rsplit(" ", 1)[1])
        if self._raises(fault, program, last, set()):
            key = self.plain.blueprints[program.model].key
            return replace(fault, field=f"key: {key.name}", form="any")
        for step, given in _suspects(program, last):
            if self._raises(fault, program, last, {given}):
                spec = Play(self.plain, program).spec(given.field)
                form = given.form if step == last - 1 else f"{given.form} before"
                return replace(fault, field=spec.kind.name, form=form)
        return fault

    def _raises(self, fault: Fault, program: Program, last: int, kept: set[Given]) -> bool:
        simple = _simplified(program, last, self.plain, kept)
        return any(isinstance(f, Fault) and f.what == fault.what for f in self._compared(simple))


def run(world: World, program: Program) -> list[Outcome]:
    play = Play(world, program)
    outcomes: list[Outcome] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of naive datetimes, with and without recording
        try:
            error = _error_of(play.begin)
            _forget_events(world)
            if error:
                return [Outcome(-1, error, ({}, {}), [], "")]
            play.reread()
            for number in range(len(program.steps)):
                outcomes.append(_run_step(play, number))
                if outcomes[-1].error or play.instance is None:
                    break
        finally:
            _clean(play)
    return outcomes


def _run_step(play: Play, number: int) -> Outcome:
    step = play.program.steps[number]
    play.begin_step()
    play.forms.pop("link", None)
    error = _error_of(lambda: OPERATIONS[step.operation].run(play, step))
    try:
        after = read(play.world, play.scope)
    except Exception:  # noqa: BLE001
        return _unreadable(play, number, error)
    faults: list[Fault] = []
    if play.world.is_recorded:
        faults = [*Comparison(play, step.operation, after, failed=bool(error)).faults()]
    play.before = after
    if play.instance is not None:
        play.find_subject()
    return Outcome(number, error, _common(play, after), faults, play.forms.get("link", ""))


def _unreadable(play: Play, number: int, error: str) -> Outcome:
    """SQLite, for one, stores decimals that Django cannot read. A save of one is no error."""
    _forget_events(play.world)
    play.drop()
    return Outcome(number, error, ({}, {}), [], play.forms.get("link", ""))


def _error_of(call: Any) -> str:
    try:
        call()
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
    return ""


def _forget_events(world: World) -> None:
    if world.is_recorded:
        world.compared.purge()
        world.plain.purge()


def _clean(play: Play) -> None:
    clear(play.world, play.scope)
    if play.has_targets:
        play.world.insert_targets()


def _common(play: Play, snapshot: Snapshot) -> Any:
    """The rows without what each world has for itself: times, and keys that the database chose."""
    rows = {
        name: sorted(
            sorted(row[a] for a in row if not _is_own(play.world, name, a)) for row in rows.values()
        )
        for name, rows in snapshot.rows.items()
    }
    return rows, {key: links.total() for key, links in snapshot.links.items()}


def _is_own(world: World, name: str, attname: str) -> bool:
    blueprint = world.blueprints.get(name)
    if blueprint is None:
        return attname == "id"
    volatile = {spec.name for spec in blueprint.fields if spec.kind.is_volatile}
    return attname in volatile or (
        blueprint.key.is_automatic and attname in ("id", *_links(world, name))
    )


def _links(world: World, name: str) -> list[str]:
    return [field.attname for field in world.models[name]._meta.parents.values() if field]


def _differences(program: Program, plain: Outcome, recorded: Outcome) -> Iterator[Fault]:
    operation = program.steps[recorded.step].operation if recorded.step >= 0 else "begin"

    def fault(what: str, detail: str) -> Fault:
        field = "link" if recorded.link else "row"
        form = recorded.link or "any"
        return Fault(what=what, operation=operation, field=field, form=form, detail=detail)

    if _type(plain.error) != _type(recorded.error):
        what = f"raises {_type(recorded.error)}" if recorded.error else "raises nothing"
        yield fault(what, f"{recorded.error} instead of {plain.error or 'nothing'}")
    elif plain.rows != recorded.rows:
        yield fault("rows differ", _difference(plain.rows, recorded.rows))


def _difference(plain: Any, recorded: Any) -> str:
    return "; ".join(
        f"{name}: {other.get(name)} instead of {one.get(name)}"
        for one, other in zip(plain, recorded, strict=True)
        for name in {**one, **other}
        if one.get(name) != other.get(name)
    )


def _type(error: str) -> str:
    return error.split(":", 1)[0]


def _suspects(program: Program, last: int) -> Iterable[tuple[int, Given]]:
    """The values that were given, the last ones first."""
    for number in reversed(range(last)):
        for given in program.steps[number].given:
            yield number, given


def _simplified(program: Program, last: int, world: World, kept: set[Given]) -> Program:
    """The program up to that step, with the typical form for all values but some."""
    specs = {spec.name: spec for spec in world.blueprints[program.model].fields}

    def simple(given: Given) -> Given:
        form = given.form if given in kept else specs[given.field].kind.typical
        return replace(given, form=form)

    steps = tuple(
        Step(step.operation, tuple(map(simple, step.given)), step.seed)
        for step in program.steps[:last]
    )
    return replace(program, steps=steps)
