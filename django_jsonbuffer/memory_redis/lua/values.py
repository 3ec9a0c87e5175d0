"""The values of Lua, and the operations that translated scripts call."""

from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any, Final, TypeAlias

Value: TypeAlias = Any
"""None, a bool, an int or a float, bytes, a :class:`Table`, or a function."""

EXACT: Final = 2**53
"""Up to this number, the integers of Lua are exact."""


class LuaError(Exception):
    """An error in a script, or one that a command raised. Its `value` is what ``pcall`` returns."""

    def __init__(self, value: Value) -> None:
        super().__init__(value)
        self.value = value


class Values(tuple[Value, ...]):
    """Several results of a function."""


class Table:
    """A table. Two tables are only equal if they are the same."""

    __slots__ = ("fields", "items")

    def __init__(self, items: list[Value], fields: dict[Value, Value]) -> None:
        self.items = items
        """The values of the keys 1, 2, 3 and so on. None for those that are missing."""
        self.fields = fields
        """The values of the other keys."""

    def __len__(self) -> int:
        items = self.items
        while items and items[-1] is None:
            items.pop()
        return len(items)

    def get(self, key: Value) -> Value:
        if type(key) is float and key.is_integer():
            key = int(key)
        if type(key) is int and 0 < key <= len(self.items):
            return self.items[key - 1]
        return self.fields.get(key)

    def set(self, key: Value, value: Value) -> None:
        if type(key) is float and key.is_integer():
            key = int(key)
        if type(key) is not int or not 0 < key <= len(self) + 1:
            if key is None:
                raise LuaError(b"table index is nil")
            self.fields[key] = value
        elif key <= len(self.items):
            self.items[key - 1] = value
        else:
            self.items.append(value)
            while (follower := self.fields.pop(len(self.items) + 1, None)) is not None:
                self.items.append(follower)


def first(value: Value) -> Value:
    """The one result that an expression uses."""
    if type(value) is Values:
        return value[0] if value else None
    return value


def spread(value: Value) -> tuple[Value, ...]:
    """All results of a call."""
    return value if type(value) is Values else (value,)


def exactly(count: int, values: tuple[Value, ...]) -> tuple[Value, ...]:
    """So many values: the rest is dropped, or is nil."""
    return (*values[:count], *(None,) * (count - len(values)))


def rounds(count: int, steps: Iterable[Value]) -> Iterator[tuple[Value, ...]]:
    """The values of each round of a loop with so many names."""
    for step in steps:
        yield exactly(count, spread(step))


def counted(start: Value, end: Value, step: Value = 1) -> range:
    """The values of a loop over numbers, which must be whole."""
    for value in (start, end, step):
        if not isfinite(number(value)):
            raise LuaError(b"a loop without an end is not supported")
    return range(int(start), int(end // 1) + (1 if step > 0 else -1), int(step))


def index(owner: Value, key: Value) -> Value:
    if type(owner) is Table:
        return owner.fields.get(key) if type(key) is bytes else owner.get(key)
    if type(owner) is bytes:  # the functions for strings, which no script calls like this
        return None
    raise LuaError(b"attempt to index a %b value" % type_of(owner))


def put(owner: Value, key: Value, value: Value) -> None:
    if type(owner) is not Table:
        raise LuaError(b"attempt to index a %b value" % type_of(owner))
    owner.set(key, value)


def call(function: Value, *arguments: Value) -> Value:
    if not callable(function):
        raise LuaError(b"attempt to call a %b value" % type_of(function))
    return function(*arguments)


def is_true(value: Value) -> bool:
    return value is not None and value is not False


def equal(left: Value, right: Value) -> bool:
    return left is right or (left == right and (type(left) is bool) == (type(right) is bool))


def less(left: Value, right: Value) -> bool:
    _require_order(left, right)
    return bool(left < right)


def more(left: Value, right: Value) -> bool:
    _require_order(left, right)
    return bool(left > right)


def at_most(left: Value, right: Value) -> bool:
    _require_order(left, right)
    return bool(left <= right)


def at_least(left: Value, right: Value) -> bool:
    _require_order(left, right)
    return bool(left >= right)


def _require_order(left: Value, right: Value) -> None:
    if type(left) is type(right) in (int, float, bytes):
        return
    kinds = type_of(left), type_of(right)
    if kinds != (b"number", b"number"):
        raise LuaError(b"attempt to compare %b with %b" % kinds)


def length(value: Value) -> int:
    if type(value) is bytes or type(value) is Table:
        return len(value)
    raise LuaError(b"attempt to get length of a %b value" % type_of(value))


def concatenated(left: Value, right: Value) -> bytes:
    for value in (left, right):
        if type_of(value) not in (b"string", b"number"):
            raise LuaError(b"attempt to concatenate a %b value" % type_of(value))
    return text_of(left) + text_of(right)


def number(value: Value) -> Any:
    """The operand of an arithmetic operation."""
    if type(value) is int or type(value) is float:
        return value
    if type(value) is bytes and (converted := number_in(value)) is not None:
        return converted
    raise LuaError(b"attempt to perform arithmetic on a %b value" % type_of(value))


def divided(left: Any, right: Any) -> float:
    if right == 0:
        return float("nan") if left == 0 or left != left else float("inf") * left
    return float(left / right)


def remainder(left: Any, right: Any) -> Any:
    return left % right if right != 0 else float("nan")


def number_in(text: bytes) -> int | float | None:
    """The number that a text spells, or None."""
    if b"_" in text or b"n" in text.lower():  # Python reads 1_0, inf and nan
        return None
    try:
        return plain_number(float(text))
    except ValueError:
        return None


def plain_number(value: float) -> int | float:
    """The same number, as an int if it is one."""
    return int(value) if -EXACT <= value <= EXACT and value == value // 1 else value


def text_of(value: Value) -> bytes:
    if type(value) is bytes:
        return value
    if value is None:
        return b"nil"
    if type(value) is bool:
        return b"true" if value else b"false"
    return b"%.14g" % value if type(value) in (int, float) else b"%b: 0x0" % type_of(value)


def type_of(value: Value) -> bytes:
    if value is None:
        return b"nil"
    names = {bool: b"boolean", int: b"number", float: b"number", bytes: b"string", Table: b"table"}
    return names.get(type(value), b"function")
