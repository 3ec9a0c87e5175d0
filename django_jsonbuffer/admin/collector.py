"""Pauses the garbage collector while thousands of objects are made.

Otherwise it would look at all objects of the process several times meanwhile, and find nothing: a
third of the time of a list of 10,000 buckets.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Does nothing if it is paused already, by another request or by the site itself."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
