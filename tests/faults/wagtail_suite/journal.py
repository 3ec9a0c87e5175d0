"""What all processes of a run found: one file per process, one JSON object per line.

A worker of ``--parallel`` ends without its exit functions, so each line is written at once.
"""

import json
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import IO, Any, Final
from unittest import TestCase

FOLDER: Final = "WAGTAIL_SUITE_FOLDER"
"""Environment variable: the folder for the files of one run."""


def write(kind: str, **details: Any) -> None:
    line = json.dumps({"kind": kind, **details}, default=repr)
    _file(os.getpid()).write(f"{line}\n")


def find(kind: str, **details: Any) -> None:
    """Write something that should not be, with the test in which it happened."""
    write(kind, test=_present_test(), **details)


def read(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        with path.open() as lines:
            yield from map(json.loads, lines)


@cache
def _file(process: int) -> IO[str]:
    # The process is a parameter, so that a forked child opens a file of its own.
    return (Path(os.environ[FOLDER]) / f"{process}.jsonl").open("a", buffering=1)


def callers() -> Iterator[FrameType]:
    """The frames of the present call, the innermost first."""
    frame: FrameType | None = sys._getframe()
    while frame := frame and frame.f_back:
        yield frame


def _present_test() -> str:
    """The test on the stack. In ``setUpTestData`` it is a class."""
    for frame in callers():
        for name in ("self", "cls"):
            test: Any = frame.f_locals.get(name)
            # Not isinstance(), which would evaluate a lazy object.
            if issubclass(type(test), TestCase):
                return str(test.id())
            if issubclass(type(test), type) and issubclass(test, TestCase):
                return f"{test.__module__}.{test.__qualname__}"
    return "outside of a test"
