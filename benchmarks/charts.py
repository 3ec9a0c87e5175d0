"""Draw charts of the figures."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO
from math import ceil, floor, log10
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import IdentityTransform

Medians = Mapping[str, Mapping[str, float]]
"""The median of each case, by the title of its comparison."""

End = tuple[float, float, str]
"""The end of a line: its x, its y and the name of the line."""

BACKLOG: Final = "Cost of an append by backlog"
WAITING: Final = re.compile(r"(.+), ([\d,]+) waiting")
END_TO_END: Final = "Event to processed, end to end"
AT_REST: Final = re.compile(r"Memory of an event at rest: (.+)")
ENCODED: Final = "the encoded bytes"

OURS: Final = ("append", "django_jsonbuffer")
"""The beginnings of the names of this app's cases."""

WIDTH: Final = 570
"""In points. This is 760 pixels."""

CARD, INK, QUIET, LINE = "#f6f8fa", "#1f2328", "#57606a", "#d0d7de"
STRONG: Final = "#0550ae"
OTHERS: Final = ("#57606a", "#6e7781", "#848d97")

STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "django_jsonbuffer",
    "font.sans-serif": ["DejaVu Sans"],  # for measuring text; the browser uses its own font
    "font.size": 9,
    "text.color": INK,
    "axes.facecolor": "none",
    "axes.edgecolor": LINE,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.color": LINE,
    "ytick.labelcolor": QUIET,
    "ytick.major.size": 0,
}


def draw_all(medians: Medians, folder: Path) -> None:
    """Write one SVG file per chart, for each chart that has figures."""
    for draw in (backlog, end_to_end, at_rest):
        with mpl.rc_context(STYLE):
            if svg := draw(medians):
                (folder / f"{draw.__name__}.svg").write_text(svg)


def backlog(medians: Medians) -> str | None:
    """Lines: the time of an append, by the number of events that wait."""
    series: dict[str, list[tuple[int, float]]] = {}
    for case, figure in medians.get(BACKLOG, {}).items():
        if match := WAITING.fullmatch(case):
            # Zero has no place on a logarithmic axis.
            waiting = max(int(match[2].replace(",", "")), 1)
            series.setdefault(match[1], []).append((waiting, figure))
    if not series:
        return None
    axes = _card("Microseconds of an append, by the events that wait", height=250)
    _place(axes, left=52, right=16, top=44, bottom=32)
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
    ends = []
    for number, (name, points) in enumerate(series.items()):
        points.sort()
        axes.plot(
            *zip(*points, strict=True),
            color=STRONG if _is_ours(name) else OTHERS[number % len(OTHERS)],
            linewidth=2.4 if _is_ours(name) else 1.4,
            marker="o",
            markersize=4 if _is_ours(name) else 3,
            zorder=3 if _is_ours(name) else 2,
        )
        ends.append((*points[-1], name))
    for x, y, name in _apart(ends, factor=10 ** ((highest - lowest) / 14)):
        is_ours = _is_ours(name)
        _write(axes, x, y, "django_jsonbuffer" if is_ours else name, is_ours=is_ours, gap=8)
    return _svg(axes, "Microseconds of an append, by the number of events that wait")


def end_to_end(medians: Medians) -> str | None:
    """Bars: events a second, from the call that appends to the end of processing."""
    times = medians.get(END_TO_END)
    if not times:
        return None
    names = sorted(times, key=times.__getitem__)
    rates = [1e6 / times[name] for name in names]
    axes = _card("Events a second, from append to processed", height=54 + 20 * len(names))
    _place(axes, left=200, right=60, top=40, bottom=12)
    _bars(axes, range(len(names)), names, rates, [f"{rate:,.0f}" for rate in rates])
    return _svg(axes, "Events a second, from append to processed")


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
    axes = _card("Bytes in Redis for each byte of JSON", height=54 + 17 * (rows[-1] + 1))
    _place(axes, left=200, right=60, top=40, bottom=12)
    _bars(axes, rows, names, ratios, [f"{ratio:.2f}" for ratio in ratios])
    for kind, top in tops.items():
        axes.annotate(
            kind,
            (14, top),
            xycoords=("figure points", "data"),
            verticalalignment="center_baseline",
        )
    return _svg(axes, "Bytes in Redis for each byte of JSON, by the kind of event")


def _is_ours(case: str) -> bool:
    return case.startswith(OURS)


def _card(title: str, *, height: float) -> Axes:
    """Axes on a card that is light on light and on dark pages."""
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    corners = FancyBboxPatch(
        (0, 0),
        WIDTH,
        height,
        boxstyle="round,pad=0,rounding_size=6",
        transform=IdentityTransform(),
        facecolor=CARD,
        linewidth=0,
        zorder=-1,
    )
    figure.add_artist(corners)
    figure.text(14 / WIDTH, 1 - 22 / height, title, fontsize=10.5, fontweight="bold")
    return figure.add_subplot()


def _place(axes: Axes, *, left: float, right: float, top: float, bottom: float) -> None:
    """Place the axes that many points from the edges of the card."""
    height = axes.figure.bbox.height
    axes.set_position(
        (
            left / WIDTH,
            bottom / height,
            (WIDTH - left - right) / WIDTH,
            (height - bottom - top) / height,
        )
    )


def _bars(
    axes: Axes,
    rows: Sequence[float],
    names: Sequence[str],
    lengths: Sequence[float],
    labels: Sequence[str],
) -> None:
    """Draw bars from the top down, each with its name on the left and its label on the right."""
    colours = [STRONG if _is_ours(name) else OTHERS[2] for name in names]
    axes.barh(rows, lengths, height=0.64, color=colours)
    axes.set(xlim=(0, max(lengths)), ylim=(rows[-1] + 0.5, rows[0] - 0.5), xticks=[])
    axes.set_yticks(rows, names)
    axes.spines["bottom"].set_visible(False)
    for row, name, length, label in zip(rows, names, lengths, labels, strict=True):
        _write(axes, length, row, label, is_ours=_is_ours(name), gap=5)


def _write(axes: Axes, x: float, y: float, text: str, *, is_ours: bool, gap: float) -> None:
    axes.annotate(
        text,
        (x, y),
        (gap, 0),
        textcoords="offset points",
        verticalalignment="center_baseline",
        color=STRONG if is_ours else QUIET,
        fontweight="bold" if is_ours else "normal",
    )


def _apart(ends: Sequence[End], *, factor: float) -> list[End]:
    """Sort the ends from the lowest, and move them apart so that no name covers another."""
    apart: list[End] = []
    for x, y, name in sorted(ends, key=lambda end: end[1]):
        apart.append((x, max(y, apart[-1][1] * factor) if apart else y, name))
    return apart


def _svg(axes: Axes, title: str) -> str:
    """The SVG, with a title for screen readers. The same figures always give the same text."""
    output = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    axes.figure.figure.savefig(output, format="svg", metadata=nothing)
    svg = output.getvalue().replace("'DejaVu Sans', ", "")
    head, tag, rest = svg.partition("<svg ")
    attributes, end, body = rest.partition(">")
    return f'{head}{tag}role="img" {attributes}{end}\n <title>{escape(title)}</title>{body}'
