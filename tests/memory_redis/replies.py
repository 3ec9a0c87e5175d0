"""What is compared of the replies of two servers: not that in which real servers differ as well."""

import re
from typing import Any, Final

import redis

_OWN: Final = (b"CLIENT", b"COMMAND", b"DUMP", b"HELLO", b"INFO", b"SELECT", b"TIME")
"""Commands to which each server has replies of its own."""

_UNORDERED: Final = (b"HKEYS", b"HVALS", b"KEYS", b"SMEMBERS")

_MALFORMED: Final = ("syntax error", "unknown ", "wrong number of arg", "unbalanced ")
"""How errors begin that say that a command is malformed, in lower case."""

_REST: Final = re.compile(r"( script: |[.,]( |$)).*")
"""The rest of the text of an error. It depends on the version, or names the place in a script."""


def normal(command: list[bytes], reply: Any, is_old: bool) -> Any:
    """The reply as it is compared. Before 7.2, a server does not list consumers that never held an
    entry."""
    name = command[0].upper()
    if name in _OWN:
        return None
    reply = _with_faults(reply)
    if reply == b"-nan":  # the sign depends on the processor
        return b"nan"
    if not isinstance(reply, list):
        return reply
    if name in _UNORDERED:
        return sorted(reply)
    if name == b"HGETALL":
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return sorted(pair for pair in pairs if not _is_server(*pair))
    if name == b"XINFO":
        return _infos(reply, is_old)
    return reply


def _with_faults(reply: Any) -> Any:
    """The reply with what is compared of errors in their places."""
    if isinstance(reply, redis.ResponseError):
        return type(reply), _fault(str(reply))
    return [*map(_with_faults, reply)] if isinstance(reply, list) else reply


def _is_server(field: bytes, value: bytes) -> bool:
    """Whether it is the field in which a bucket keeps the id of its server."""
    return field == b"server" and len(value) == 40


def _fault(error: str) -> str:
    text = _REST.sub("", error)
    if text.lower().startswith(_MALFORMED):
        return "a malformed command"
    is_of_script = text.startswith("user_script:") or text.endswith("must be strings or integers")
    return "a fault of the script" if is_of_script else text


def _infos(reply: list[Any], is_old: bool) -> list[Any]:
    """What all versions know of groups, or of consumers."""
    names = [b"name", b"consumers", b"pending", b"last-delivered-id"]
    if is_old:
        names.remove(b"consumers")
    infos = [dict(zip(info[::2], info[1::2], strict=True)) for info in reply]
    known = [{name: info[name] for name in names if name in info} for info in infos]
    are_consumers = bool(infos) and b"last-delivered-id" not in infos[0]
    return [info for info in known if not (is_old and are_consumers) or info[b"pending"]]
