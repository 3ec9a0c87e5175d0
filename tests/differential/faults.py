"""Faults, one for each operation, field class and form of value."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Fault:
    what: str
    """What is wrong, without the values."""

    operation: str
    field: str
    """Kind of the field."""

    form: str
    """Form of the value that the field was last given."""

    detail: str
    """The values."""

    where: str = ""
    """Seed, program and step."""


class Faults:
    """Equal faults are counted, and the first is shown."""

    def __init__(self) -> None:
        self._found: Final[dict[tuple[str, ...], list[Fault]]] = {}

    def add(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            key = (fault.what, fault.field, fault.form, fault.operation)
            self._found.setdefault(key, []).append(fault)

    def __bool__(self) -> bool:
        return bool(self._found)

    def lines(self) -> list[str]:
        """A line for each distinct fault."""
        return [
            f"{' | '.join(key)} | {len(found)}x, {found[0].where} | {found[0].detail:.200}"
            for key, found in sorted(self._found.items())
        ]
