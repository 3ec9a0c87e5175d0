"""Expressions as Python source, and what is known of them."""

from typing import Final, NamedTuple

_ORDER: Final = {"<": "less", ">": "more", "<=": "at_most", ">=": "at_least"}


class Code(NamedTuple):
    """An expression as Python source."""

    text: str

    kind: str = ""
    """The type of its value, if it is known: ``"boolean"``, ``"function"``, ``"nil"``,
    ``"number"`` or ``"text"``."""

    is_open: bool = False
    """Whether it may have any number of values: it is a call, or ``...``."""

    variable: str = ""
    """Its name, if it is a local variable."""

    place: str = ""
    """Table and key, if it is a place in a table."""

    truth: str = ""
    """Python source that says whether its value is true for Lua, if there is a shorter one than the
    call of ``is_true``."""

    @property
    def one(self) -> str:
        return f"first({self.text})" if self.is_open else self.text

    @property
    def number(self) -> str:
        return self.text if self.kind == "number" else f"number({self.one})"

    @property
    def condition(self) -> str:
        return self.truth or f"is_true({self.one})"


def listed(codes: list[Code]) -> str:
    """The values of a list of expressions, each with a comma. Only the last may have several."""
    parts = [code.one for code in codes]
    if codes and codes[-1].is_open:
        parts[-1] = f"*spread({codes[-1].text})"
    return "".join(f"{part}, " for part in parts)


def boolean(text: str) -> Code:
    return Code(text, "boolean", truth=text)


def compared(operator: str, left: Code, right: Code) -> Code:
    """A comparison. Python's own operator does if enough is known of the operands."""
    kinds, one, other = {left.kind, right.kind}, left.one, right.one
    if operator in _ORDER:
        is_known = kinds == {"number"}
        text = f"({one} {operator} {other})" if is_known else f"{_ORDER[operator]}({one}, {other})"
    elif kinds in ({"", "text"}, {"text"}, {"number"}):
        text = f"({one} == {other})"
    elif kinds in ({"", "boolean"}, {"", "nil"}):
        text = f"({one} is {other})"
    else:
        text = f"equal({one}, {other})"
    return boolean(f"(not {text})" if operator == "~=" else text)
