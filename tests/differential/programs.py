"""Programs: a few steps with one instance, made by chance. The same seed makes the same program."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from tests.differential.blueprints import Blueprint, FieldSpec

REFUSED: Final = frozenset(
    {
        *("not a number", "too large", "not a date", "not a time", "bad text", "NUL"),
        *("wrong order", "other text", "null inside", "text of another kind", "aware"),
    }
)
"""Forms that a database may refuse. They are rare, since nothing else of the step is tested."""


@dataclass(frozen=True)
class Given:
    """A field is given a value of that form."""

    field: str
    form: str
    seed: str


@dataclass(frozen=True)
class Step:
    operation: str
    given: tuple[Given, ...]
    seed: str


@dataclass(frozen=True)
class Program:
    seed: int
    number: int
    model: str
    steps: tuple[Step, ...]
    begins_with_row: bool
    """Whether the first step finds an instance of a row that exists."""


@dataclass(frozen=True)
class Operation:
    run: Callable[[Any, Step], None]
    needs: Callable[[Blueprint], bool]
    creates: bool
    """Whether it needs no instance, and values for all fields."""

    weight: int


OPERATIONS: Final[dict[str, Operation]] = {}
"""By name, in the order of the modules."""


def operation(
    name: str,
    *,
    needs: Callable[[Blueprint], bool] = lambda blueprint: True,
    creates: bool = False,
    weight: int = 2,
) -> Callable[[Callable[[Any, Step], None]], Callable[[Any, Step], None]]:
    """A decorator for the function of an operation."""

    def add(run: Callable[[Any, Step], None]) -> Callable[[Any, Step], None]:
        OPERATIONS[name] = Operation(run, needs, creates, weight)
        return run

    return add


def make_program(seed: int, number: int, blueprints: list[Blueprint]) -> Program:
    rng = Random(f"{seed}:{number}")
    blueprint = rng.choice(blueprints)
    begins_with_row = rng.random() < 0.5
    names = [*_choose(rng, blueprint, creates=True, count=0 if begins_with_row else 1)]
    names += _choose(rng, blueprint, creates=None, count=rng.randint(2, 4))
    steps = tuple(_step(rng, blueprint, name) for name in names)
    return Program(seed, number, blueprint.name, steps, begins_with_row)


def _choose(
    rng: Random, blueprint: Blueprint, *, creates: bool | None, count: int
) -> Iterator[str]:
    names = [
        name
        for name, operation in OPERATIONS.items()
        if operation.needs(blueprint) and creates in (None, operation.creates)
    ]
    weights = [OPERATIONS[name].weight for name in names]
    yield from rng.choices(names, weights, k=count)


def _step(rng: Random, blueprint: Blueprint, name: str) -> Step:
    creates = OPERATIONS[name].creates
    fields = [spec for spec in blueprint.fields if creates or not spec.kind.is_unset]
    if creates:
        chosen = [spec for spec in fields if rng.random() < _chance(spec)]
    else:
        chosen = rng.sample(fields, min(len(fields), rng.randint(1, 2)))
    given = tuple(_given(rng, spec, creates=creates) for spec in chosen)
    return Step(name, given, f"{rng.random()}")


def _chance(spec: FieldSpec) -> float:
    """How often a row is created with a value of the field."""
    is_needed = not spec.options.get("null") and not spec.default
    return 0.2 if spec.kind.is_unset else 0.98 if is_needed else 0.75


def _given(rng: Random, spec: FieldSpec, *, creates: bool) -> Given:
    forms = [form for form in spec.kind.forms if not (creates and form == "F")]
    form = rng.choice(forms) if rng.random() < 0.75 else spec.kind.typical
    if form in REFUSED and rng.random() < 0.85:
        form = spec.kind.typical
    if rng.random() < (0.12 if spec.options.get("null") else 0.005):
        form = "None"
    return Given(spec.name, form, f"{rng.random()}")


def described(program: Program, blueprint: Blueprint) -> Iterator[str]:
    """The program in words."""
    fields = ", ".join(f"{spec.name}: {spec.kind.name}" for spec in blueprint.fields)
    begin = "with" if program.begins_with_row else "without"
    yield f"{blueprint.name} (key: {blueprint.key.name}, {fields}), {begin} a row"
    for number, step in enumerate(program.steps, 1):
        values = ", ".join(f"{given.field}: {given.form}" for given in step.given)
        yield f"{number}. {step.operation} ({values})"
