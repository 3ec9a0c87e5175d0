"""How much of everything: a short run by default, ``FAULTS=full`` for the long one.

A run that has a file named in ``FAULTS_REPORT`` leaves its figures there.
"""

import os
from typing import Final, TypeVar

T = TypeVar("T")

IS_FULL: Final = os.environ.get("FAULTS") == "full"


def report(fault: str, **figures: object) -> None:
    """One line of what was done and found."""
    if path := os.environ.get("FAULTS_REPORT"):
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
        with open(path, "a") as file:
            file.write(f"{fault}: {told}\n")


def scale(*, full: T, short: T) -> T:
    return full if IS_FULL else short
