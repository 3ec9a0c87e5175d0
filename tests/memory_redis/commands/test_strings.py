from hypothesis import strategies as st

from .sending import KEYS, PLACES, TEXTS, a, check_same

OPTIONS = st.sampled_from(
    [
        *((), (), ("NX",), ("xx",), ("PX", 5000), ("EX", 5), ("KEEPTTL",), ("XX", "PX", 5000)),
        *(("PX",), ("PX", "x"), ("PX", 0), ("NONSENSE",)),
    ]
)

test_same_as_a_server = check_same(
    a("SET", KEYS, TEXTS, OPTIONS),
    a("GET", KEYS),
    a("STRLEN", KEYS),
    a("APPEND", KEYS, TEXTS),
    a("GETRANGE", KEYS, PLACES, PLACES),
    a("SETRANGE", KEYS, PLACES.filter(lambda place: place != 2**63 - 1), TEXTS),
    a("SETRANGE", KEYS, 512 * 1024 * 1024, TEXTS),
    a("INCRBY", KEYS, PLACES),
    a("DECRBY", KEYS, PLACES),
    a("PTTL", KEYS),
)
