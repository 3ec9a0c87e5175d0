"""Commands of hashes, lists and sets."""

from typing import Final

from django_jsonbuffer.memory_redis.arguments import LARGEST, integer
from django_jsonbuffer.memory_redis.errors import NO_KEY, ErrorReply
from django_jsonbuffer.memory_redis.keyspace import Keyspace


def hset(data: Keyspace, key: bytes, *fields: bytes) -> int:
    if not fields or len(fields) % 2:
        raise ErrorReply("ERR wrong number of arguments for 'hset' command")
    found = data.at(key, dict)
    before = len(found)
    found.update(zip(fields[::2], fields[1::2], strict=True))
    return len(found) - before


def hget(data: Keyspace, key: bytes, field: bytes) -> bytes | None:
    return _hash(data, key).get(field)


def hmget(data: Keyspace, key: bytes, field: bytes, *fields: bytes) -> list[bytes | None]:
    found = _hash(data, key)
    return [found.get(each) for each in (field, *fields)]


def hgetall(data: Keyspace, key: bytes) -> list[bytes]:
    return [each for pair in _hash(data, key).items() for each in pair]


def hvals(data: Keyspace, key: bytes) -> list[bytes]:
    return [*_hash(data, key).values()]


def hkeys(data: Keyspace, key: bytes) -> list[bytes]:
    return [*_hash(data, key)]


def hexists(data: Keyspace, key: bytes, field: bytes) -> int:
    return int(field in _hash(data, key))


def hstrlen(data: Keyspace, key: bytes, field: bytes) -> int:
    return len(_hash(data, key).get(field, b""))


def hlen(data: Keyspace, key: bytes) -> int:
    return len(_hash(data, key))


def hdel(data: Keyspace, key: bytes, field: bytes, *fields: bytes) -> int:
    found = _hash(data, key)
    removed = sum(found.pop(each, None) is not None for each in (field, *fields))
    data.drop_if_empty(key)
    return removed


def hincrby(data: Keyspace, key: bytes, field: bytes, by: bytes) -> int:
    added, old = integer(by), _hash(data, key).get(field, b"0")
    number = integer(old, fault="ERR hash value is not an integer") + added
    if not -LARGEST - 1 <= number <= LARGEST:
        raise ErrorReply("ERR increment or decrement would overflow")
    data.at(key, dict)[field] = b"%d" % number
    return number


def _hash(data: Keyspace, key: bytes) -> dict[bytes, bytes]:
    return data.get(key, dict) or {}


def rpush(data: Keyspace, key: bytes, value: bytes, *values: bytes) -> int:
    found = data.at(key, list)
    found += (value, *values)
    return len(found)


def lpush(data: Keyspace, key: bytes, value: bytes, *values: bytes) -> int:
    found = data.at(key, list)
    found[:0] = reversed((value, *values))
    return len(found)


def llen(data: Keyspace, key: bytes) -> int:
    return len(data.get(key, list) or ())


def lindex(data: Keyspace, key: bytes, at: bytes) -> bytes | None:
    if (found := data.get(key, list)) is None:
        return None
    place = integer(at)
    return found[place] if -len(found) <= place < len(found) else None


def lset(data: Keyspace, key: bytes, at: bytes, value: bytes) -> str:
    if (found := data.get(key, list)) is None:
        raise ErrorReply(NO_KEY)
    place = integer(at)
    if not -len(found) <= place < len(found):
        raise ErrorReply("ERR index out of range")
    found[place] = value
    return "OK"


def lrange(data: Keyspace, key: bytes, start: bytes, end: bytes) -> list[bytes]:
    first, last = integer(start), integer(end)
    return _between(data.get(key, list) or [], first, last)


def ltrim(data: Keyspace, key: bytes, start: bytes, end: bytes) -> str:
    first, last = integer(start), integer(end)
    if (found := data.get(key, list)) is not None:
        found[:] = _between(found, first, last)
        data.drop_if_empty(key)
    return "OK"


def _between(found: list[bytes], first: int, last: int) -> list[bytes]:
    """From one place to another, the last included. A negative place counts from the end."""
    first, last = (at + len(found) if at < 0 else at for at in (first, last))
    return found[max(first, 0) : max(last + 1, 0)]


def sadd(data: Keyspace, key: bytes, member: bytes, *members: bytes) -> int:
    found = data.at(key, set)
    before = len(found)
    found.update((member, *members))
    return len(found) - before


def srem(data: Keyspace, key: bytes, member: bytes, *members: bytes) -> int:
    found = data.get(key, set) or set()
    before = len(found)
    found.difference_update((member, *members))
    removed = before - len(found)
    data.drop_if_empty(key)
    return removed


def smembers(data: Keyspace, key: bytes) -> list[bytes]:
    return [*(data.get(key, set) or ())]


def sismember(data: Keyspace, key: bytes, member: bytes) -> int:
    return int(member in (data.get(key, set) or ()))


def scard(data: Keyspace, key: bytes) -> int:
    return len(data.get(key, set) or ())


COMMANDS: Final = (
    *(hset, hget, hmget, hgetall, hvals, hkeys, hexists, hstrlen, hlen, hdel, hincrby),
    *(rpush, lpush, llen, lindex, lset, lrange, ltrim),
    *(sadd, srem, smembers, sismember, scard),
)
