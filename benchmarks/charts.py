"""Draw charts of the figures."""

import re
from collections.abc import Mapping
from math import ceil, floor, log10
from pathlib import Path
from typing import Final

import matplotlib as mpl

from benchmarks.drawing import (
    LINE,
    STYLE,
    Points,
    apart,
    bars,
    card,
    lines,
    place,
    svg,
    write_ends,
)

Medians = Mapping[str, Mapping[str, float]]
"""The median of each case, by the title of its comparison."""

BACKLOG: Final = "Cost of an append by backlog"
WAITING: Final = re.compile(r"(.+), ([\d,]+) waiting")
BY_THREADS: Final = "Cost of an append by threads"
THREADS: Final = re.compile(r"(append|RPUSH), ([\d,]+) threads?")
BY_TASKS: Final = "Cost of an append by tasks"
TASKS: Final = re.compile(r"(aappend|RPUSH), ([\d,]+) tasks?")
END_TO_END: Final = "Event to processed, end to end"
AT_REST: Final = re.compile(r"Memory of an event at rest: (.+)")
ENCODED: Final = "the encoded bytes"


def draw_all(medians: Medians, folder: Path) -> None:
    """Write one SVG file per chart, for each chart that has figures."""
    for draw in (backlog, threads, tasks, end_to_end, at_rest):
        with mpl.rc_context(STYLE):
            if chart := draw(medians):
                (folder / f"{draw.__name__}.svg").write_text(chart)


def backlog(medians: Medians) -> str | None:
    """Lines: the time of an append, by the number of events that wait."""
    series = _series(medians.get(BACKLOG, {}), WAITING)
    if not series:
        return None
    axes = card("Microseconds of an append, by the events that wait", height=250)
    place(axes, left=52, right=16, top=44, bottom=32)
    figures = [figure for points in series.values() for _, figure in points]
    counts = sorted({waiting for points in series.values() for waiting, _ in points})
    lowest, highest = floor(log10(min(figures))), ceil(log10(max(figures)))
    decades = [10.0**exponent for exponent in range(lowest, highest + 1)]
    axes.set(xscale="log", yscale="log", xlim=(0.7, counts[-1] * 20))
    axes.set_ylim(decades[0], decades[-1])
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.set_yticks(decades, [f"{decade:,.9g}" for decade in decades])
    axes.minorticks_off()
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    ends = lines(axes, series)
    write_ends(axes, apart(ends, factor=10 ** ((highest - lowest) / 14)))
    return svg(axes, "Microseconds of an append, by the number of events that wait")


def threads(medians: Medians) -> str | None:
    """Lines: the time of an append, by the number of threads that append."""
    title = "Microseconds per event, by the threads that append"
    return _by_callers(_series(medians.get(BY_THREADS, {}), THREADS), title)


def tasks(medians: Medians) -> str | None:
    """Lines: the time of an append, by the number of asyncio tasks that append."""
    title = "Microseconds per event, by the asyncio tasks that append"
    return _by_callers(_series(medians.get(BY_TASKS, {}), TASKS), title)


def _by_callers(series: Mapping[str, Points], title: str) -> str | None:
    if not series:
        return None
    axes = card(title, height=210)
    place(axes, left=52, right=16, top=44, bottom=32)
    highest = 1.1 * max(figure for points in series.values() for _, figure in points)
    counts = sorted({count for points in series.values() for count, _ in points})
    # The names stand at the right of the last points.
    axes.set(xscale="log", xlim=(0.9, counts[-1] ** 1.35), ylim=(0, highest))
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    write_ends(axes, apart(lines(axes, series), distance=highest / 11))
    return svg(axes, title)


def _series(figures: Mapping[str, float], case: re.Pattern[str]) -> dict[str, Points]:
    """The points of each line. The pattern finds the name of the line, and the number."""
    series: dict[str, Points] = {}
    for name, figure in figures.items():
        if match := case.fullmatch(name):
            # Zero has no place on a logarithmic axis.
            number = max(int(match[2].replace(",", "")), 1)
            series.setdefault(match[1], []).append((number, figure))
    return series


def end_to_end(medians: Medians) -> str | None:
    """Bars: events a second, from the call that appends to the end of processing."""
    times = medians.get(END_TO_END)
    if not times:
        return None
    names = sorted(times, key=times.__getitem__)
    rates = [1e6 / times[name] for name in names]
    axes = card("Events a second, from append to processed", height=54 + 20 * len(names))
    place(axes, left=200, right=60, top=40, bottom=12)
    bars(axes, range(len(names)), names, rates, [f"{rate:,.0f}" for rate in rates])
    return svg(axes, "Events a second, from append to processed")


def at_rest(medians: Medians) -> str | None:
    """Bars: bytes in Redis for each byte of JSON, by the kind of event."""
    groups = {
        match[1]: figures
        for title, figures in medians.items()
        if (match := AT_REST.fullmatch(title))
    }
    if not groups:
        return None
    rows: list[float] = []
    names: list[str] = []
    ratios: list[float] = []
    tops: dict[str, float] = {}
    for kind, figures in groups.items():
        tops[kind] = rows[-1] + 1.7 if rows else 0
        rows += [tops[kind] + row for row in range(len(figures))]
        names += figures
        ratios += [figure / figures[ENCODED] for figure in figures.values()]
    axes = card("Bytes in Redis for each byte of JSON", height=54 + 17 * (rows[-1] + 1))
    place(axes, left=200, right=60, top=40, bottom=12)
    bars(axes, rows, names, ratios, [f"{ratio:.2f}" for ratio in ratios])
    for kind, top in tops.items():
        axes.annotate(
            kind,
            (14, top),
            xycoords=("figure points", "data"),
            verticalalignment="center_baseline",
        )
    return svg(axes, "Bytes in Redis for each byte of JSON, by the kind of event")
