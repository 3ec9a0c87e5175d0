from hypothesis import strategies as st

from .sending import KEYS, NAMES, PLACES, WAIT, a, check_same, some

IDS = st.sampled_from(
    [
        *("0", "0-0", "1", "1-1", "1-2", "2", "5-5", "9-0", "1767225600000", "1767225600000-1"),
        *("x", "1-1-1", "-1", f"{2**64 - 1}-{2**64 - 1}", f"{2**64}-0"),
    ]
)
BOUNDS = IDS | IDS.map("({}".format) | st.sampled_from(["-", "+", "(", ""])
COUNTS = st.sampled_from(
    [(), (), ("COUNT", 1), ("COUNT", 2), ("COUNT", 0), ("COUNT", -1), ("count", 1)]
)
BAD_COUNTS = st.sampled_from([("COUNT",), ("COUNT", "x"), ("NONSENSE", 1)])

CHANGES = (
    a("XADD", KEYS, "*", NAMES, "1"),
    a("XADD", KEYS, IDS, NAMES, "1", NAMES, "2"),
    a("XADD", KEYS, "*", some(NAMES)),
    a("XDEL", KEYS, some(IDS)),
    a("XTRIM", KEYS, "MAXLEN", "=", PLACES),
    a("XTRIM", KEYS, "MINID", "=", IDS),
    a("XTRIM", KEYS, "minid", "~", IDS, "LIMIT", st.integers(1, 3)),
    a(WAIT, st.sampled_from([125, 1000])),
)

test_same_as_a_server = check_same(
    *CHANGES,
    a("XLEN", KEYS),
    a("XRANGE", KEYS, BOUNDS, BOUNDS, COUNTS),
    a("XREVRANGE", KEYS, BOUNDS, BOUNDS, COUNTS),
    a("XRANGE", KEYS, "-", "+", BAD_COUNTS),
    a("XTRIM", KEYS, st.sampled_from([("MAXLEN", 1), ("MINID", "2"), ("MAXLEN",), ("X", "=", 1)])),
    a("XTRIM", KEYS, "MAXLEN", "=", 1, "LIMIT", 1),
)
