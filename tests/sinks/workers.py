"""Several workers at a time."""

from collections.abc import Callable, Sequence
from threading import Barrier, Thread
from typing import TypeVar

from django.db import connections

Part = TypeVar("Part")


def run_together(work: Callable[[Part], object], parts: Sequence[Part]) -> list[Exception]:
    """Call the function with each part, in a thread each. Returns what they raised."""
    errors: list[Exception] = []
    barrier = Barrier(len(parts))

    def run(part: Part) -> None:
        barrier.wait(60)
        try:
            work(part)
        except Exception as error:  # noqa: BLE001
            errors.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=run, args=[part]) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    return errors
