from hypothesis import strategies as st

from .sending import KEYS, NAMES, PLACES, TEXTS, a, check_same, some

NEAR = st.integers(-6, 6) | st.sampled_from(["x", "", "1.5", "+1"])
"""Valkey 9.1 finds something at places that a list cannot have."""

test_hashes_are_those_of_a_server = check_same(
    a("HSET", KEYS, NAMES, TEXTS),
    a("HSET", KEYS, some(NAMES, 5)),
    a("HGET", KEYS, NAMES),
    a("HMGET", KEYS, some(NAMES)),
    a("HGETALL", KEYS),
    a("HVALS", KEYS),
    a("HKEYS", KEYS),
    a("HEXISTS", KEYS, NAMES),
    a("HSTRLEN", KEYS, NAMES),
    a("HLEN", KEYS),
    a("HDEL", KEYS, some(NAMES)),
    a("HINCRBY", KEYS, NAMES, PLACES),
)

test_lists_are_those_of_a_server = check_same(
    a("RPUSH", KEYS, some(TEXTS)),
    a("LPUSH", KEYS, some(TEXTS)),
    a("LLEN", KEYS),
    a("LINDEX", KEYS, NEAR),
    a("LSET", KEYS, NEAR, TEXTS),
    a("LRANGE", KEYS, PLACES, PLACES),
    a("LTRIM", KEYS, PLACES, PLACES),
)

test_sets_are_those_of_a_server = check_same(
    a("SADD", KEYS, some(TEXTS)),
    a("SREM", KEYS, some(TEXTS)),
    a("SMEMBERS", KEYS),
    a("SISMEMBER", KEYS, TEXTS),
    a("SCARD", KEYS),
)
