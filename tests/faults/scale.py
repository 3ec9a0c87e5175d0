"""The scale of the fault tests: short by default, long with ``FAULTS=full``.

If ``FAULTS_REPORT`` names a file, the figures of the run are appended to it.
"""

import os
from typing import Final, TypeVar

T = TypeVar("T")

IS_FULL: Final = os.environ.get("FAULTS") == "full"


def report(fault: str, **figures: object) -> None:
    """Append one line with the figures of a test to the report."""
    if path := os.environ.get("FAULTS_REPORT"):
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
        with open(path, "a") as file:
            file.write(f"{fault}: {told}\n")


def scale(*, full: T, short: T) -> T:
    return full if IS_FULL else short
