"""What an append costs the server, and whether what is waiting makes it dearer.

The figures are the server's own (INFO commandstats), so that the client's noise stays outside. The
cases take turns in every round; a ratio is the median of those of the rounds.
"""

import argparse
import statistics
from collections.abc import Callable

import django
import redis
from django.conf import settings

from example_project.embedded_redis import EmbeddedRedis

EVENT = {"path": "/shop/products/blue-shoe/", "status": 200, "agent": "x" * 130}
BACKLOG_EVENTS = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.append", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=2000, help="of each case in a round")
    options = parser.parse_args()
    with EmbeddedRedis() as embedded, redis.Redis.from_url(embedded.url) as plain:
        settings.configure(
            CACHES={
                "jsonbuffer": {
                    "BACKEND": "django_redis.cache.RedisCache",
                    "LOCATION": embedded.url,
                }
            },
            INSTALLED_APPS=["django_jsonbuffer"],
        )
        django.setup()
        measure(plain, rounds=options.rounds, calls=options.calls)


def measure(plain: redis.Redis, *, rounds: int, calls: int) -> None:
    from django_jsonbuffer import Bucket

    sealed = Bucket("backlog")
    sealed.extend([EVENT] * BACKLOG_EVENTS)
    unsealed = Bucket("backlog-unsealed", batch_size=None)
    unsealed.extend([EVENT] * BACKLOG_EVENTS)
    empty = Bucket("empty")
    encoded = empty.wiring.encoder.encode(EVENT)
    cases: dict[str, tuple[str, Callable[[], object]]] = {
        "append, bucket empty at first": ("evalsha", lambda: empty.append(EVENT)),
        f"append, {BACKLOG_EVENTS:,} pending": ("evalsha", lambda: sealed.append(EVENT)),
        f"append, {BACKLOG_EVENTS:,} in one open batch": (
            "evalsha",
            lambda: unsealed.append(EVENT),
        ),
        "RPUSH of the same bytes": ("rpush", lambda: plain.rpush("list", encoded)),
    }
    figures: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case, (command, call) in cases.items():
            figures[case].append(server_microseconds(plain, command, call, calls=calls))
        empty.purge()
        plain.delete("list")

    print(f"Server time per call, event of {len(encoded)} bytes, {rounds} rounds of {calls} calls")
    print("Medians (least to most), and the median of each round's ratio to the first")
    base = figures["append, bucket empty at first"]
    for case, values in figures.items():
        ratio = statistics.median(value / other for value, other in zip(values, base, strict=True))
        print(
            f"  {case:<40} {statistics.median(values):6.2f} µs "
            f"({min(values):.2f} to {max(values):.2f})   x {ratio:.2f}"
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
