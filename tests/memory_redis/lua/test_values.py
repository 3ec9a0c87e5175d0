import pytest

from django_jsonbuffer.memory_redis.lua.values import Table, number_in, plain_number, text_of

from .running import faults, same

test_lengths = same(
    "return {#{}, #{1, 2}, #'abc', #''}",
    "return {#{nil, 2}, #{1, nil}, #{1, nil, 3}}",
    "local t = {1, 2, 3} t[2] = nil return #t",
    "local t = {1, 2, 3} t[#t] = nil t[#t] = nil return #t",
    "local t = {1} t[3] = 3 t[2] = 2 return #t",
    "local t = {} t[2] = 2 t[3] = 3 t[1] = 1 return {#t, t[3]}",
    "local t = {x = 1} return #t",
    "local t = {} t[0] = 'zero' t[-1] = 'less' return {#t, t[0], t[-1]}",
)

test_keys = same(
    "local t = {} t[2 - 1] = 'a' t[4 / 2] = 'b' return {t[1], t[2], #t, t[1.5] == nil}",
    "local t = {} t['1'] = 'text' t[1] = 'number' return {t[1], t['1'], #t}",
    "local t = {1} t[1] = nil return t[1] == nil",
    "local t = {a = 1} t.a = nil return {t.a == nil, #t}",
    "local a, b = {}, {} local t = {} t[a] = 1 t[b] = 2 return {t[a], t[b]}",
    "return ({5, 6})[2]",
    "local t = {1, 2} return {t[3] == nil, t.x == nil, t['x'] == nil, t[nil] == nil}",
)

test_replies_to_clients = same(
    "return 3.99", "return -3.99", "return {1, {2, {'x'}}, true, false, 5}",
    "return {ok = 'FINE'}",
    "return {ok = 'FINE', 1, 2}", "return {1, x = 2}", "return {}",
)  # fmt: skip

test_error_replies = faults(
    "return {err = 'MY fault'}",
    "return redis.error_reply('MY fault')",
    "return redis.call('LPUSH', 'k', 1) and redis.call('GET', 'k')",
    "return redis.call('GET')",
    "return redis.call('GET', {})",
    "return redis.call('NOSUCH')",
)

test_replies_of_commands = same(
    "return type(redis.call('GET', 'missing'))",
    "return redis.call('SET', 'k', 5).ok",
    "return {type(redis.call('LLEN', 'list')), redis.call('STRLEN', 'k')}",
    "redis.call('RPUSH', 'l', 1, 'x') return redis.call('LRANGE', 'l', 0, -1)",
    "return redis.call('HMGET', 'h', 'a', 'b')",
    "redis.call('SET', 'k', 1) return redis.pcall('LLEN', 'k').err ~= nil",
    "return (pcall(redis.call, 'LLEN', 'k'))",
    "redis.call('SET', 'n', 1.0) return redis.call('GET', 'n')",
    "redis.call('SET', 'n', 12345678901234) return redis.call('GET', 'n')",
    "redis.call('SET', 'n', 9007199254740993) return redis.call('GET', 'n')",
    "redis.call('SET', 'n', '9007199254740993') return tostring(redis.call('INCRBY', 'n', 0))",
    "return redis.status_reply('FINE')",
    "return redis.call('TYPE', 'k')",
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *((b"1", 1), (b"-7", -7), (b" 2 ", 2), (b"1.50", 1.5), (b"1e3", 1000), (b"9" * 20, 1e20)),
        *((b"", None), (b"x", None), (b"1x", None), (b"1_0", None)),
    ],
)
def test_number_in(text: bytes, found: float | None) -> None:
    assert number_in(text) == found


def test_whole_numbers_are_integers_as_long_as_they_are_exact() -> None:
    assert type(plain_number(2.0**53)) is int
    assert type(plain_number(2.0**54)) is float
    assert type(plain_number(1.5)) is float


def test_text_of() -> None:
    values = [None, True, False, 7, 2.0, 0.1, b"x", Table([], {}), print]
    texts = [b"nil", b"true", b"false", b"7", b"2", b"0.1", b"x", b"table: 0x0", b"function: 0x0"]
    assert [text_of(value) for value in values] == texts
