"""Commands of streams."""

import bisect
from typing import Any, Final

from django_jsonbuffer.memory_redis.arguments import LARGEST, integer, value_of
from django_jsonbuffer.memory_redis.errors import SYNTAX, ErrorReply
from django_jsonbuffer.memory_redis.keyspace import Keyspace
from django_jsonbuffer.memory_redis.streams import FIRST, Id, Stream, end_of, start_of


def xadd(data: Keyspace, key: bytes, id: bytes, *fields: bytes) -> bytes:
    chosen = None if id == b"*" else Id.read(id)
    if not fields or len(fields) % 2:
        raise ErrorReply("ERR wrong number of arguments for 'xadd' command")
    if chosen == FIRST:
        raise ErrorReply("ERR The ID specified in XADD must be greater than 0-0")
    stream = data.get(key, Stream) or Stream()
    added = stream.add(chosen, data.now_ms(), [*fields])
    data.set(key, stream)
    return bytes(added)


def xlen(data: Keyspace, key: bytes) -> int:
    return len(stream_at(data, key).ids)


def xrange(data: Keyspace, key: bytes, start: bytes, end: bytes, *count: bytes) -> list[Any] | None:
    return _entries(data, key, start, end, count, step=1)


def xrevrange(
    data: Keyspace, key: bytes, end: bytes, start: bytes, *count: bytes
) -> list[Any] | None:
    return _entries(data, key, start, end, count, step=-1)


def _entries(
    data: Keyspace, key: bytes, start: bytes, end: bytes, count: tuple[bytes, ...], *, step: int
) -> list[Any] | None:
    """`count` is ``COUNT`` and a number, or empty."""
    first, last = start_of(start), end_of(end)
    if count and (len(count) != 2 or count[0].upper() != b"COUNT"):
        raise ErrorReply(SYNTAX)
    limit = integer(count[1]) if count else None
    if (stream := data.get(key, Stream)) is None:
        return []
    if limit is not None and limit <= 0:
        return None
    return [entry_of(stream, id) for id in stream.between(first, last)[::step][:limit]]


def xdel(data: Keyspace, key: bytes, id: bytes, *ids: bytes) -> int:
    if (stream := data.get(key, Stream)) is None:
        return 0
    return stream.remove([Id.read(each) for each in (id, *ids)])


def xtrim(data: Keyspace, key: bytes, strategy: bytes, *options: bytes) -> int:
    """``MAXLEN`` or ``MINID``, then ``=``, or ``~``, which may have a ``LIMIT``.

    With ``~``, a server removes whole nodes of the stream. Here it removes single entries.
    """
    threshold, limit = _trim_options(strategy.upper(), [*options])
    stream = stream_at(data, key)
    if isinstance(threshold, Id):
        excess = bisect.bisect_left(stream.ids, threshold)
    else:
        excess = max(len(stream.ids) - threshold, 0)
    return stream.remove(stream.ids[: min(excess, limit)])


def _trim_options(strategy: bytes, options: list[bytes]) -> tuple[Id | int, int]:
    """The first id or the number of entries to keep, and how many to remove at most."""
    has_sign = len(options) > 1 and options[0] in (b"=", b"~")
    sign = options.pop(0) if has_sign else b"="
    threshold: Id | int
    if strategy == b"MINID":
        threshold = Id.read(value_of(options))
    elif strategy != b"MAXLEN":
        raise ErrorReply(SYNTAX)
    elif (threshold := integer(value_of(options))) < 0:
        raise ErrorReply("ERR The MAXLEN argument must be >= 0.")
    if options and (sign, options[0], len(options)) != (b"~", b"LIMIT", 2):
        raise ErrorReply(SYNTAX)
    return threshold, integer(options[1]) if options else LARGEST


def stream_at(data: Keyspace, key: bytes) -> Stream:
    return data.get(key, Stream) or Stream()


def entry_of(stream: Stream, id: Id) -> list[Any]:
    return [bytes(id), [*stream.entries[id]]]


COMMANDS: Final = (xadd, xlen, xrange, xrevrange, xdel, xtrim)
