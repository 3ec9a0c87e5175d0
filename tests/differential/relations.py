"""Foreign keys, and the models whose rows they point to."""

import uuid
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.db import models

from tests.differential.column_fields import CodeField
from tests.differential.custom_fields import Code
from tests.differential.kinds import Form, Kind


class Target(NamedTuple):
    """A model that others point to."""

    make_key: Callable[[], Any]
    key: Callable[[int], Any]
    """The key of the row with that number, as it is read."""


TARGETS: Final[Mapping[str, Target]] = {
    "Shelf": Target(lambda: models.BigAutoField(primary_key=True), lambda n: 1000 + n),
    "Country": Target(
        lambda: models.CharField(max_length=20, primary_key=True), lambda n: f"land {n}"
    ),
    "Token": Target(lambda: models.UUIDField(primary_key=True), lambda n: uuid.UUID(int=n)),
    "Price": Target(
        lambda: models.DecimalField(max_digits=8, decimal_places=2, primary_key=True),
        lambda n: Decimal(n).quantize(Decimal("0.01")),
    ),
    "Day": Target(lambda: models.DateField(primary_key=True), lambda n: date(2026, 1, n)),
    "Special": Target(
        lambda: CodeField(max_length=20, primary_key=True), lambda n: Code(f"special{n}")
    ),
}
ROWS: Final = (1, 2, 3, 4)
"""Numbers of the rows that each target has."""


def make_label(number: int) -> str:
    """The unique field of a target, for ``to_field``."""
    return f"label {number}"


def _forms(target: str) -> dict[str, Form]:
    key = TARGETS[target].key
    return {
        "instance": lambda r: r.row(target, r.choice(ROWS)),
        "key": lambda r: key(r.choice(ROWS)),
        "text of the key": lambda r: str(key(r.choice(ROWS))),
    }


LABELS: Final[dict[str, Form]] = {
    "instance": lambda r: r.row("Shelf", r.choice(ROWS)),
    "key": lambda r: make_label(r.choice(ROWS)),
}


def _kind(target: str, cls: Any = models.ForeignKey) -> Kind:
    def make(world: Any, **options: Any) -> Any:
        return cls(world.models[target], models.CASCADE, related_name="+", **options)

    return Kind(name=f"{cls.__name__}({target})", make=make, forms=_forms(target), base="relation")


def _to_label(world: Any, **options: Any) -> Any:
    shelf = world.models["Shelf"]
    return models.ForeignKey(shelf, models.CASCADE, to_field="label", related_name="+", **options)


RELATIONS: Final = [
    *(_kind(target) for target in TARGETS),
    _kind("Token", models.OneToOneField),
    Kind(name="ForeignKey(to_field)", make=_to_label, forms=LABELS, base="relation"),
]
