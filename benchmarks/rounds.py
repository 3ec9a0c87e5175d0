"""Comparisons: cases that take turns in every round, and the ratios of their figures."""

import gc
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

Measure = Callable[[], float]
"""Does the work of one turn, and returns the cost of one event or call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """The cost of one case divided by the cost of another: a row of the table of ratios."""

    what: str
    of: str
    to: str
    beyond: str | None = None
    """A case whose cost is subtracted from both: the ratio then compares what each adds to it."""

    at_most: float | None = None
    at_least: float | None = None

    @property
    def aim(self) -> str:
        """The target in words. Empty without a target."""
        if self.at_most is not None:
            return f"at most {self.at_most:.3g}"
        return f"at least {self.at_least:.3g}" if self.at_least is not None else ""


class Spread(NamedTuple):
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A measured ratio: the median of the ratios of the rounds."""

    ratio: Ratio
    figure: Spread

    @property
    def is_reached(self) -> bool:
        at_most, at_least = self.ratio.at_most, self.ratio.at_least
        return (at_most is None or self.figure.median <= at_most) and (
            at_least is None or self.figure.median >= at_least
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    title: str
    unit: str
    figures: Mapping[str, Spread]
    outcomes: Sequence[Outcome]

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "unit": self.unit,
            "figures": {case: figure._asdict() for case, figure in self.figures.items()},
            "ratios": [
                {
                    "what": outcome.ratio.what,
                    "of": outcome.ratio.of,
                    "to": outcome.ratio.to,
                    "beyond": outcome.ratio.beyond,
                    "aim": outcome.ratio.aim,
                    "is_reached": outcome.is_reached,
                    **outcome.figure._asdict(),
                }
                for outcome in self.outcomes
            ],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Cases that are measured in turn: a machine whose speed drifts affects all of them alike."""

    title: str
    unit: str
    cases: Mapping[str, Measure]
    rounds: int
    ratios: Sequence[Ratio] = ()
    clean_up: Callable[[], object] = lambda: None
    """Called after every turn."""

    def run(self) -> Result:
        figures: dict[str, list[float]] = {case: [] for case in self.cases}
        turns = [*self.cases.items()]
        for _ in range(self.rounds):
            for case, measure in turns:
                gc.collect()
                figures[case].append(measure())
                self.clean_up()
            turns.reverse()  # so that no case always runs on the warmer machine
        return Result(
            title=self.title,
            unit=self.unit,
            figures={case: Spread.of(values) for case, values in figures.items()},
            outcomes=[
                Outcome(ratio=ratio, figure=Spread.of(_of_each_round(ratio, figures)))
                for ratio in self.ratios
            ],
        )


def _of_each_round(ratio: Ratio, figures: Mapping[str, Sequence[float]]) -> list[float]:
    of, to = figures[ratio.of], figures[ratio.to]
    beyond = figures[ratio.beyond] if ratio.beyond else [0.0] * len(of)
    return [
        (a - base) / (b - base) if b > base else math.inf
        for a, b, base in zip(of, to, beyond, strict=True)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """The size of a run: a full one, or a quick one, which only shows that each suite runs."""

    is_quick: bool

    def rounds(self, full: int) -> int:
        return 1 if self.is_quick else full

    def count(self, full: int, *, quick: int | None = None) -> int:
        """The number of events or calls. A quick run has `quick`, by default a tenth."""
        if not self.is_quick:
            return full
        return max(full // 10, 1) if quick is None else quick


def microseconds(call: Callable[[], object], *, calls: int, events_a_call: int = 1) -> float:
    """The microseconds per event, measured over that many calls in a row."""
    began = perf_counter()
    for _ in range(calls):
        call()
    return (perf_counter() - began) / (calls * events_a_call) * 1e6
