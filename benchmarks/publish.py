"""Write saved figures into the docs: `python -m benchmarks.publish FIGURES.json DOCS`."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import charts

Results = Sequence[Mapping[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish", description=__doc__)
    parser.add_argument("figures", type=Path, metavar="FIGURES.json")
    parser.add_argument("docs", type=Path, metavar="DOCS", help="the folder of the docs")
    options = parser.parse_args()
    publish(options.figures, options.docs)


def publish(figures: Path, docs: Path) -> None:
    """Write `figures.md`, with all figures as tables, and the charts into `docs`."""
    document = json.loads(figures.read_text())
    (docs / "images").mkdir(parents=True, exist_ok=True)
    (docs / "figures.md").write_text("\n".join(_page(document)) + "\n")
    medians = {
        result["title"]: {case: figure["median"] for case, figure in result["figures"].items()}
        for result in document["results"]
    }
    charts.draw_all(medians, docs / "images")


def _page(document: Mapping[str, Any]) -> Iterator[str]:
    packages = ", ".join(f"{name} {version}" for name, version in document["packages"].items())
    yield "# Figures"
    yield ""
    yield "<!-- Written by `make figures`. -->"
    yield ""
    yield (
        f"Measured by `make bench` on {document['machine']}: {document['server']}, "
        f"Python {document['python']}, {packages}. [Performance](performance.md) explains them. "
        "The same figures as JSON: [figures.json](../benchmarks/figures.json)."
    )
    results: Results = document["results"]
    yield from _ratios(results)
    for result in results:
        yield from _figures(result)


def _ratios(results: Results) -> Iterator[str]:
    yield ""
    yield "## Ratios"
    yield ""
    yield "| ratio | aim | median of the rounds | least to most |"
    yield "| --- | --- | --- | --- |"
    for result in results:
        for ratio in result["ratios"]:
            aim = ratio["aim"] + ("" if ratio["is_reached"] else ": **not reached**")
            spread = f"{ratio['least']:,.2f} to {ratio['most']:,.2f}"
            yield f"| {ratio['what']} | {aim} | {ratio['median']:,.2f} | {spread} |"


def _figures(result: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"## {result['title']}"
    yield ""
    yield f"| {result['unit']} | median | least to most |"
    yield "| --- | --- | --- |"
    for case, figure in result["figures"].items():
        spread = f"{figure['least']:,.2f} to {figure['most']:,.2f}"
        yield f"| {case} | {figure['median']:,.2f} | {spread} |"


if __name__ == "__main__":
    main()
