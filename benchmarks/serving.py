"""Measure the requests of a web server whose view appends an event, and of one that does not."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Final

from benchmarks.rounds import Comparison, Measure, Ratio, Scale
from benchmarks.urls import served
from benchmarks.web_servers import GUNICORN, UVICORN, serving

MEDIAN: Final = "median"
P99: Final = "99th percentile"
WITHOUT: Final = "the same view without"
BY_HAND: Final = "the same view with one RPUSH"

MOST_BUSY: Final = 0.8
"""Largest share of a core that the clients may take. Above it, they measure themselves."""


class LoadFailed(Exception):
    """The clients were too slow to measure the web server."""


class Load:
    """Turns of requests to one path. Each turn gives one figure of each kind."""

    def __init__(self, socket: str, path: str, *, clients: int, requests: int) -> None:
        self._command = [sys.executable, "-m", "benchmarks.load", socket, path]
        self._command += ["--clients", str(clients), "--requests", str(requests)]
        self._unread: dict[str, float] = {}
        self.errors = 0
        """Responses of all turns whose status was not 200."""

    def figure(self, kind: str) -> float:
        """The figure of the last turn, or of a new one if it was read before."""
        if kind not in self._unread:
            self._unread = self._turn()
        return self._unread.pop(kind)

    def _turn(self) -> dict[str, float]:
        done = subprocess.run(self._command, check=True, stdout=subprocess.PIPE, text=True)
        summary = json.loads(done.stdout)
        if summary["busy"] > MOST_BUSY:
            raise LoadFailed(f"The clients took {summary['busy']:.0%} of a core.")
        self.errors += summary["errors"]
        return {MEDIAN: summary["median_ms"], P99: summary["p99_ms"]}


def comparisons(scale: Scale) -> Iterator[Comparison]:
    rounds = scale.rounds(5)
    with serving(UVICORN) as uvicorn:
        load = partial(Load, uvicorn.socket, clients=200, requests=scale.count(6_000))
        with_append, without = load("/async/with"), load("/async/without")
        loads = {"view with one aappend": with_append, WITHOUT: without}
        yield from _compared("uvicorn, 200 clients", loads, rounds, at_most=1.15)
    with serving(GUNICORN) as gunicorn:
        load = partial(Load, gunicorn.socket, clients=100, requests=scale.count(10_000))
        with_append, without = load("/sync/with"), load("/sync/without")
        by_hand = load("/sync/rpush")  # any call to Redis lets another thread go on
        loads = {"view with one append": with_append, WITHOUT: without, BY_HAND: by_hand}
        yield from _compared("gunicorn of 8 threads, 100 clients", loads, rounds, at_most=1.2)


def _compared(
    where: str, loads: dict[str, Load], rounds: int, *, at_most: float
) -> Iterator[Comparison]:
    yield _latencies(where, loads, rounds, at_most)
    errors: dict[str, Measure] = {view: partial(float, load.errors) for view, load in loads.items()}
    yield Comparison(
        title=f"Responses other than 200, of all rounds: {where}",
        unit="responses",
        cases=errors,
        rounds=1,
    )


def _latencies(where: str, loads: dict[str, Load], rounds: int, at_most: float) -> Comparison:
    cases: dict[str, Measure] = {
        f"{view}, {kind}": partial(load.figure, kind)
        for view, load in loads.items()
        for kind in (MEDIAN, P99)
    }
    view, *others = loads
    return Comparison(
        title=f"Latency of a request: {where}",
        unit="ms",
        cases=cases,
        rounds=rounds,
        ratios=[
            Ratio(
                what=f"{where}: {view} / {other}, {kind}",
                of=f"{view}, {kind}",
                to=f"{other}, {kind}",
                at_most=at_most if other == WITHOUT else None,
            )
            for other in others
            for kind in (MEDIAN, P99)
        ],
        clean_up=served.purge,
    )
