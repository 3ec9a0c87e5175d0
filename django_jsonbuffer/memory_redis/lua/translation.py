"""Translates a Lua script into the source of a Python function.

Supported is Lua 5.1 without methods, ``^``, ``[key] =`` in tables, numbers like ``0x10``, long
brackets with ``=``, metatables, and global variables of scripts. Each local variable gets a name of
its own, because a scope of Python is a whole function. So functions that are made in different
rounds of a loop share the variables of the loop.
"""

from collections.abc import Callable, Mapping
from typing import Final

from .code import Code, listed
from .expressions import Expressions

ENTRY: Final = "script"
"""Name of the Python function. It has two parameters, the tables ``KEYS`` and ``ARGV``."""


def translate(source: str, known: Mapping[str, object]) -> str:
    """The Python source of a script. Raises :class:`~.tokens.LuaSyntaxError`.

    `known` are the global functions and constants, those of a library with an underscore, as in
    ``string_sub``.
    """
    return _Statements(source, known).script()


class _Statements(Expressions):
    def script(self) -> str:
        self._statements("end of script")
        lines = [f"def {ENTRY}(KEYS, ARGV):", *self._function.lines, "    return None"]
        return "\n".join(lines) + "\n"

    def _statements(self, *ends: str) -> str:
        translations: dict[str, Callable[[], object]] = {
            "do": self._do,
            "for": self._for,
            "function": self._named_function,
            "if": self._if,
            "local": self._local,
            "repeat": self._repeat,
            "return": self._return,
            "while": self._while,
            "break": lambda: self._write("break"),
        }
        while self._kind not in ends:
            if (translation := translations.get(self._kind)) is None:
                self._assignment_or_call()
            else:
                self._next()
                translation()
            self._skips(";")
        return self._next().kind

    def _do(self) -> None:
        self._write("if True:")
        with self._indented():
            self._statements("end")

    def _local(self) -> None:
        if self._skips("function"):
            name = self._declare(self._next("name").value)
            self._function.functions.add(name)
            self._body(name)
            return
        names = self._names()
        values = self._expressions() if self._skips("=") else []
        variables = [self._declare(name) for name in names]
        self._assign([Code(name, variable=name) for name in variables], values)

    def _names(self) -> list[str]:
        names = [self._next("name").value]
        while self._skips(","):
            names.append(self._next("name").value)
        return names

    def _named_function(self) -> None:
        target = self._named()
        function = self._body(self._new_name("function"))
        self._assign([target], [Code(function)])

    def _return(self) -> None:
        if self._kind in ("end", "else", "elseif", "until", "end of script"):
            self._write("return Values()")
            return
        codes = self._expressions()
        is_one = len(codes) == 1
        self._write(f"return {codes[0].text if is_one else f'Values(({listed(codes)}))'}")

    def _if(self) -> None:
        end = self._branch("if")
        while end == "elseif":
            end = self._branch("elif")
        if end == "else":
            self._write("else:")
            with self._indented():
                self._statements("end")

    def _branch(self, word: str) -> str:
        before = len(self._function.lines)
        condition = self._expression().condition
        if word == "elif" and len(self._function.lines) > before:
            raise self._error("a function in the condition of an elseif is not supported")
        self._next("then")
        self._write(f"{word} {condition}:")
        with self._indented():
            return self._statements("elseif", "else", "end")

    def _while(self) -> None:
        condition = self._expression().condition
        self._next("do")
        self._write(f"while {condition}:")
        with self._indented():
            self._statements("end")

    def _repeat(self) -> None:
        self._write("while True:")
        with self._indented():
            self._statements("until")
            self._write(f"if {self._expression().condition}: break")

    def _for(self) -> None:
        names = self._names()
        is_numeric = self._next("=", "in").kind == "="
        if is_numeric and len(names) > 1:
            raise self._error("a loop over numbers has one variable")
        codes = self._expressions()
        self._next("do")
        values = ", ".join(code.one for code in codes)
        values = f"counted({values})" if is_numeric else f"rounds({len(names)}, {values})"
        held = self._new_name("held")
        self._write(f"for {held} in {values}:")
        with self._indented():
            declared = [self._declare(name) for name in names]
            self._write(f"{', '.join(declared)}{'' if is_numeric else ','} = {held}")
            self._statements("end")

    def _assignment_or_call(self) -> None:
        targets = [self._suffixed()]
        if self._kind not in ("=", ","):
            if not targets[0].is_open:
                raise self._error("a statement is expected here")
            self._write(targets[0].text)
            return
        while self._skips(","):
            targets.append(self._suffixed())
        self._next("=")
        self._assign(targets, self._expressions())

    def _assign(self, targets: list[Code], values: list[Code]) -> None:
        if len(targets) == 1 == len(values):
            self._set(targets[0], targets[0].place, values[0].one)
            return
        # Lua evaluates all expressions before it assigns anything.
        places = [target.place and self._held(f"({target.place})") for target in targets]
        received = [target.variable or self._new_name("held") for target in targets]
        is_even = len(targets) == len(values) and not values[-1].is_open
        source = listed(values) if is_even else f"exactly({len(targets)}, ({listed(values)}))"
        self._write(f"{', '.join(received)}, = {source}")
        for target, place, value in zip(targets, places, received, strict=True):
            self._set(target, place and f"*{place}", value)

    def _held(self, value: str) -> str:
        """Write the assignment of a value to a new Python variable. Returns its name."""
        held = self._new_name("held")
        self._write(f"{held} = {value}")
        return held

    def _set(self, target: Code, place: str, value: str) -> None:
        if place:
            self._write(f"put({place}, {value})")
        elif target.variable:
            self._note_assignment(target.variable)
            if target.variable != value:
                self._write(f"{target.variable} = {value}")
        else:
            raise self._error("only a local variable or a place in a table can be assigned to")
