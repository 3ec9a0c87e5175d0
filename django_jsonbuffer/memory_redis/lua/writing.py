"""What the translation of a script has read, and the Python source that it has written."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from .tokens import LuaSyntaxError, Token, tokens_of


@dataclass
class Function:
    """A Python function that is being written."""

    depth: int
    """Levels of indentation of its next line."""

    is_variadic: bool = False
    """Whether its last parameter is ``...``."""

    scopes: list[dict[str, str]] = field(default_factory=lambda: [{}])
    """For each open block, the innermost last: the Python names of the variables by their names."""

    lines: list[str] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    """The variables that a ``local function`` has declared."""

    assigned_outer: set[str] = field(default_factory=set)
    """Variables of the functions around it to which it assigns."""


class Writer:
    """Reads the tokens of a script, and writes the lines of Python functions."""

    def __init__(self, source: str, known: Mapping[str, object]) -> None:
        self._source = source
        self._known = known
        """The global functions and constants, such as ``tonumber`` and ``string_sub``."""
        self._tokens = tokens_of(source)
        self._at = 0
        self._numbers = 0
        self._functions = [Function(depth=1, scopes=[{"KEYS": "KEYS", "ARGV": "ARGV"}])]

    @property
    def _kind(self) -> str:
        """The kind of the next token."""
        return self._tokens[self._at].kind

    def _next(self, *expected: str) -> Token:
        token = self._tokens[self._at]
        if expected and token.kind not in expected:
            found = token.value or token.kind
            raise self._error(f"{found!r} stands where {expected[0]!r} should be")
        self._at += 1
        return token

    def _skips(self, kind: str) -> bool:
        """Read the next token if it is of this kind. Returns whether it was."""
        if self._tokens[self._at].kind == kind:
            self._at += 1
            return True
        return False

    def _error(self, fault: str) -> LuaSyntaxError:
        return LuaSyntaxError(self._source, self._tokens[self._at].at, fault)

    @property
    def _function(self) -> Function:
        """The function that is being written."""
        return self._functions[-1]

    def _write(self, line: str) -> None:
        self._function.lines.append("    " * self._function.depth + line)

    @contextmanager
    def _indented(self) -> Iterator[None]:
        """A block of the Python source, with a scope of its own."""
        function = self._function
        function.depth += 1
        function.scopes.append({})
        before = len(function.lines)
        yield
        if len(function.lines) == before:
            self._write("pass")
        function.scopes.pop()
        function.depth -= 1

    def _new_name(self, name: str) -> str:
        self._numbers += 1
        return f"{name}_{self._numbers}"

    def _declare(self, name: str) -> str:
        """Declare a local variable of the innermost block. Returns its Python name."""
        self._function.scopes[-1][name] = python_name = self._new_name(name)
        return python_name

    def _variable(self, name: str) -> str:
        """The Python name of a local variable. Empty if there is none."""
        for function in reversed(self._functions):
            for scope in reversed(function.scopes):
                if name in scope:
                    return scope[name]
        return ""

    def _is_local_function(self, variable: str) -> bool:
        return any(variable in function.functions for function in self._functions)

    def _note_assignment(self, variable: str) -> None:
        """Note that the function assigns to this variable, perhaps that of an outer function."""
        if self._is_local_function(variable):
            raise self._error("an assignment to a local function is not supported")
        if not any(variable in scope.values() for scope in self._function.scopes):
            self._function.assigned_outer.add(variable)
