"""The terminal of the demo: Ctrl-C, and the line of the totals. Or a file, with a line each."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from example_project.books import Books, Totals

IS_TERMINAL: Final = sys.stdout.isatty()

INTERVAL_SECONDS: Final = 0.2 if IS_TERMINAL else 1.0
"""How long to wait before the totals are shown again."""


@contextmanager
def live_line() -> Iterator[Callable[[Books], Totals]]:
    """Yield a function that shows the news and the totals, and returns the totals.

    On a terminal, the totals are written over by the next ones. News stay.
    """
    start, end = ("\r\033[K", "") if IS_TERMINAL else ("", "\n")

    def show(books: Books) -> Totals:
        for line in books.news():
            print(start, line, sep="")
        totals = books.totals()
        print(start, totals, sep="", end=end, flush=True)
        return totals

    try:
        yield show
    finally:
        print(start, end="", flush=True)


@contextmanager
def signals_noted() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM, so that they do not interrupt a call to Redis."""
    noted: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: noted.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield noted
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
