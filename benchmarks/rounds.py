"""What the benchmarks share: a project to measure in, and cases that take turns in every round."""

import argparse
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import django
import redis
from django.conf import settings

from example_project.embedded_redis import EmbeddedRedis


def parsed_options(
    name: str, description: str | None, *, rounds: int, calls: int
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--calls", type=int, default=calls, help="of each case in a round")
    return parser.parse_args()


@contextmanager
def project(**further_settings: Any) -> Iterator[redis.Redis]:
    """Set Django up, once a process, with a server of its own. Gives a plain client of that."""
    with EmbeddedRedis() as embedded, redis.Redis.from_url(embedded.url) as plain:
        settings.configure(
            CACHES={
                "jsonbuffer": {
                    "BACKEND": "django_redis.cache.RedisCache",
                    "LOCATION": embedded.url,
                }
            },
            INSTALLED_APPS=["django_jsonbuffer"],
            **further_settings,
        )
        django.setup()
        yield plain


def take_turns(
    title: str,
    cases: Mapping[str, Callable[[], float]],
    *,
    rounds: int,
    clean_up: Callable[[], object],
) -> None:
    """Print what the cases have measured, in microseconds. Each round ends with `clean_up`."""
    figures: dict[str, list[float]] = {case: [] for case in cases}
    turns = [*cases.items()]
    for _ in range(rounds):
        for case, measure in turns:
            figures[case].append(measure())
        clean_up()
        turns.reverse()  # it costs a little to be the first after a cleaning up

    print(title)
    print("Medians (least to most), and the median of each round's ratio to the first")
    base = next(iter(figures.values()))
    for case, values in figures.items():
        ratio = statistics.median(value / other for value, other in zip(values, base, strict=True))
        print(
            f"  {case:<40} {statistics.median(values):6.2f} µs "
            f"({min(values):.2f} to {max(values):.2f})   x {ratio:.2f}"
        )
