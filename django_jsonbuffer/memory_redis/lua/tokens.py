"""The tokens of a Lua script."""

import re
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+|--\[\[.*?\]\]|--[^\n]*)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<text>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")
    |(?P<long>\[\[.*?\]\])
    |(?P<sign>\.\.\.|\.\.|==|~=|<=|>=|[-+*/%#<>=(){}\[\];,.])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE: Final = re.compile(r"\\(\d{1,3}|.)", re.DOTALL)
_ESCAPES: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_KEYWORDS: Final = {
    *("and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in"),
    *("local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while"),
}


class LuaSyntaxError(ValueError):
    """The script is not Lua, or uses a part of Lua that is not supported."""

    def __init__(self, source: str, at: int, fault: str) -> None:
        """`at` is the place of the fault among the characters of the source."""
        line = source.count("\n", 0, at) + 1
        super().__init__(f"Line {line}: {fault}.")


class Token(NamedTuple):
    kind: str
    """``"name"``, ``"number"``, ``"text"``, ``"end of script"``, or the keyword or sign itself."""

    value: str
    """The characters. For a text, its bytes as Latin-1."""

    at: int
    """The place of its first character in the source."""


def tokens_of(source: str) -> list[Token]:
    """All tokens, without comments, and one of the kind ``end of script``."""
    found, at, match = [], 0, _TOKEN.match
    while at < len(source):
        if (token := match(source, at)) is None:
            raise LuaSyntaxError(source, at, f"{source[at]!r} is not supported")
        if token.lastgroup != "space":
            found.append(_token(token.lastgroup or "", token[0], at, source))
        at = token.end()
    return [*found, Token("end of script", "", at)]


def _token(kind: str, text: str, at: int, source: str) -> Token:
    if kind == "text":
        return Token(kind, _unescaped(text[1:-1], at, source), at)
    if kind == "long":
        return Token("text", text[2:-2].removeprefix("\n"), at)
    return Token(text if kind == "sign" or text in _KEYWORDS else kind, text, at)


def _unescaped(text: str, at: int, source: str) -> str:
    def character(match: re.Match[str]) -> str:
        escaped = match[1]
        if not escaped.isdigit():
            return _ESCAPES.get(escaped, escaped)
        if int(escaped) > 255:
            raise LuaSyntaxError(source, at, f"'\\{escaped}' is not a byte")
        return chr(int(escaped))

    return _ESCAPE.sub(character, text) if "\\" in text else text
