import pytest

from django_jsonbuffer.memory_redis.errors import ErrorReply
from django_jsonbuffer.memory_redis.server import MemoryRedis
from django_jsonbuffer.store import scripts
from django_jsonbuffer.store.scripts import Script

ALL = [script for script in vars(scripts).values() if isinstance(script, Script)]


def run(script: str, *arguments: bytes) -> object:
    return MemoryRedis().execute([b"EVAL", script.encode(), *arguments])


@pytest.mark.parametrize("script", ALL, ids=lambda script: str(script.name))
def test_all_scripts_of_the_app_are_translated(script: Script) -> None:
    MemoryRedis().execute([b"SCRIPT", b"LOAD", script.source.encode()])


def test_keys_and_arguments() -> None:
    assert run("return {KEYS[1], ARGV[1], ARGV[2], #KEYS}", b"1", b"k", b"a", b"b") == [
        *(b"k", b"a", b"b", 1)
    ]


def test_script_that_is_not_supported_is_an_error() -> None:
    with pytest.raises(
        ErrorReply, match="ERR Error compiling script: Line 1: '\\^' is not supported"
    ):
        run("return 2 ^ 3", b"0")


def test_fault_of_a_script_is_an_error() -> None:
    with pytest.raises(ErrorReply, match="ERR user_script: attempt to index a nil value"):
        run("local x return x.y", b"0")


def test_what_a_script_wrote_before_its_fault_stays() -> None:
    server = MemoryRedis()
    with pytest.raises(ErrorReply, match="WRONGTYPE"):
        server.execute([b"EVAL", b"redis.call('SET', 'k', 1) redis.call('LLEN', 'k')", b"0"])
    assert server.execute([b"GET", b"k"]) == b"1"


def test_scripts_of_two_servers_are_separate() -> None:
    one, other = MemoryRedis(), MemoryRedis()
    source = b"return redis.call('INCRBY', 'k', 1)"
    assert [server.execute([b"EVAL", source, b"0"]) for server in (one, other, one)] == [1, 1, 2]


def test_every_user_may_run_every_command() -> None:
    assert run("return redis.acl_check_cmd == nil", b"0") == 1
