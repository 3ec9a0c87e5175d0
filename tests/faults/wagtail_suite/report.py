"""The findings of both runs, as text."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Final

from . import journal
from .runner import RESULTS

_EXAMPLES: Final = 2
_MOST_CHARACTERS: Final = 500

_COUNT: Final = " queries executed, "
"""What an assertion that counts queries says."""

_SAME: Final = {
    "number": ("model", "row", "events"),
    "action": ("model", "row", "event"),
    "subject": ("model",),
    "value": ("field", "part"),
    "links": ("field",),
    "surplus": ("type", "after"),
    "logged": ("message",),
    "raised": ("error",),
    "harness": ("error",),
}
"""The kinds of findings. Findings that agree in these details are one line of the report."""


def report(plain: Path, recorded: Path) -> int:
    """Print the report. Returns 1 if the recording breaks a test or an event is wrong."""
    before, after = (json.loads((run / RESULTS).read_text()) for run in (plain, recorded))
    for name, results in (("without", before), ("with", after)):
        print(
            f"{name} the recording: {results['tests']} tests, {len(results['failed'])} fail, "
            f"{results['seconds']:.0f} s"
        )
    lines = [*journal.read(recorded)]
    is_wrong = [
        _report_tests(before["failed"], after["failed"]),
        _report_counts(lines, {*after["stored"]}),
        _report_findings(lines),
    ]
    return int(any(is_wrong))


def _report_tests(before: dict[str, str], after: dict[str, str]) -> bool:
    """Print the tests that only the recording breaks. Returns whether there are any.

    A recording makes queries, so a test that counts queries may fail.
    """
    new = {test: text for test, text in sorted(after.items()) if test not in before}
    counting = {test: text for test, text in new.items() if _COUNT in text}
    print(f"\ntests that count more queries: {len(counting)}")
    for test, text in counting.items():
        print(f"  {test}: {next(line for line in text.splitlines() if _COUNT in line)}")
    print(f"\ntests that the recording breaks: {len(new) - len(counting)}")
    for test in new.keys() - counting.keys():
        print(f"  {test}\n    {_short(new[test].strip().splitlines()[-1])}")
    print(f"\ntests that pass only with the recording: {sorted(before.keys() - after.keys())}")
    return new.keys() > counting.keys()


def _report_counts(lines: list[dict[str, Any]], stored: set[str]) -> bool:
    """Print how much was compared. Returns whether Redis lacks an event that was sent to it."""
    counts = Counter(line["kind"] for line in lines)
    fixtures = sum(line.get("raw", False) for line in lines)
    made = {line["id"]: line["sent"] for line in lines if line["kind"] == "event"}
    lost = {event for event, is_sent in made.items() if is_sent} - stored
    print(
        f"\n{counts['save']} saves, of which loaddata made {fixtures}, "
        f"{counts['deletion']} deletions, {counts['m2m']} changes of links, "
        f"{counts['event']} events\n"
        f"in Redis: {len(stored)}, never made: {len(stored - made.keys())}, lost: {len(lost)}"
    )
    return bool(lost)


def _report_findings(lines: list[dict[str, Any]]) -> bool:
    """Print the findings, with examples of each sort. Returns whether there are any."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        kind = line["kind"]
        if kind in _SAME:
            groups[kind, *(str(line[detail]) for detail in _SAME[kind])].append(line)
    print(f"\nfindings: {sum(map(len, groups.values()))} of {len(groups)} sorts")
    for group, found in sorted(groups.items()):
        print(f"{len(found)} x {_short(' '.join(group))}")
        for line in found[:_EXAMPLES]:
            for name in sorted(line.keys() - {"kind", *_SAME[group[0]]}):
                print(f"    {name}: {_short(line[name])}")
    return bool(groups)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
