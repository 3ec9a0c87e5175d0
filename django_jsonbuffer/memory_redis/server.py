"""The server: it runs one command at a time, whichever thread sends it."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final
from weakref import WeakSet

from .arguments import integer
from .commands import collections, groups, keys, streams, strings
from .errors import ErrorReply
from .keyspace import Keyspace
from .scripting import LuaScript


def _name_of(command: Callable[..., Any]) -> bytes:
    return command.__name__.strip("_").upper().replace("_", " ").encode()


def _shown(name: bytes) -> str:
    return name.decode(errors="replace")


class MemoryRedis:
    """A Redis in the memory of this process, with one database. Threads may share it.

    It knows the commands and the parts of Lua that this app uses, and few more. A child process
    that is forked has a copy of its own. `clock` returns microseconds since 1970.
    """

    def __init__(self, clock: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        data = Keyspace(clock)
        self._commands: dict[bytes, Callable[..., Any]] = {
            _name_of(command): partial(command, data)
            for module in (collections, groups, keys, streams, strings)
            for command in module.COMMANDS
        }
        own = (
            self._eval,
            self._evalsha,
            self._script_load,
            self._script_exists,
            self._script_flush,
        )
        self._commands |= {_name_of(command): command for command in own}
        self._scripts: dict[bytes, LuaScript] = {}
        self._lock = threading.RLock()
        _servers.add(self)

    def execute(self, command: Sequence[bytes]) -> Any:
        """The reply: None, an int, bytes, a str for a status, or a list.

        Raises :class:`ErrorReply`.
        """
        with self._lock:
            return self._execute(command)

    def execute_all(self, commands: Sequence[Sequence[bytes]]) -> list[Any]:
        """The replies of a transaction. An error is a reply as well."""
        with self._lock:
            return [self._reply_or_error(command) for command in commands]

    def _reply_or_error(self, command: Sequence[bytes]) -> Any:
        try:
            return self._execute(command)
        except ErrorReply as error:
            return error

    def _execute(self, command: Sequence[bytes]) -> Any:
        name, *arguments = command
        if (function := self._commands.get(name.upper())) is None:
            name, arguments = b" ".join(command[:2]), arguments[1:]
            if (function := self._commands.get(name.upper())) is None:
                raise ErrorReply(f"ERR unknown command '{_shown(name)}' of a Redis in memory")
        try:
            return function(*arguments)
        except TypeError as error:
            if error.__traceback__ and error.__traceback__.tb_next:
                raise  # from within the function
            command_name = _shown(name).lower().replace(" ", "|")
            message = f"ERR wrong number of arguments for '{command_name}' command"
            raise ErrorReply(message) from error

    def _eval(self, source: bytes, count: bytes, *rest: bytes) -> Any:
        return self._evalsha(self._script_load(source), count, *rest)

    def _evalsha(self, sha: bytes, count: bytes, *rest: bytes) -> Any:
        keys = integer(count)
        if not 0 <= keys <= len(rest):
            raise ErrorReply("ERR Number of keys can't be greater than number of args")
        if (script := self._scripts.get(sha.lower())) is None:
            raise ErrorReply("NOSCRIPT No matching script. Please use EVAL.")
        return script.run(rest[:keys], rest[keys:])

    def _script_load(self, source: bytes) -> bytes:
        """Keep a script. Returns its digest, by which ``EVALSHA`` finds it."""
        sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
        if sha not in self._scripts:
            self._scripts[sha] = LuaScript(source.decode("latin-1"), self._execute)
        return sha

    def _script_exists(self, *shas: bytes) -> list[int]:
        return [int(sha.lower() in self._scripts) for sha in shas]

    def _script_flush(self, *mode: bytes) -> str:
        self._scripts.clear()
        return "OK"


_servers: Final[WeakSet[MemoryRedis]] = WeakSet()


def _renew_locks() -> None:
    """In a child process after a fork: a thread of the parent may have held the lock."""
    for server in [*_servers]:
        server._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
