"""What another client may do to the keys of a bucket."""

import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple
from typing import Any, Final

import redis

from django_jsonbuffer.store.keys import PRODUCER, Keys
from tests.server import Redis

LAST: Final = f"{2**64 - 1}-{2**64 - 1}"
VALUES: Final = [
    *(b"[]", b"{}", b"[ ]", b"", b"x", b"[1,", b"[1,2]", b' [1,"a"]\n', b'[{"a":[1,{"b":"]"}]},2]'),
    *(
        b"[1]]",
        b'["\xc3\xa9"]',
        b'["\xff"]',
        b"[01]",
        b'["\\u00e9", null, true, -1.5e3]',
        b"[" * 300,
    ),
    json.dumps([{"a": [n, "é", "\n"]} for n in range(30)]).encode(),
    b"[%b]" % b",".join([b'"0123456789"'] * 2000),
    b"[%b" % b",".join([b'"0123456789"'] * 2000),
]
NUMBERS: Final = ["", "0", "1", "7", "-3", "x", "1.5", "999999999999999", "9" * 19, "9" * 30]


class Damage:
    def __init__(self, client: Redis, keys: Keys, chance: random.Random) -> None:
        self._client = client
        self._keys = keys
        self._chance = chance
        self._ids_of: dict[str, dict[str, None]] = {}

    def do(self) -> list[Any]:
        """Send one random command. Returns it."""
        make: Callable[[], list[Any]] = self._chance.choice(
            [
                *[self._open] * 6,
                *[self._hash] * 4,
                *[self._entries] * 4,
                *[self._groups] * 3,
                *(self._key, self._key, self._list, self._other_type),
            ]
        )
        command = make()
        with suppress(redis.ResponseError):
            self._client.execute_command(*command)
        return command

    def _open(self) -> list[Any]:
        key, value = self._keys.open, self._chance.choice(VALUES)
        return self._chance.choice(
            [
                ["SET", key, value],
                ["SET", key, value],
                ["SET", key, value, "PX", 30_000],
                ["APPEND", key, self._chance.choice([b" ", b",1]", b"\n"])],
                ["SETRANGE", key, self._chance.randrange(5), b" "],
                ["DEL", key],
                ["SET", f"{key}{PRODUCER}p", "1"],
            ]
        )

    def _hash(self) -> list[Any]:
        keys, number = self._keys, self._chance.choice(NUMBERS)
        key, fields = self._chance.choice(
            [
                (keys.stats, COUNTERS),
                (keys.appends, ["open", "opened", "origin", "since", "server", "traces", "p"]),
                (keys.attempts, self._ids(keys.batches)),
                (keys.workers, ["a", "b", "z"]),
            ]
        )
        field = self._chance.choice([*fields, "other"])
        return self._chance.choice(
            [["HSET", key, field, number], ["HDEL", key, field], ["HINCRBY", key, field, 3]]
        )

    def _entries(self) -> list[Any]:
        chance, key = self._chance, self._chance.choice([self._keys.batches, self._keys.dead])
        id = chance.choice(self._ids(key))
        return chance.choice(
            [
                ["XDEL", key, id],
                ["XTRIM", key, "MAXLEN", "=", chance.randrange(3)],
                ["XADD", key, "*", "events", chance.choice(VALUES), "count", 1, "opened", 5],
                ["XADD", key, "*", "events", "[1]", "count", chance.choice(NUMBERS), "opened", 5],
                ["XADD", key, "*", "x", "y"],
                *([["XADD", key, LAST, "x", "y"]] if chance.random() < 0.1 else []),
            ]
        )

    def _groups(self) -> list[Any]:
        chance, key = self._chance, self._keys.batches
        id, consumer = chance.choice(self._ids(key)), chance.choice(["a", "b", "z", "released"])
        claim: list[Any] = ["XCLAIM", key, "drain", consumer, 0, id]
        return chance.choice(
            [
                ["XACK", key, "drain", id],
                claim,
                [*claim, "IDLE", 5000, "FORCE", "JUSTID"],
                ["XREADGROUP", "GROUP", "drain", consumer, "COUNT", 1, "STREAMS", key, ">"],
                ["XGROUP", "SETID", key, "drain", chance.choice(["0", "$", id])],
                ["XGROUP", "DESTROY", key, "drain"],
                ["XGROUP", "DELCONSUMER", key, "drain", consumer],
                ["XGROUP", "CREATE", key, "drain", "$"],
            ]
        )

    def _ids(self, key: str) -> list[str]:
        """Ids that entries of a stream have or had, and one that none had."""
        known = self._ids_of.setdefault(key, {"5-5": None})
        if self._client.execute_command("TYPE", key) == b"stream":
            known |= {id.decode(): None for id, _ in self._client.xrange(key)}
        return [*known]

    def _any_key(self) -> str:
        return self._chance.choice(astuple(self._keys))  # type: ignore[no-any-return]

    def _key(self) -> list[Any]:
        key, other = self._any_key(), self._any_key()
        return self._chance.choice(
            [["DEL", key], ["PEXPIRE", key, 20_000], ["RENAME", key, other], ["PERSIST", key]]
        )

    def _list(self) -> list[Any]:
        key, text = (
            self._keys.history,
            self._chance.choice(["x", "1 2 3 4 5", "1767225600000 1 0 5 5"]),
        )
        return self._chance.choice(
            [["RPUSH", key, text], ["LSET", key, -1, text], ["LTRIM", key, 1, -1], ["DEL", key]]
        )

    def _other_type(self) -> list[Any]:
        key = self._any_key()
        return self._chance.choice(
            [["SET", key, 5], ["RPUSH", key, 5], ["SADD", key, 5], ["HSET", key, "a", 5]]
        )


COUNTERS: Final = [
    *("sealed", "claimed", "sealed_bytes", "sealed_batches", "appended", "processed", "buried"),
    *("successes", "outage", "acquitted", "clock", "resumed", "told", "dropped", "lost"),
]
