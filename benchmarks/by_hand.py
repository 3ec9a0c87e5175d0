"""The same work written by hand with redis-py, on the same client."""

from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import redis

LIST: Final = "by-hand:list"
STREAM: Final = "by-hand:stream"
ARRAY: Final = "by-hand:array"
GROUP: Final = "by-hand"

Decode = Callable[[bytes], Any]

MERGE: Final = """
local key = KEYS[1]
local input = ARGV[1]
local existing = redis.call('GET', key)

if existing then
  local existingJson = cjson.decode(existing)
  local inputJson = cjson.decode(input)
  for _, v in ipairs(inputJson) do
    table.insert(existingJson, v)
  end
  input = cjson.encode(existingJson)
end

redis.call('SET', key, input)
return input
"""
"""A script that decodes the pending events, adds to them, and encodes them all again."""


def push(client: redis.Redis, *encoded: bytes) -> None:
    client.rpush(LIST, *encoded)


def add(client: redis.Redis, encoded: bytes) -> None:
    client.xadd(STREAM, {"event": encoded})


def add_many(client: redis.Redis, encoded: Iterable[bytes]) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for event in encoded:
            pipeline.xadd(STREAM, {"event": event})
        pipeline.execute()


def delete_all(client: redis.Redis) -> None:
    client.delete(LIST, STREAM)


def get_all(client: redis.Redis, decode: Decode, arrays: int) -> int:
    """GET, parse and DEL one array after the other. A second reader would get the same arrays."""
    total = 0
    for at in range(arrays):
        key = f"{ARRAY}:{at}"
        total += len(decode(cast(bytes, client.get(key))))
        client.delete(key)
    return total


def pop_all(client: redis.Redis, decode: Decode, *, count: int) -> int:
    """LPOP, and parse the values as one array. If the process dies, its values are lost."""
    total = 0
    while popped := cast(list[bytes] | None, client.lpop(LIST, count)):
        total += len(decode(b"[%b]" % b",".join(popped)))
    return total


def read_group_all(
    client: redis.Redis, decode: Decode, *, count: int, acks_each: bool = True
) -> int:
    """XREADGROUP, parse each event, and XACK: each event, or all events read, in one call."""
    total = 0
    client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    while entries := _entries(client.xreadgroup(GROUP, "worker", {STREAM: ">"}, count=count)):
        for id, fields in entries:
            decode(fields[b"event"])
            if acks_each:
                client.xack(STREAM, GROUP, id)
        if not acks_each:
            client.xack(STREAM, GROUP, *[id for id, _ in entries])
        total += len(entries)
    return total


def _entries(reply: Any) -> list[Any]:
    """The entries of the one stream: RESP3 replies with a dict by name, RESP2 with a list."""
    if not reply:
        return []
    if isinstance(reply, dict):
        (portions,) = reply.values()
        return list(*portions)
    ((_, entries),) = reply
    return list(entries)
