from hypothesis import strategies as st

from .sending import KEYS, PLACES, a, check_same, some
from .test_streams import BOUNDS, CHANGES, COUNTS, IDS

GROUPS = st.sampled_from(["g", "g", "g", "h"])
CONSUMERS = st.sampled_from(["one", "two"])
IDLE = st.sampled_from([0, 125, 1000, 10_000, -1, "x"])
FLAGS = st.sampled_from(
    [
        *((), (), ("JUSTID",), ("FORCE",), ("FORCE", "JUSTID"), ("IDLE", 500), ("idle", 2000)),
        *(("IDLE", -5), ("IDLE", 10**15), ("RETRYCOUNT", 0), ("RETRYCOUNT", 3, "JUSTID")),
        *(("RETRYCOUNT", 1, "FORCE", "JUSTID"), ("IDLE", 700, "RETRYCOUNT", 0, "FORCE", "JUSTID")),
        *(("IDLE",), ("NONSENSE",)),
    ]
)
STARTS = st.sampled_from(["0", "$", "1-1", "5", "x"])

test_same_as_a_server = check_same(
    *CHANGES,
    *[a("XADD", KEYS, "*", "x", "1")] * 3,
    a("XGROUP CREATE", KEYS, GROUPS, STARTS),
    *[a("XGROUP CREATE", KEYS, GROUPS, STARTS, "MKSTREAM")] * 3,
    a("XGROUP CREATE", KEYS, GROUPS, "0", "NONSENSE"),
    a("XGROUP SETID", KEYS, GROUPS, STARTS),
    a("XGROUP DELCONSUMER", KEYS, GROUPS, CONSUMERS),
    a("XGROUP DESTROY", KEYS, GROUPS),
    *[a("XREADGROUP GROUP", GROUPS, CONSUMERS, COUNTS, "STREAMS", KEYS, ">")] * 4,
    a("XACK", KEYS, GROUPS, some(IDS)),
    *[a("XCLAIM", KEYS, GROUPS, CONSUMERS, IDLE, some(IDS), FLAGS)] * 4,
    a("XPENDING", KEYS, GROUPS),
    a("XPENDING", KEYS, GROUPS, BOUNDS, BOUNDS, PLACES),
    a("XPENDING", KEYS, GROUPS, "-", "+", 10, CONSUMERS),
    a("XPENDING", KEYS, GROUPS, "IDLE", IDLE, "-", "+", 10, some(CONSUMERS, 1)),
    a("XINFO GROUPS", KEYS),
    a("XINFO CONSUMERS", KEYS, GROUPS),
)
