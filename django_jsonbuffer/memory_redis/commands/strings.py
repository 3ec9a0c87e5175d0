"""Commands of strings."""

from typing import Final

from django_jsonbuffer.memory_redis.arguments import LARGEST, integer, value_of
from django_jsonbuffer.memory_redis.errors import SYNTAX, ErrorReply
from django_jsonbuffer.memory_redis.keyspace import Keyspace

_UNITS_MS: Final = {b"EX": 1000, b"PX": 1}
_MOST_BYTES: Final = 512 * 1024 * 1024


def get(data: Keyspace, key: bytes) -> bytes | None:
    return data.get(key, bytes)


def set_(data: Keyspace, key: bytes, value: bytes, *options: bytes) -> str | None:
    left_ms, flags, rest = None, set(), [*options]
    while rest:
        match option := rest.pop(0).upper():
            case b"EX" | b"PX":
                left_ms = integer(value_of(rest)) * _UNITS_MS[option]
            case b"KEEPTTL" | b"NX" | b"XX":
                flags.add(option)
            case _:
                raise ErrorReply(SYNTAX)
    if left_ms is not None and left_ms <= 0:
        raise ErrorReply("ERR invalid expire time in 'set' command")
    if (b"XX" if data.any(key) is None else b"NX") in flags:
        return None
    if b"KEEPTTL" not in flags:
        data.expiries.pop(key, None)
    data.set(key, value)
    if left_ms is not None:
        data.expiries[key] = data.now_ms() + left_ms
    return "OK"


def setrange(data: Keyspace, key: bytes, start: bytes, value: bytes) -> int:
    at = integer(start)
    if at < 0:
        raise ErrorReply("ERR offset is out of range")
    old = data.get(key, bytes) or b""
    if not value:
        return len(old)
    if at + len(value) > _MOST_BYTES:
        raise ErrorReply("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    data.set(key, old[:at].ljust(at, b"\0") + value + old[at + len(value) :])
    return max(len(old), at + len(value))


def getrange(data: Keyspace, key: bytes, start: bytes, end: bytes) -> bytes:
    """A negative place counts from the end. Too far from the end is the first one."""
    first, last = integer(start), integer(end)
    value = data.get(key, bytes) or b""
    if last < first < 0:
        return b""
    first, last = (max(at + len(value), 0) if at < 0 else at for at in (first, last))
    return value[first : last + 1]


def strlen(data: Keyspace, key: bytes) -> int:
    return len(data.get(key, bytes) or b"")


def append(data: Keyspace, key: bytes, value: bytes) -> int:
    data.set(key, (data.get(key, bytes) or b"") + value)
    return strlen(data, key)


def incrby(data: Keyspace, key: bytes, by: bytes) -> int:
    added = integer(by)
    old = data.get(key, bytes)
    number = added if old is None else integer(old) + added
    if not -LARGEST - 1 <= number <= LARGEST:
        raise ErrorReply("ERR increment or decrement would overflow")
    data.set(key, b"%d" % number)
    return number


def decrby(data: Keyspace, key: bytes, by: bytes) -> int:
    return incrby(data, key, b"%d" % -integer(by))


COMMANDS: Final = (get, set_, setrange, getrange, strlen, append, incrby, decrby)
