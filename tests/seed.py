"""The other clients that share a bucket's key: a script that merges, and one that takes."""

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.by_hand import MERGE
from tests.server import Redis


def merge(client: Redis, key: str, events: Sequence[Any]) -> None:
    text = json.dumps(events, separators=(",", ":"))  # as JSON.stringify writes it
    client.execute_command("EVAL", MERGE, 1, key, text)


def get_and_delete(client: Redis, key: str) -> bytes | None:
    """MULTI GET DEL, as it is usually written by hand."""
    with client.pipeline(transaction=True) as pipeline:
        pipeline.get(key)
        pipeline.delete(key)
        value, _ = pipeline.execute()
    return value  # type: ignore[no-any-return]
