"""The shapes of the charts: cards, bars and names, on axes of matplotlib."""

from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import IdentityTransform

Points = list[tuple[int, float]]
"""The points of a line."""

End = tuple[float, float, str]
"""The end of a line: its x, its y and the name of the line."""

OURS: Final = ("append", "aappend", "django_jsonbuffer")
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


def is_ours(case: str) -> bool:
    return case.startswith(OURS)


def card(title: str, *, height: float) -> Axes:
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


def place(axes: Axes, *, left: float, right: float, top: float, bottom: float) -> None:
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


def lines(axes: Axes, series: Mapping[str, Points]) -> list[End]:
    """Draw a line for each series of points. Returns the ends of the lines."""
    for number, (name, points) in enumerate(series.items()):
        points.sort()
        axes.plot(
            *zip(*points, strict=True),
            color=STRONG if is_ours(name) else OTHERS[number % len(OTHERS)],
            linewidth=2.4 if is_ours(name) else 1.4,
            marker="o",
            markersize=4 if is_ours(name) else 3,
            zorder=3 if is_ours(name) else 2,
        )
    return [(*points[-1], name) for name, points in series.items()]


def write_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write the name of each line at its end."""
    for x, y, name in ends:
        strong = is_ours(name)
        write(axes, x, y, "django_jsonbuffer" if strong else name, is_strong=strong, gap=8)


def bars(
    axes: Axes,
    rows: Sequence[float],
    names: Sequence[str],
    lengths: Sequence[float],
    labels: Sequence[str],
) -> None:
    """Draw bars from the top down, each with its name on the left and its label on the right."""
    colours = [STRONG if is_ours(name) else OTHERS[2] for name in names]
    axes.barh(rows, lengths, height=0.64, color=colours)
    axes.set(xlim=(0, max(lengths)), ylim=(rows[-1] + 0.5, rows[0] - 0.5), xticks=[])
    axes.set_yticks(rows, names)
    axes.spines["bottom"].set_visible(False)
    for row, name, length, label in zip(rows, names, lengths, labels, strict=True):
        write(axes, length, row, label, is_strong=is_ours(name), gap=5)


def write(axes: Axes, x: float, y: float, text: str, *, is_strong: bool, gap: float) -> None:
    axes.annotate(
        text,
        (x, y),
        (gap, 0),
        textcoords="offset points",
        verticalalignment="center_baseline",
        color=STRONG if is_strong else QUIET,
        fontweight="bold" if is_strong else "normal",
    )


def apart(ends: Sequence[End], *, factor: float = 1, distance: float = 0) -> list[End]:
    """Sort the ends from the lowest, and move them apart so that no name covers another.

    `factor` is for a logarithmic axis, `distance` for a linear one.
    """
    apart: list[End] = []
    for x, y, name in sorted(ends, key=lambda end: end[1]):
        lowest = apart[-1][1] * factor + distance if apart else y
        apart.append((x, max(y, lowest), name))
    return apart


def svg(axes: Axes, title: str) -> str:
    """The SVG, with a title for screen readers. The same figures always give the same text."""
    output = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    axes.figure.figure.savefig(output, format="svg", metadata=nothing)
    svg = output.getvalue().replace("'DejaVu Sans', ", "")
    head, tag, rest = svg.partition("<svg ")
    attributes, end, body = rest.partition(">")
    return f'{head}{tag}role="img" {attributes}{end}\n <title>{escape(title)}</title>{body}'
