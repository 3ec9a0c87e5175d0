"""The functions of Lua that a script may call, by the names that translated scripts use."""

import math
import struct
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any, Final

from .patterns import pattern
from .values import (
    LuaError,
    Table,
    Value,
    Values,
    number,
    number_in,
    plain_number,
    spread,
    text_of,
    type_of,
)


def _table(value: Value) -> Table:
    if type(value) is not Table:
        raise LuaError(b"bad argument: table expected, got %b" % type_of(value))
    return value


def _text(value: Value) -> bytes:
    if type(value) in (bytes, int, float):
        return text_of(value)
    raise LuaError(b"bad argument: string expected, got %b" % type_of(value))


def _ipairs(table: Value) -> Iterator[Values]:
    found = enumerate(_table(table).items, 1)
    return map(Values, takewhile(lambda pair: pair[1] is not None, found))


def _pairs(table: Value) -> Iterator[Values]:
    found = [*enumerate(_table(table).items, 1), *table.fields.items()]
    return (Values(pair) for pair in found if pair[1] is not None)


def _pcall(function: Callable[..., Value], *arguments: Value) -> Values:
    try:
        return Values((True, *spread(function(*arguments))))
    except LuaError as error:
        return Values((False, error.value))


def _tonumber(value: Value) -> Value:
    if type(value) is bytes:
        return number_in(value)
    return value if type(value) in (int, float) else None


def _floor(value: Value) -> Value:
    value = number(value)
    return math.floor(value) if math.isfinite(value) else value


def _byte(text: Value, at: int = 1) -> int | None:
    text = _text(text)
    at = int(at + len(text) + 1 if at < 0 else at)
    return text[at - 1] if 1 <= at <= len(text) else None


def _sub(text: Value, start: int = 1, end: int = -1) -> bytes:
    whole = _text(text)
    start = start + len(whole) + 1 if start < 0 else start
    end = end + len(whole) + 1 if end < 0 else end
    return whole[max(int(start), 1) - 1 : max(int(end), 0)]


def _find(text: Value, sought: bytes, start: int = 1, is_plain: bool = False) -> Value:
    text = _text(text)
    start = min(max(start + len(text) if start < 0 else start - 1, 0), len(text))
    if is_plain:
        found = text.find(sought, start)
        return Values((found + 1, found + len(sought))) if found >= 0 else None
    match = pattern(sought).search(text, start)
    return Values((match.start() + 1, match.end(), *match.groups())) if match else None


def _match(text: Value, sought: bytes) -> Value:
    match = pattern(sought).search(_text(text))
    return Values(match.groups() or (match[0],)) if match else None


def _gmatch(text: Value, sought: bytes) -> Iterator[Values]:
    for match in pattern(sought).everywhere.finditer(_text(text)):
        yield Values(match.groups() or (match[0],))


def _gsub(text: Value, sought: bytes, replacement: Value) -> Values:
    """The replacement is a plain text."""
    if type(replacement) is not bytes or b"%" in replacement:
        raise LuaError(b"only a replacement by a text without % is supported")
    return Values(pattern(sought).everywhere.subn(lambda _: replacement, _text(text)))


def _format(form: bytes, *arguments: Value) -> bytes:
    """``%s`` takes numbers too."""
    rest = iter(arguments)

    def filled(match: Any) -> bytes:
        kind = match[0][-1:]
        if kind == b"%":
            return b"%"
        if kind not in b"sdxXfg":
            raise LuaError(b"the format %b is not supported" % match[0])
        argument = next(rest, None)
        value = text_of(argument) if kind == b"s" else number(argument)
        return bytes(match[0] % (int(value) if kind in b"dxX" else value))

    return _DIRECTIVE.sub(filled, form)


_DIRECTIVE: Final = pattern(b"%%[0-9.+-]*.?").everywhere


def _insert(table: Value, *at_and_value: Value) -> None:
    *place, value = at_and_value
    if place:
        _table(table).items.insert(int(place[0]) - 1, value)
    else:
        _table(table).set(len(table) + 1, value)


def _concat(table: Value, separator: bytes = b"") -> bytes:
    return separator.join(map(_text, _table(table).items[: len(table)]))


def _pack(form: bytes, *arguments: Value) -> bytes:
    return b"".join(
        _text(value) if kind == "c" else struct.pack(f"<{kind}", _packable(kind, value))
        for kind, value in zip(_kinds(form), arguments, strict=True)
    )


def _packable(kind: str, value: Value) -> Value:
    return float(number(value)) if kind == "d" else int(number(value))


def _unpack(form: bytes, packed: bytes) -> Values:
    """The values, and the position behind them."""
    kinds = "<" + "".join(_kinds(form))
    size = struct.calcsize(kinds)
    if "c" in kinds or size > len(packed):
        raise LuaError(b"data string too short")
    return Values((*map(plain_number, struct.unpack_from(kinds, packed)), size + 1))


def _kinds(form: bytes) -> Iterator[str]:
    """The types of :mod:`struct` for those of the struct library of Redis: little-endian doubles,
    bytes, integers, and ``c0``, a text with its length."""
    names = {b"d": "d", b"B": "B", b"I4": "I", b"c0": "c"}
    found = [match[0] for match in pattern(b"[a-zA-Z]%d*").everywhere.finditer(form)]
    if b"<" + b"".join(found) != form or not names.keys() >= {*found}:
        raise LuaError(b"the struct format %b is not supported" % form)
    return map(names.__getitem__, found)


FUNCTIONS: Final[dict[str, Any]] = {
    "ipairs": _ipairs,
    "pairs": _pairs,
    "pcall": _pcall,
    "tonumber": _tonumber,
    "tostring": text_of,
    "type": type_of,
    "unpack": lambda table: Values(_table(table).items[: len(table)]),
    "math_abs": lambda value: abs(number(value)),
    "math_floor": _floor,
    "math_huge": math.inf,
    "math_max": lambda *some: max(map(number, some)),
    "math_min": lambda *some: min(map(number, some)),
    "string_byte": _byte,
    "string_find": _find,
    "string_format": _format,
    "string_gmatch": _gmatch,
    "string_gsub": _gsub,
    "string_len": lambda text: len(_text(text)),
    "string_lower": lambda text: _text(text).lower(),
    "string_match": _match,
    "string_sub": _sub,
    "struct_pack": _pack,
    "struct_unpack": _unpack,
    "table_concat": _concat,
    "table_insert": _insert,
}
"""``math_huge`` is no function."""
