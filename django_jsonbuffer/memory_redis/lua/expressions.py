"""The translation of expressions."""

from abc import abstractmethod
from typing import Final

from .code import Code, boolean, compared, listed
from .values import number_in
from .writing import Function, Writer

_BINARY: Final = ("or", "and", "< > <= >= == ~=", "..", "+ -", "* / %")
"""The binary operators, those that bind least first."""

_LEVELS: Final = {
    operator: level for level, operators in enumerate(_BINARY) for operator in operators.split()
}
_ARITHMETIC: Final = {
    "+": "({} + {})",
    "-": "({} - {})",
    "*": "({} * {})",
    "/": "divided({}, {})",
    "%": "remainder({}, {})",
}
_CONSTANTS: Final = {"nil": "None", "true": "True", "false": "False"}


class Expressions(Writer):
    def _expressions(self) -> list[Code]:
        codes = [self._expression()]
        while self._skips(","):
            codes.append(self._expression())
        return codes

    def _expression(self, least: int = 0) -> Code:
        """An expression whose binary operators have at least this level."""
        code = self._unary()
        while (level := _LEVELS.get(self._kind, -1)) >= least:
            operator = self._next().kind
            # Only .. binds to the right.
            right = self._expression(level if operator == ".." else level + 1)
            code = self._combined(operator, code, right)
        return code

    def _combined(self, operator: str, left: Code, right: Code) -> Code:
        if operator in _ARITHMETIC:
            return Code(_ARITHMETIC[operator].format(left.number, right.number), "number")
        if operator == "..":
            return Code(f"concatenated({left.one}, {right.one})", "text")
        if operator not in ("and", "or"):
            return compared(operator, left, right)
        condition = f"({left.condition} {operator} {right.condition})"
        if left.kind == "boolean":
            kind = "boolean" if right.kind == "boolean" else ""
            return Code(f"({left.text} {operator} {right.one})", kind, truth=condition)
        held = self._new_name("held")
        first, second = (right.one, held) if operator == "and" else (held, right.one)
        return Code(f"({first} if is_true({held} := {left.one}) else {second})", truth=condition)

    def _unary(self) -> Code:
        match self._kind:
            case "not":
                self._next()
                return boolean(f"(not {self._unary().condition})")
            case "-":
                self._next()
                return Code(f"(-{self._unary().number})", "number")
            case "#":
                self._next()
                return Code(f"length({self._unary().one})", "number")
        return self._simple()

    def _simple(self) -> Code:
        kind = self._kind
        if kind in _CONSTANTS:
            text = _CONSTANTS[self._next().kind]
            return Code(text, "nil") if kind == "nil" else boolean(text)
        if kind == "number":
            return Code(repr(number_in(self._next().value.encode())), "number")
        if kind == "text":
            return Code(repr(self._next().value.encode("latin-1")), "text")
        if kind == "...":
            if not self._function.is_variadic:
                raise self._error("this function has no ...")
            self._next()
            return Code("Values(rest)", is_open=True)
        if kind == "{":
            return self._table()
        if kind == "function":
            self._next()
            return Code(self._body(self._new_name("function")))
        return self._suffixed()

    def _suffixed(self) -> Code:
        """A variable or an expression in brackets, with the keys and the calls that follow it."""
        if self._skips("("):
            code = self._expression()
            code = Code(code.one, code.kind, truth=code.truth)
            self._next(")")
        else:
            code = self._named()
        while self._kind in (".", "[", "("):
            if self._skips("("):
                arguments = self._arguments()
                is_known = code.kind == "function"
                call = f"{code.text}({arguments})" if is_known else f"call({code.one}, {arguments})"
                code = Code(call, is_open=True)
            else:
                place = f"{code.one}, {self._key()}"
                code = Code(f"index({place})", place=place)
        return code

    def _named(self) -> Code:
        name = self._next("name").value
        if variable := self._variable(name):
            kind = "function" if self._is_local_function(variable) else ""
            return Code(variable, kind, variable=variable)
        if self._kind == "." and name not in self._known:
            self._next()
            name += f"_{self._next('name').value}"
        if name not in self._known:
            self._at -= 1
            raise self._error(f"{name.replace('_', '.', 1)!r} is not known")
        return Code(name, "function" if callable(self._known[name]) else "")

    def _key(self) -> str:
        if self._skips("."):
            return repr(self._next("name").value.encode())
        self._next("[")
        key = self._expression().one
        self._next("]")
        return key

    def _arguments(self) -> str:
        if self._skips(")"):
            return ""
        codes = self._expressions()
        self._next(")")
        return listed(codes)

    def _table(self) -> Code:
        self._next("{")
        items: list[Code] = []
        fields: list[str] = []
        while not self._skips("}"):
            if self._kind == "[":
                raise self._error("a key in brackets is not supported here")
            if self._kind == "name" and self._tokens[self._at + 1].kind == "=":
                key = repr(self._next().value.encode())
                self._next("=")
                fields.append(f"{key}: {self._expression().one}")
                items = [Code(item.one) for item in items]  # none of them is the last one
            else:
                items.append(self._expression())
            if self._kind != "}":
                self._next(",", ";")
        return Code(f"Table([{listed(items)}], {{{', '.join(fields)}}})")

    def _body(self, python_name: str) -> str:
        """Write a function, from its parameters to its ``end``. Returns its Python name."""
        outer = self._function
        function = Function(depth=outer.depth + 1)
        self._functions.append(function)
        parameters = self._parameters()
        self._statements("end")
        self._functions.pop()
        self._write(f"def {python_name}({parameters}):")
        indentation = "    " * function.depth
        if function.assigned_outer:
            outer.lines.append(
                f"{indentation}nonlocal {', '.join(sorted(function.assigned_outer))}"
            )
        outer.lines += [*function.lines, f"{indentation}return Values()"]
        return python_name

    def _parameters(self) -> str:
        """Missing arguments are nil, and more than expected are dropped."""
        parameters: list[str] = []
        self._next("(")
        while not self._skips(")"):
            if self._skips("..."):
                self._function.is_variadic = True
            else:
                parameters.append(f"{self._declare(self._next('name').value)}=None")
            if self._kind != ")":
                self._next(",")
        return ", ".join([*parameters, "*rest"])

    @abstractmethod
    def _statements(self, *ends: str) -> str:
        """Translate statements, up to one of the keywords `ends`. Returns the keyword."""
