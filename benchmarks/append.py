"""What an append costs the server, and whether what is waiting makes it dearer.

The figures are the server's own (INFO commandstats), so that the client's noise stays outside. The
cases take turns in every round; a ratio is the median of those of the rounds.
"""

from collections.abc import Callable
from functools import partial

import redis

from benchmarks.rounds import parsed_options, project, take_turns

EVENT = {"path": "/shop/products/blue-shoe/", "status": 200, "agent": "x" * 130}
BACKLOG_EVENTS = 100_000


def main() -> None:
    options = parsed_options("append", __doc__, rounds=15, calls=2000)
    with project() as plain:
        measure(plain, rounds=options.rounds, calls=options.calls)


def measure(plain: redis.Redis, *, rounds: int, calls: int) -> None:
    from django_jsonbuffer import Bucket

    sealed = Bucket("backlog")
    sealed.extend([EVENT] * BACKLOG_EVENTS)
    unsealed = Bucket("backlog-unsealed", batch_size=None)
    unsealed.extend([EVENT] * BACKLOG_EVENTS)
    empty = Bucket("empty")
    encoded = empty.wiring.encoder.encode(EVENT)
    server_time = partial(server_microseconds, plain, calls=calls)

    def clean_up() -> None:
        empty.purge()
        plain.delete("list")

    take_turns(
        f"Server time per call, event of {len(encoded)} bytes, {rounds} rounds of {calls} calls",
        {
            "append, bucket empty at first": lambda: server_time(
                "evalsha", lambda: empty.append(EVENT)
            ),
            f"append, {BACKLOG_EVENTS:,} pending": lambda: server_time(
                "evalsha", lambda: sealed.append(EVENT)
            ),
            f"append, {BACKLOG_EVENTS:,} in one open batch": lambda: server_time(
                "evalsha", lambda: unsealed.append(EVENT)
            ),
            "RPUSH of the same bytes": lambda: server_time(
                "rpush", lambda: plain.rpush("list", encoded)
            ),
        },
        rounds=rounds,
        clean_up=clean_up,
    )


def server_microseconds(
    plain: redis.Redis, command: str, call: Callable[[], object], *, calls: int
) -> float:
    plain.config_resetstat()
    for _ in range(calls):
        call()
    stats = plain.info("commandstats")[f"cmdstat_{command}"]
    return float(stats["usec"]) / float(stats["calls"])


if __name__ == "__main__":
    main()
