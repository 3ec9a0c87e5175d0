"""Lua scripts, as ``EVAL`` runs them."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any, Final

from .errors import ErrorReply
from .lua import values
from .lua.library import FUNCTIONS
from .lua.tokens import LuaSyntaxError
from .lua.translation import ENTRY, translate
from .lua.values import EXACT, LuaError, Table, Value, first

Execute = Callable[[Sequence[bytes]], Any]
"""Runs a command: returns its reply, or raises :class:`ErrorReply`."""


class LuaScript:
    """A script, and the server whose commands it calls."""

    def __init__(self, source: str, execute: Execute) -> None:
        """Raises :class:`ErrorReply` if it is not Lua, or uses a part that is not supported."""
        self._execute = execute
        own = {"redis_call": self._call, "redis_pcall": self._pcall}
        names = {**vars(values), **KNOWN, **own}
        exec(_compiled(source), names)  # noqa: S102  (the source is a translation)
        self._function = names[ENTRY]

    def run(self, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Any:
        """The reply. Raises :class:`ErrorReply`: what the script has written until then stays."""
        try:
            return _from_lua(first(self._function(Table([*keys], {}), Table([*arguments], {}))))
        except LuaError as error:
            if type(error.value) is Table:  # of a command
                raise _error_in(error.value) from error
            raise ErrorReply(f"ERR user_script: {error.value.decode()}") from error

    def _call(self, *parts: Value) -> Value:
        try:
            command = [part if type(part) is bytes else _argument(part) for part in parts]
            return _to_lua(self._execute(command))
        except ErrorReply as error:
            raise LuaError(Table([], {b"err": str(error).encode()})) from error

    def _pcall(self, *parts: Value) -> Value:
        try:
            return self._call(*parts)
        except LuaError as error:
            return error.value


KNOWN: Final[dict[str, Any]] = {
    **FUNCTIONS,
    # As in a Redis that is older than its permissions, because every user may do everything.
    "redis_acl_check_cmd": None,
    "redis_call": LuaScript._call,
    "redis_error_reply": lambda text: Table([], {b"err": text}),
    "redis_pcall": LuaScript._pcall,
    "redis_status_reply": lambda text: Table([], {b"ok": text}),
}


@lru_cache(200)
def _compiled(source: str) -> CodeType:
    try:
        return compile(translate(source, KNOWN), "<script>", "exec")
    except LuaSyntaxError as error:
        raise ErrorReply(f"ERR Error compiling script: {error}") from error


def _argument(value: Value) -> bytes:
    if type(value) is bytes:
        return value
    if type(value) in (int, float):
        return b"%d" % value if abs(value) < 2**63 and value == value // 1 else b"%.17g" % value
    raise LuaError(b"Lua redis lib command arguments must be strings or integers")


def _to_lua(reply: Any) -> Value:
    kind = type(reply)
    if kind is bytes:
        return reply
    if kind is int:
        return reply if -EXACT <= reply <= EXACT else float(reply)
    if kind is list:
        return Table([*map(_to_lua, reply)], {})
    return False if reply is None else Table([], {b"ok": reply.encode()})


def _from_lua(value: Value) -> Any:
    kind = type(value)
    if kind is bytes:
        return value
    if kind is Table:
        return _from_table(value)
    if kind is int or kind is float:
        return int(value)
    return 1 if value is True else None


def _from_table(table: Table) -> Any:
    if b"err" in table.fields:
        raise _error_in(table)
    if b"ok" in table.fields:
        return table.fields[b"ok"].decode()
    end = table.items.index(None) if None in table.items else len(table.items)
    return [_from_lua(item) for item in table.items[:end]]


def _error_in(table: Table) -> ErrorReply:
    return ErrorReply(table.fields[b"err"].decode(errors="replace"))
