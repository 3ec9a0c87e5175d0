"""Run the benchmark suites one after the other, on servers of their own."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Final

from benchmarks import report
from benchmarks.rounds import Comparison, Result, Scale
from benchmarks.servers import project
from example_project.embedded_redis import EmbeddedRedisError
from example_project.postgres import PostgreSQLMissing

SUITES: Final = (
    "appending",
    "backlog",
    "server_time",
    "concurrency",
    "serving",
    "enqueuing",
    "draining",
    "sinks",
    "end_to_end",
    "many_buckets",
    "shards",
    "processes",
    "sizing",
    "recording",
    "memory",
    "starting",
)
"""Names of the modules. Each has a function `comparisons(scale)`."""

Comparisons = Callable[[Scale], Iterator[Comparison]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--quick", action="store_true", help="three minutes, to see that it works")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write all figures as JSON")
    options = parser.parse_args()
    if unknown := [suite for suite in options.suites if suite not in SUITES]:
        parser.error(f"There is no suite {', '.join(unknown)}. Choose from {', '.join(SUITES)}.")
    try:
        with project():
            results = [*run(options.suites or SUITES, Scale(is_quick=options.quick))]
            report.show_ratios(results)
            if options.save:
                report.save(results, options.save)
    except (EmbeddedRedisError, PostgreSQLMissing) as missing:
        sys.exit(str(missing))


def run(suites: Iterable[str], scale: Scale) -> Iterator[Result]:
    """Run and yield each comparison, and print its figures when it is done."""
    for suite in suites:
        comparisons: Comparisons = import_module(f"benchmarks.{suite}").comparisons
        for comparison in comparisons(scale):
            result = comparison.run()
            report.show(result)
            yield result


if __name__ == "__main__":
    main()
