from hypothesis import strategies as st

from .sending import KEYS, WAIT, a, check_same, some

SHORT = st.sampled_from([-1, 0, 1, 5, 1000, "x"])

test_same_as_a_server = check_same(
    a("DEL", some(KEYS)),
    a("UNLINK", some(KEYS)),
    a("EXISTS", some(KEYS)),
    a("TYPE", KEYS),
    a("RENAME", KEYS, KEYS),
    a("PEXPIRE", KEYS, SHORT),
    a("EXPIRE", KEYS, SHORT),
    a("PTTL", KEYS),
    a("TTL", KEYS),
    a("PERSIST", KEYS),
    a("KEYS", st.sampled_from(["*", "a*", "?", "ab", "*c"])),
    a("DBSIZE"),
    a("PING"),
    a(WAIT, st.sampled_from([125, 1000, 1125, 5000])),
)
