"""What the steps of a program share while it runs in one world."""

from contextlib import suppress
from random import Random
from typing import Any

from django.db.models import QuerySet

from tests.differential.blueprints import FieldSpec
from tests.differential.oracle import subject
from tests.differential.programs import Given, Program, Step
from tests.differential.snapshots import Snapshot, read, scope
from tests.differential.worlds import World

EXISTING = (1, 3)
"""Numbers of the rows that exist when a program begins."""


class Play:
    """A program that runs in one world."""

    def __init__(self, world: World, program: Program) -> None:
        self.world = world
        self.program = program
        self.blueprint = world.blueprints[program.model]
        self.model = world.models[program.model]
        self.instance: Any = None
        self.subject = ""
        """Subject of the row of the instance."""

        self.forms: dict[str, str] = {}
        """The form that each field was last given, and that of the key."""

        self.has_targets = self.blueprint.has_links or any(
            step.operation.startswith("delete of the other") for step in program.steps
        )
        self.scope = scope(world, program.model, with_targets=self.has_targets)
        self.before = Snapshot({}, {})
        self.begin_step()

    def begin_step(self) -> None:
        self.touched: set[str] = set()
        """Subjects of the rows that the step saves, whether they change or not."""

        self.saved_as: Any = self.model
        """The class whose instances the step saves."""

        self.is_bulk = False
        """Whether only `record_bulk` sees the step."""

        self.is_raw = False
        """Whether ``loaddata`` does the step."""

    def reread(self) -> None:
        """Compare with the rows as they are at this moment."""
        self.before = read(self.world, self.scope)

    @property
    def manager(self) -> Any:
        return self.model._default_manager

    def spec(self, name: str) -> FieldSpec:
        return next(spec for spec in self.blueprint.fields if spec.name == name)

    def value(self, given: Given) -> Any:
        if given.form == "None":
            return None
        form = self.spec(given.field).kind.forms[given.form]
        return form(self.world.draw(given.seed, given.field))

    def values(self, step: Step) -> dict[str, Any]:
        """The values of the step, by the name that takes them."""
        return {self.attribute(given): self.note(given) for given in step.given}

    def note(self, given: Given) -> Any:
        field = self.model._meta.get_field(given.field)
        self.forms[field.attname] = given.form
        return self.value(given)

    def attribute(self, given: Given) -> str:
        field = self.model._meta.get_field(given.field)
        return field.name if given.form == "instance" else str(field.attname)

    def set_values(self, instance: Any, step: Step) -> None:
        for name, value in self.values(step).items():
            setattr(instance, name, value)

    def key(self, number: int, rng: Random) -> dict[str, Any]:
        """The key of the row with that number, in any form."""
        key = self.blueprint.key
        form = rng.choice([*key.forms, "as read"])
        self.forms["key"] = form
        values = key.value(self.world, number)
        return {name: key.forms[form](value) for name, value in values.items()}

    def key_names(self) -> list[str]:
        return [*self.blueprint.key.value(self.world, 1)]

    def new_key(self, step: Step, number: int = 2) -> dict[str, Any]:
        rng = Random(step.seed)
        if self.blueprint.key.is_automatic and rng.random() < 0.8:
            return {}
        return self.key(number, rng)

    def subject_of(self, number: int) -> str:
        values = [*self.blueprint.key.value(self.world, number).values()]
        return subject(tuple(values) if len(values) > 1 else values[0])

    def rows(self) -> Any:
        return QuerySet(self.model)

    def fresh(self) -> Any:
        """Another instance of the same row."""
        return self.rows().get(pk=self.instance.pk)

    def touch(self, key: dict[str, Any]) -> dict[str, Any]:
        """Note the row with that key, if there is one. Returns the key."""
        if key:
            with suppress(Exception):
                self.touched.add(subject(self.rows().values_list("pk", flat=True).get(**key)))
        return key

    def find_subject(self) -> None:
        """Read the key of the instance's row."""
        with suppress(Exception):
            self.subject = subject(
                self.rows().values_list("pk", flat=True).get(pk=self.instance.pk)
            )

    def hold(self, instance: Any) -> None:
        self.instance = instance

    def drop(self) -> None:
        self.instance = None

    def begin(self) -> None:
        """Create the rows that exist before the first step."""
        for number in EXISTING if self.program.begins_with_row else ():
            row = self.model(**self.blueprint.key.value(self.world, number))
            for spec in self.blueprint.fields:
                if not spec.kind.is_unset:
                    given = Given(spec.name, spec.kind.typical, f"row {number}")
                    setattr(row, self.attribute(given), self.value(given))
            row.save(force_insert=True)
        if self.program.begins_with_row:
            key = self.blueprint.key.value(self.world, 1)
            self.hold(self.rows().get(**key))
            self.subject = self.subject_of(1)
