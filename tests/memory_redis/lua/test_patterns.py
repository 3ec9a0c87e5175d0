import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jsonbuffer.memory_redis.lua.patterns import pattern
from django_jsonbuffer.memory_redis.lua.values import LuaError
from tests.memory_redis.comparing import Pair

from .running import FAULT, run, same

test_patterns = same(
    "return {string.find('a+b', '+', 1, true), string.find('a+b', '%+')}",
    "return {string.find('aaa', 'a*'), string.find('aaa', 'a-'), string.find('aaa', 'a-$')}",
    "return {string.find('abc', '^b') == nil, string.find('abc', '^b', 2)}",
    "return {string.find('abc', 'c$')}",
    "return {string.find('a^b$c', 'a^b'), string.find('a$b', 'a$b')}",
    "return {string.match('[x]', '%[(.-)%]'), string.match('a]b', '[]]')}",
    "return {string.match('x1_', '[%w_]+'), string.match('-x', '[^%w]')}",
    "return {string.match('^', '[%^]'), string.match('a-b', '[a-]+')}",
    "return {string.match('12ab', '^(%d+)(%a*)$')}",
    "return {string.match('a\\nb', 'a.b'), string.match('a\\0b', 'a%zb')}",
    "return {string.match('aXb', '(a?)(X?)(z?)(b?)')}",
    "return {string.match('key: v', '^(%w+):%s*(%w+)$')}",
    "return {string.find('\\195\\169', '[\\194-\\223][\\128-\\191]')}",
    "return {string.match('100%', '%d+%%'), string.match('(x)', '%((.)%)')}",
)


@pytest.mark.parametrize("letter", "acdlpsuwxz")
def test_classes_have_the_same_characters(servers: Pair, letter: str) -> None:
    text = "".join(f"\\{n}" for n in range(256))
    for sought in (f"%{letter}", f"[%{letter}_]", f"[^%{letter}]"):
        assert run(servers, f"return {{string.gsub('{text}', '{sought}', '')}}") != FAULT


@pytest.mark.parametrize(
    "sought", [b"%bxy", b"%f[a]", b"(a)%1", b"()", b"%A", b"%W", b"[%D]", b"%"]
)
def test_what_is_not_supported_is_an_error(sought: bytes) -> None:
    with pytest.raises(LuaError, match="not supported"):
        pattern(sought)


ITEMS = st.sampled_from(
    [
        "a",
        "b",
        ".",
        "%d",
        "%a",
        "[ab]",
        "[^a]",
        "[a-c]",
        "%.",
        "a*",
        "b+",
        "c?",
        "a-",
        "[%d.]+",
        "(a)",
    ]
)
PATTERNS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "^"]),
    st.lists(ITEMS, min_size=1, max_size=4).map("".join),
    st.sampled_from(["", "", "$"]),
)


@given(sought=PATTERNS, text=st.text("abc1.", max_size=8), start=st.integers(-3, 5))
def test_random_patterns(servers: Pair, sought: str, text: str, start: int) -> None:
    calls = f"{{string.find('{text}', '{sought}', {start}), string.match('{text}', '{sought}')}}"
    assert run(servers, f"return {calls}") != FAULT
