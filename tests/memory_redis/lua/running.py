"""Lua that runs on a real server and on a Redis in memory."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from django_jsonbuffer.memory_redis.lua.tokens import LuaSyntaxError
from django_jsonbuffer.memory_redis.lua.translation import translate
from django_jsonbuffer.memory_redis.scripting import KNOWN
from tests.memory_redis.comparing import Pair

FAULT = "(a fault of the script)"


def run(servers: Pair, script: str, *arguments: bytes | str | float) -> Any:
    """The reply of both servers. Raises :class:`Difference` if they are not the same."""
    try:
        reply = servers.client.execute_command("EVAL", script, 0, *arguments)
    except redis.ResponseError:
        reply = FAULT
    servers.check()
    return reply


def same(*scripts: str) -> Callable[..., None]:
    """A test: each of these scripts has a reply, which is the same on both servers."""

    @pytest.mark.parametrize("script", scripts)
    def test(servers: Pair, script: str) -> None:
        assert run(servers, script) != FAULT

    return test


def faults(*scripts: str) -> Callable[..., None]:
    """A test: each of these scripts is Lua, but fails on both servers."""

    @pytest.mark.parametrize("script", scripts)
    def test(servers: Pair, script: str) -> None:
        assert run(servers, script) == FAULT

    return test


def refused(*cases: tuple[str, str]) -> Callable[..., None]:
    """A test: each of these scripts is refused, and the error names line and fault."""

    @pytest.mark.parametrize(("script", "fault"), cases)
    def test(script: str, fault: str) -> None:
        with pytest.raises(LuaSyntaxError) as caught:
            translate(script, KNOWN)
        assert str(caught.value) == fault

    return test
