"""Measure the time that the server needs for one append, without the round trip."""

import ast
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Final

import redis
from django_redis import get_redis_connection

from benchmarks import by_hand
from benchmarks.events import page_view
from benchmarks.report import server_name
from benchmarks.rounds import Comparison, Ratio, Scale
from django_jsonbuffer import Bucket
from django_jsonbuffer.appending import producers
from django_jsonbuffer.stamps import new_nonce
from django_jsonbuffer.store.scripts import APPEND
from example_project.embedded_redis import EmbeddedRedis

NOTHING: Final = "return 1"

APPEND_OF_0_1: Final = Path(__file__).parents[1] / "tests" / "store" / "earlier" / "append.lua"
"""The script of an append in version 0.1, with the files that it needed."""

_KEYS_OF_0_1: Final = ("", ":batches", ":dead", ":stats", ":attempts", ":producer:")
_REMEMBERED_MS: Final = 24 * 60 * 60 * 1000
_PRODUCER: Final = "fedcba98765432101764367200000000000"
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_END: Final = "end-of-appends"

Command = Sequence[bytes | str | int]


def comparisons(scale: Scale) -> Iterator[Comparison]:
    client, bucket = get_redis_connection("jsonbuffer"), Bucket("server-time")
    yield _one_by_one(client, bucket, scale)
    events = scale.count(3000)
    commands = appends(client, bucket, events)
    for program in _programs():
        with _server(program) as private:
            yield _in_a_pipeline(private, commands, _appends_of_0_1(private, events), scale)


def _one_by_one(client: redis.Redis, bucket: Bucket, scale: Scale) -> Comparison:
    event = page_view()
    encoded = bucket._definition.parts.encoder.encode(event)
    sha = client.script_load(NOTHING)
    capped = Bucket("server-time-capped", max_pending=1_000_000)
    measure = partial(server_microseconds, client, calls=scale.count(1000))

    def clean_up() -> None:
        capped.purge()
        bucket.purge()
        by_hand.delete_all(client)

    return Comparison(
        title="Time of the server for an event of 200 bytes (INFO commandstats)",
        unit="µs per call",
        cases={
            "EVALSHA of a script that does nothing": partial(
                measure, "evalsha", lambda: client.evalsha(sha, 0, encoded)
            ),
            "RPUSH": partial(measure, "rpush", lambda: by_hand.push(client, encoded)),
            "XADD": partial(measure, "xadd", lambda: by_hand.add(client, encoded)),
            "append": partial(measure, "evalsha", lambda: bucket.append(event)),
            "append, max_pending": partial(measure, "evalsha", lambda: capped.append(event)),
        },
        rounds=scale.rounds(31),
        ratios=[
            Ratio(what="server time, append / RPUSH", of="append", to="RPUSH", at_most=6),
            Ratio(
                what="server time, a script that does nothing / RPUSH",
                of="EVALSHA of a script that does nothing",
                to="RPUSH",
            ),
        ],
        clean_up=clean_up,
    )


def server_microseconds(
    client: redis.Redis, command: str, call: Callable[[], object], *, calls: int
) -> float:
    client.config_resetstat()
    for _ in range(calls):
        call()
    return _microseconds_of(client, command)


def _microseconds_of(client: redis.Redis, command: str) -> float:
    stats = client.info("commandstats")[f"cmdstat_{command}"]
    return float(stats["usec"]) / float(stats["calls"])


def _in_a_pipeline(
    client: redis.Redis, ours: Sequence[Command], of_0_1: Sequence[Command], scale: Scale
) -> Comparison:
    """Compare the commands on a server of their own, without the pauses between two calls."""
    where, old = f"in a pipeline, {server_name(client)}", "append of version 0.1"
    encoded = Bucket("server-time")._definition.parts.encoder.encode(page_view())
    client.script_load(APPEND.source)
    count = len(ours) // 3  # as the processes and threads of a large site
    many = f"append, {count:,} producers"
    return Comparison(
        title=f"Time of the server for an append, {where} (INFO commandstats)",
        unit="µs per call",
        cases={
            # RPUSH is in the middle, so that what runs before a script is alike for both.
            "append": partial(_piped, client, ours),
            "RPUSH": partial(_piped, client, [("RPUSH", by_hand.LIST, encoded)] * len(ours)),
            old: partial(_piped, client, of_0_1),
            many: partial(_piped, client, _by_producers(count, ours), uncounted=count),
        },
        rounds=scale.rounds(31),
        ratios=[
            Ratio(
                what=f"server time, append / {old}, {where}",
                of="append",
                to=old,
                at_most=0.55,
            ),
            Ratio(what=f"server time, append / RPUSH, {where}", of="append", to="RPUSH"),
            Ratio(what=f"server time, {many} / one, {where}", of=many, to="append"),
        ],
        clean_up=client.flushall,
    )


def _piped(client: redis.Redis, commands: Sequence[Command], *, uncounted: int = 0) -> float:
    """The microseconds per command, without the first ones that are `uncounted`."""
    with client.pipeline(transaction=False) as pipeline:
        for part in (commands[:uncounted], commands[uncounted:]):
            client.config_resetstat()
            for command in part:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            replies = pipeline.execute()
    # An append that begins a bucket, or seals a batch, replies with a list.
    outcomes = {reply[0] if isinstance(reply, list) else reply for reply in replies}
    if isinstance(commands[0][1], bytes) and outcomes != {b"stored"}:
        raise RuntimeError(f"An append was not stored: {outcomes}")
    return _microseconds_of(client, str(commands[0][0]).lower())


def appends(client: redis.Redis, bucket: Bucket, count: int) -> list[Command]:
    """The commands of `count` appends, read from MONITOR, to be sent again to an empty server.

    So the measurement need not know the keys and arguments of the script.
    """
    bucket.append(page_view())  # to load the script
    with redis.Redis(connection_pool=client.connection_pool) as other:
        watching = other.connection_pool.get_connection()
        try:
            watching.send_command("MONITOR")
            watching.read_response()
            for _ in range(count):
                bucket.append(page_view())
            client.echo(_END)
            commands = [*_watched(watching)]
        finally:
            watching.disconnect()
            other.connection_pool.release(watching)
    bucket.purge()
    if len(commands) != count:
        raise RuntimeError(f"MONITOR has shown {len(commands):,} appends instead of {count:,}.")
    return commands


def _watched(watching: redis.Connection) -> Iterator[Command]:
    while _END not in (line := watching.read_response().decode()):
        name, *arguments = (ast.literal_eval(f'b"{text}"') for text in _QUOTED.findall(line))
        if name.upper() == b"EVALSHA" and arguments[0] == APPEND.sha.encode():
            yield ("EVALSHA", *arguments)


def _by_producers(count: int, commands: Sequence[Command]) -> list[Command]:
    """The same appends, each by the next one of many producers."""
    own = producers._idle[-1]._id.encode()
    others = [secrets.token_bytes(len(own)) for _ in range(count)]
    return [
        tuple(part.replace(own, other) if isinstance(part, bytes) else part for part in command)
        for command, other in zip(commands, cycle(others), strict=False)
    ]


def _appends_of_0_1(client: redis.Redis, count: int) -> list[Command]:
    """The same appends by the script of version 0.1, with the keys and arguments that it had."""
    bucket = Bucket("server-time")
    limits = bucket._definition.parts.options.limits
    sha = client.script_load(APPEND_OF_0_1.read_text())
    *keys, producer = [f"jsonbuffer:{{of-0.1}}{part}" for part in _KEYS_OF_0_1]
    keys.append(producer + _PRODUCER)
    splice = b",%b]" % bucket._definition.parts.encoder.encode(page_view())
    same = (_REMEMBERED_MS, limits.batch_size or 0, limits.batch_bytes, 0, 0, "raise")
    # Nonces and tokens differ as those of appends do: Lua keeps equal strings only once.
    return [
        ("EVALSHA", sha.encode(), len(keys), *keys, *same, number, new_nonce(), token, 1, splice)
        for number, token in enumerate((f"{number:08x}" for number in range(count)), start=1)
    ]


def _programs() -> list[str | None]:
    """The server of this run, as None, and redis-server if the run uses another one."""
    is_another = "REDIS_SERVER" not in os.environ and shutil.which("redis-server")
    return [None, "redis-server"] if is_another else [None]


@contextmanager
def _server(program: str | None) -> Iterator[redis.Redis]:
    if program:
        os.environ["REDIS_SERVER"] = program
    try:
        embedded = EmbeddedRedis().start()
    finally:
        if program:
            del os.environ["REDIS_SERVER"]
    try:
        with redis.Redis.from_url(embedded.url) as client:
            yield client
    finally:
        embedded.stop()
