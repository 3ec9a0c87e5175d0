import pytest

from django_jsonbuffer.memory_redis.arguments import integer, value_of
from django_jsonbuffer.memory_redis.errors import ErrorReply


@pytest.mark.parametrize("number", [0, 7, -7, 2**63 - 1, -(2**63)])
def test_integer(number: int) -> None:
    assert integer(b"%d" % number) == number


@pytest.mark.parametrize(
    "text", [b"", b"x", b"1.0", b"+1", b"01", b" 1", b"1 ", b"-", b"-0", b"%d" % 2**63, b"\xb2"]
)
def test_what_is_not_an_integer(text: bytes) -> None:
    with pytest.raises(ErrorReply, match="ERR value is not an integer or out of range"):
        integer(text)
    with pytest.raises(ErrorReply, match="ERR no time"):
        integer(text, fault="ERR no time")


def test_value_of_removes_what_it_returns() -> None:
    options = [b"5", b"NX"]
    assert value_of(options) == b"5"
    assert options == [b"NX"]


def test_value_of_nothing() -> None:
    with pytest.raises(ErrorReply, match="ERR syntax error"):
        value_of([])
