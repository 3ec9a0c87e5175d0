"""The kinds of fields: how to make one, and the forms in which Django accepts its values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any


class Draw(Random):
    """Chance that also knows the field whose value is drawn, and the rows it may point to."""

    name: str = ""
    """Name of the field, for ``F()``."""

    row: Callable[[str, int], Any]
    """Returns the row with that number of a target model."""


Form = Callable[[Draw], Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A field class, with the options that make a difference."""

    name: str
    make: Callable[..., Any]
    forms: Mapping[str, Form]
    """By name. The first is a value of the type that the database returns."""

    is_volatile: bool = False
    """Whether two saves of the same value store different values, as with ``auto_now``."""

    is_unset: bool = False
    """Whether a row is created without a value of the field."""

    base: str = ""
    """Options that the field class allows: default, db_default, generated."""

    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def typical(self) -> str:
        return next(iter(self.forms))


def always(value: Any) -> Form:
    return lambda draw: value


def either(*values: Any) -> Form:
    return lambda draw: draw.choice(values)
