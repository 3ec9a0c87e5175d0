"""The clients that share a bucket's key: a script that merges, and a consumer that takes."""

import json
from collections.abc import Sequence
from typing import Any

from tests.server import Redis

MERGE = """
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


def merge(client: Redis, key: str, events: Sequence[Any]) -> None:
    text = json.dumps(events, separators=(",", ":"))  # as JSON.stringify writes it
    client.execute_command("EVAL", MERGE, 1, key, text)


def get_and_delete(client: Redis, key: str) -> bytes | None:
    """MULTI GET DEL, as one writes it by hand."""
    with client.pipeline(transaction=True) as pipeline:
        pipeline.get(key)
        pipeline.delete(key)
        value, _ = pipeline.execute()
    return value  # type: ignore[no-any-return]
