from hypothesis import given
from hypothesis import strategies as st

from tests.memory_redis.comparing import Pair

from .running import FAULT, faults, refused, run, same

test_constants = same("return {1, 'x', true}", "return nil", "return false", "return true")

test_arithmetic = same(
    "return {1 + 2 * 3, (1 + 2) * 3, 7 - 2 - 1, 7 % 3, -7 % 3, 7 % -3, -2 * -3, - - 2}",
    "return {'1' + 2, 3 * '4', '6' / '2', -'5'}",
    "return tostring(7 / 2) .. tostring(6 / 2) .. tostring(1 / 3)",
    "return {tostring(1 / 0), tostring(-1 / 0), tostring(5.5 % 2)}",
    "return tostring(2 - 3 + 4 * 5 % 6 / 7)",
)

test_comparisons = same(
    "return {1 < 2, 2 < 1, 1 <= 1, 2 >= 3, 2 > 1, 1 == 1, 1 ~= 1, 1.0 == 1}",
    "return {'a' < 'b', 'B' < 'a', '' < 'a', 'a' <= 'a', 'b' >= 'a', '10' < '9'}",
    "local t = {} return {t == t, t == {}, t ~= {}, nil == false, 0 == false, '1' == 1, 1 == true}",
    "local a = nil return {a == nil, a ~= nil, nil == a, false == a}",
    "local f = function() end return {f == f, f == function() end}",
    "local x = 0 return {x == false, x == 0, 0 == x, x ~= false, x == nil}",
)

test_logic = same(
    "return {1 and 2, false or 'x', nil or 3, 1 or 2}",
    "return false and 1",
    "return nil and 1",
    "return nil or false",
    "return {not nil, not 0 == false, not '' == false, not not 1}",
    "local a = false return a or a == nil or 'last'",
    "return {1 < 2 and 'yes' or 'no', 1 > 2 and 'yes' or 'no'}",
    "local t = {n = 0} local function f() t.n = t.n + 1 return true end\n"
    "local x = false and f() or f() return t.n",
    "local a = 1 < 2 or 5 return a",
    "local a = 1 > 2 and 5 return a",
)

test_precedence = same(
    "return 1 .. 2 .. 3",
    "return 'a' .. 1 + 2 .. 'b'",
    "return {1 + 1 == 2 and 2 < 3, not 1 == 2, -2 .. '', #'abc' + 1}",
    "return 2 * 3 .. 4 * 5",
    "return {1 or nil and nil, (1 or nil) and 2, nil == nil and 1}",
)

test_concatenation = same(
    "return 'a' .. 'b' .. 1",
    "return 1 .. ''",
    "return 10 / 2 .. ''",
    "return 1e15 .. ' ' .. 123456789012345678 .. ' ' .. 0.1",
)

test_tables = same(
    "return {1, 2; 3, }",
    "local t = {a = 1} return t.a",
    "local t = {1, x = 2, 3} return {t[1], t[2], t.x}",
    "local t = {{1, 2}, {x = {y = 5}}} return {t[1][2], t[2].x.y}",
    "local function f() return 1, 2, 3 end return {f(), f()}",
    "local function f() return 1, 2, 3 end return {(f()), x = f()}",
    "local function f() return 1, 2 end local t = {f(), n = 1} return t",
    "local t = {} t['a b'] = 1 local k = 'a b' return t[k]",
)

test_calls = same(
    "local function f(a, b) return b, a end return {f(1, 2)}",
    "local function f(a, b) return {a or 'none', b or 'none'} end return f(1)",
    "local function f(a) return a end return f(1, 2, 3)",
    "local function f() end return {f() == nil, (f()) == nil}",
    "local function f() return end local a = f() return a == nil",
    "local function f(...) return {...} end return f(1, 2, 3)",
    "local function f(a, ...) local b, c = ... return {a, b, c} end return f(1, 2, 3, 4)",
    "local function g(...) return ... end\n"
    "local function f(...) return g(0, ...) end return {f(1, 2)}",
    "local function f(...) return ..., 'x' end return {f(1, 2)}",
    "return (function(a) return a + 1 end)(2)",
    "local t = {f = function(x) return x end} return t.f(5)",
    "local t = {{function() return 7 end}} return t[1][1]()",
    "local function f(n) if n == 0 then return 0 end return n + f(n - 1) end return f(10)",
)

test_faults = faults(
    "return 1 + nil", "return 'x' + 1", "return {} + 1", "return true * 2", "return -{}",
    "return 1 < 'x'", "return nil < 1", "return {} <= {}", "return true > false",
    "return #nil", "return #5", "return 'a' .. nil", "return 'a' .. {}", "return 'a' .. true",
    "local t = nil return t.x", "local t = 5 return t.x", "return (nil).x.y",
    "local f = nil return f()", "local t = {} return t.f()", "local t = {} t[nil] = 1",
    "local t = nil t.x = 1",
)  # fmt: skip

test_what_is_not_supported = refused(
    ("return unknown", "Line 1: 'unknown' is not known."),
    ("\n\nreturn string.rep('x', 3)", "Line 3: 'string.rep' is not known."),
    ("return string", "Line 1: 'string' is not known."),
    ("return ...", "Line 1: this function has no ...."),
    ("local function f() return ... end", "Line 1: this function has no ...."),
    ("return {[1] = 2}", "Line 1: a key in brackets is not supported here."),
    ("return (1", "Line 1: 'end of script' stands where ')' should be."),
    ("return {1 2}", "Line 1: '2' stands where ',' should be."),
    ("return 1 +", "Line 1: 'end of script' stands where 'name' should be."),
    ("local f = function(1) end", "Line 1: '1' stands where 'name' should be."),
)

# No factor is 0 or negative, because in Python the integer 0 is never -0.
NUMBERS = st.sampled_from(["1", "2", "3", "1.5", "10", "'4'", "100"])
OPERATORS = st.sampled_from(
    ["+", "-", "*", "%", "<", "<=", ">", ">=", "==", "~=", "and", "or", ".."]
)


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """A random expression. It may fail, for example because it compares a number with a text."""
    words = [draw(NUMBERS)]
    for _ in range(draw(st.integers(1, 5))):
        words += [draw(OPERATORS), draw(st.sampled_from(["", "", "not "])) + draw(NUMBERS)]
    if len(words) > 4 and draw(st.booleans()):
        words[2:5] = ["(", *words[2:5], ")"]
    return " ".join(words)


@given(script=expressions().map("return tostring({})".format))
def test_random_expressions(servers: Pair, script: str) -> None:
    reply = run(servers, script)
    assert isinstance(reply, bytes) or reply == FAULT
