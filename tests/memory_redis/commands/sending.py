"""Random commands, sent to a real server and to a Redis in memory."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.scale import scale
from tests.memory_redis.comparing import Pair

Command = Sequence[bytes | str | int]

BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)
WAIT: Final = "(wait)"
"""Stands for a command: let the clock of the servers go on by so many milliseconds."""

KEYS: Final = st.sampled_from(["a", "b", "c"])
NAMES: Final = st.sampled_from(["x", "y", "z"])
TEXTS: Final = st.binary(max_size=5) | st.sampled_from([b"1", b"-7", b"[1,2]", b"%d" % 2**63])
PLACES: Final = st.integers(-6, 6) | st.sampled_from([-(2**62), 2**63 - 1, "x", "", "1.5", "+1"])
OTHER_TYPES: Final = st.sampled_from(
    [
        ("SET", "a", "5"),
        ("RPUSH", "b", "1", "2"),
        ("HSET", "c", "x", "1"),
        ("SADD", "b", "1"),
        ("XADD", "c", "5-5", "x", "y"),
        ("DEL", "a"),
    ]
)
"""Commands that make keys of any type, so that others find them."""


def some(strategy: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    """Arguments in any number, also none."""
    return st.lists(strategy, max_size=most).map(tuple)


def a(name: str, *arguments: Any) -> st.SearchStrategy[Command]:
    """A command. An argument is a strategy, which may make a tuple of arguments, or a word."""
    strategies = [
        each if isinstance(each, st.SearchStrategy) else st.just(each) for each in arguments
    ]
    return st.tuples(*strategies).map(
        lambda drawn: (*name.split(), *(part for each in drawn for part in _parts(each)))
    )


def _parts(drawn: Any) -> tuple[Any, ...]:
    return drawn if isinstance(drawn, tuple) else (drawn,)


def _cut(command: Command, count: int) -> Command:
    return command if command[0] == WAIT else command[: max(len(command) - count, 1)]


def check_same(*commands: st.SearchStrategy[Command]) -> Callable[..., None]:
    """A test: whatever commands come, both servers reply the same, and have the same contents."""
    usual = st.one_of(*commands)
    too_short = st.builds(_cut, usual, st.integers(1, 2))
    one = st.one_of(*[usual] * 8, OTHER_TYPES, too_short)

    @settings(max_examples=scale(full=1000, short=60))
    @given(commands=st.lists(one, min_size=1, max_size=15))
    def test(servers: Pair, commands: list[Command]) -> None:
        run(servers, commands)

    return test


def run(servers: Pair, commands: Sequence[Command]) -> None:
    now = BEGINNING
    servers.stop_clock(now)
    servers.client.flushall()
    for name, *arguments in commands:
        if name == WAIT:
            now += timedelta(milliseconds=int(arguments[0]))
            servers.stop_clock(now)
            continue
        with suppress(redis.ResponseError):
            servers.client.execute_command(name, *arguments)
        servers.check()
    servers.check_contents()
