import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jsonbuffer.memory_redis.lua.library import FUNCTIONS
from django_jsonbuffer.memory_redis.lua.values import LuaError, Table
from tests.memory_redis.comparing import Pair

from .running import FAULT, faults, run, same

test_of_the_language = same(
    "return {type(nil), type(1), type('x'), type({}), type(type), type(true)}",
    "return {tostring(nil), tostring(true), tostring(12), tostring('x')}",
    "return {tonumber('12'), tonumber(' 7 '), tonumber('x') == nil, tonumber('') == nil}",
    "return {tonumber(nil) == nil, tonumber({}) == nil, tonumber('1e2'), tonumber('-3')}",
    "return {unpack({1, 2, 3})}",
    "local a, b = unpack({1, 2}) return {b, a}",
    "return {pcall(function() return 1, 2 end)}",
    "local ok, fault = pcall(function() local x = nil return x.y end) return {ok, type(fault)}",
    "return {pcall(tostring, 5)}",
)

test_math = same(
    "return {math.floor(1.7), math.floor(-1.7), math.abs(-3), math.max(1, 3, 2), math.min(2, 1)}",
    "return {math.huge > 1e300, math.max('2', 1), math.floor('3.5')}",
    "return tostring(math.floor(math.huge)) .. tostring(-math.huge)",
)

test_string = same(
    "return {string.sub('hello', 2, 3), string.sub('hello', -3), string.sub('hello', 2, -2)}",
    "return {string.sub('hello', 0), string.sub('hello', 4, 2), string.sub('hello', -9, 2)}",
    "return {string.sub(12, 1, 1), string.sub(1.5, 2)}",
    "return {string.byte('a'), string.byte('abc', 2), string.byte('abc', -1)}",
    "return (string.byte('', 1)) == nil",
    "return {string.len('abc'), string.len('')}",
    "return {string.find('hello', 'l'), string.find('hello', 'l', 4)}",
    "return {string.find('a.b', '.', 1, true), string.find('a.b', '%.')}",
    "return {string.find('hello', 'x') == nil, string.find('hello', 'l', -2)}",
    "return {string.find('abc', '', 10), string.find('abc', '', 10, true)}",
    "return {string.find('key=value', '(%a+)=(%a+)')}",
    "return {string.match('key=value', '(%a+)=(%a+)')}",
    "return {string.match('2026-01', '%d+'), string.match('x', '%d') == nil}",
    "local n = 0 for word in string.gmatch('one two', '%a+') do n = n + #word end return n",
    "return {string.gsub('hello', 'l', 'L')}",
    "return {string.gsub('a b  c', '%s', '')}",
    "return {string.format('%s-%d-%05.1f-%x-%%', 'a', 3, 2.25, 255)}",
    "return {string.format('%.0f', 12345678901234567), string.format('%s', 1.5)}",
    "return string.format('%.3s', 'abcdef')",
    "return {string.format('%d', '7'), string.format('%5d|%-5d|', 1, 2), string.format('%g', 0.1)}",
)

test_table = same(
    "local t = {1} table.insert(t, 2) return t",
    "local t = {1, 3} table.insert(t, 2, 2) return t",
    "return {table.concat({1, 'a', 2.5}, ','), table.concat({}), table.concat({'x'}, ', ')}",
)

test_struct = same(
    "return struct.pack('<I4I4', 1, 258)",
    "return struct.pack('<dB', 1.5, 255)",
    "return struct.pack('<I4I4c0', 3, 4, 'tail')",
    "return {struct.unpack('<I4I4', struct.pack('<I4I4', 7, 9))}",
    "return {struct.unpack('<dB', struct.pack('<dB', 2, 1) .. 'rest')}",
    "local a = struct.unpack('<d', struct.pack('<d', math.huge)) return a == math.huge",
)

test_faults = faults(
    "return string.sub(nil, 1)", "return string.len({})", "return #string.sub(true, 1)",
    "return string.find(nil, 'x')", "return string.match({}, 'x')", "return string.byte(nil)",
    "return table.concat({1, {}})", "return table.concat('x')", "return ipairs(nil)",
    "for _ in pairs(nil) do end", "for _ in ipairs('x') do end", "return unpack(nil)",
    "return math.floor('x')", "return math.max(nil, 1)", "return string.format('%d', 'x')",
    "return struct.unpack('<I4', 'abc')", "local t table.insert(t, 1)",
)  # fmt: skip


@pytest.mark.parametrize(
    "call",
    [
        lambda: FUNCTIONS["string_gsub"](b"x", b"x", b"%1"),
        lambda: FUNCTIONS["string_gsub"](b"x", b"x", Table([], {})),
        lambda: FUNCTIONS["string_gsub"](b"x", b"^x", b"y"),
        lambda: FUNCTIONS["string_format"](b"%q", b"x"),
        lambda: FUNCTIONS["struct_pack"](b">I4", 1),
        lambda: FUNCTIONS["struct_pack"](b"<I2", 1),
        lambda: FUNCTIONS["struct_unpack"](b"<c0", b"x"),
        lambda: [*FUNCTIONS["string_gmatch"](b"x", b"^x")],
    ],
)
def test_what_is_not_supported_is_an_error(call: object) -> None:
    assert callable(call)
    with pytest.raises(LuaError):
        call()


PLACES = st.integers(-7, 7)
TEXTS = st.text("ab.%c", max_size=6).map(repr)


@given(text=TEXTS, start=PLACES, end=PLACES)
def test_random_parts(servers: Pair, text: str, start: int, end: int) -> None:
    calls = f"{{string.sub({text}, {start}, {end}), string.byte({text}, {start})}}"
    assert run(servers, f"return {calls}") != FAULT


@given(text=TEXTS, sought=st.text("ab", max_size=2).map(repr), start=PLACES)
def test_random_searches(servers: Pair, text: str, sought: str, start: int) -> None:
    calls = (
        f"{{string.find({text}, {sought}, {start}), string.find({text}, {sought}, {start}, true)}}"
    )
    assert run(servers, f"return {calls}") != FAULT
