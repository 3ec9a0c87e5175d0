"""Commands of keys of any type, and of the server."""

import fnmatch
import re
from typing import Any, Final

from django_jsonbuffer.memory_redis.arguments import integer
from django_jsonbuffer.memory_redis.errors import NO_KEY, ErrorReply
from django_jsonbuffer.memory_redis.keyspace import Keyspace


def del_(data: Keyspace, key: bytes, *keys: bytes) -> int:
    return sum(data.any(each) is not None and data.remove(each) for each in (key, *keys))


def unlink(data: Keyspace, key: bytes, *keys: bytes) -> int:
    return del_(data, key, *keys)


def exists(data: Keyspace, key: bytes, *keys: bytes) -> int:
    return sum(data.any(each) is not None for each in (key, *keys))


def type_(data: Keyspace, key: bytes) -> str:
    return data.kind(key)


def rename(data: Keyspace, old: bytes, new: bytes) -> str:
    if (value := data.any(old)) is None:
        raise ErrorReply(NO_KEY)
    expiry = data.expiries.get(old)
    data.remove(old)
    data.remove(new)
    data.set(new, value)
    if expiry is not None:
        data.expiries[new] = expiry
    return "OK"


def pexpire(data: Keyspace, key: bytes, ms: bytes) -> int:
    left_ms = integer(ms)
    if data.any(key) is None:
        return 0
    if left_ms > 0:
        data.expiries[key] = data.now_ms() + left_ms
    else:
        data.remove(key)
    return 1


def expire(data: Keyspace, key: bytes, seconds: bytes) -> int:
    return pexpire(data, key, b"%d" % (integer(seconds) * 1000))


def pttl(data: Keyspace, key: bytes) -> int:
    if data.any(key) is None:
        return -2
    return data.expiries[key] - data.now_ms() if key in data.expiries else -1


def ttl(data: Keyspace, key: bytes) -> int:
    left = pttl(data, key)
    return left if left < 0 else (left + 500) // 1000


def persist(data: Keyspace, key: bytes) -> int:
    return int(data.any(key) is not None and data.expiries.pop(key, None) is not None)


def keys(data: Keyspace, sought: bytes) -> list[bytes]:
    expression = re.compile(fnmatch.translate(sought.decode("latin-1")).encode("latin-1"))
    return [*filter(expression.match, data.keys())]


def dump(data: Keyspace, key: bytes) -> bytes | None:
    """A text that is the same for the same value. A real Redis could not restore it."""
    value = data.any(key)
    return None if value is None else repr(value).encode()


def scan(data: Keyspace, cursor: bytes, *options: bytes) -> list[Any]:
    """All keys at once."""
    named = {name.upper(): value for name, value in zip(options[::2], options[1::2], strict=True)}
    return [b"0", keys(data, named.get(b"MATCH", b"*"))]


def dbsize(data: Keyspace) -> int:
    return len(data)


def flushdb(data: Keyspace, *mode: bytes) -> str:
    data.clear()
    return "OK"


def flushall(data: Keyspace, *mode: bytes) -> str:
    return flushdb(data)


def ping(data: Keyspace) -> str:
    return "PONG"


def time_(data: Keyspace) -> list[bytes]:
    now = data.clock()
    return [b"%d" % (now // 1_000_000), b"%d" % (now % 1_000_000)]


def info(data: Keyspace, *sections: bytes) -> bytes:
    """The facts about a server that this app reads."""
    return (
        b"redis_version:7.4.0\r\nredis_mode:standalone\r\nrole:master\r\n"
        b"master_replid:0000000000000000000000000000000000000000\r\n"
        b"maxmemory_policy:noeviction\r\naof_enabled:1\r\n"
        b"connected_slaves:1\r\nmin_slaves_good_slaves:1\r\n"  # see wait()
    )


def config_get(data: Keyspace, *names: bytes) -> list[bytes]:
    return []


def publish(data: Keyspace, channel: bytes, message: bytes) -> int:
    """Nobody listens: a connection without a socket cannot subscribe."""
    return 0


def wait(data: Keyspace, replicas: bytes, ms: bytes) -> int:
    """As many replicas have all writes as the caller asks for."""
    return integer(replicas)


def waitaof(data: Keyspace, local: bytes, replicas: bytes, ms: bytes) -> list[int]:
    """As many append-only files have all writes as the caller asks for."""
    return [integer(local), integer(replicas)]


COMMANDS: Final = (
    *(del_, unlink, exists, type_, rename, pexpire, expire, pttl, ttl, persist, keys, scan, dump),
    *(dbsize, flushdb, flushall, ping, time_, info, config_get, publish),
    *(wait, waitaof),
)
