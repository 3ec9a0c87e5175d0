"""The number of shards of a bucket changes while processes append and workers drain."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from django_jsonbuffer import Bucket
from tests.faults.appending import event_of
from tests.faults.scale import report, scale
from tests.faults.test_appends import appending_process
from tests.faults.workers import Seen, Workers, wait_until_drained

THREADS: Final = 4
"""Of each process that appends."""

MILLISECONDS: Final = scale(full=10_000, short=400)
"""How long processes with two numbers of shards append at the same time."""


@contextmanager
def workers(folder: Path, *shards: int) -> Iterator[list[Workers]]:
    """A worker for each of these numbers of shards."""
    with ExitStack() as stack:
        every = [
            stack.enter_context(
                Workers(folder / str(number), "note", batch_size=20, lease=60, shards=number)
            )
            for number in shards
        ]
        for each in every:
            each.start()
        yield every


def test_another_number_under_load_loses_nothing(tmp_path: Path) -> None:
    """As when a site is deployed again: old and new processes append and drain at one time."""
    numbers = (2, 6, 1)
    with workers(tmp_path, 2, 1) as (old, new):
        output = appending_process("shards", THREADS, MILLISECONDS, *numbers)
        for each in (old, new):
            os.kill(each.running[0], signal.SIGTERM)
            assert each.wait(each.running[0]) == 0
        for event in range(-100, 0):
            Bucket("faulty", shards=max(numbers)).append(event, ordering_key=event)
        new.start()  # without a message about any shard
        wait_until_drained(Bucket("faulty"))
        seen = Seen(old.lines() + new.lines())
    confirmed = {
        event_of(process, thread, number)
        for process, counts in enumerate(json.loads(output))
        for thread, count in enumerate(counts)
        for number in range(count)
    }
    assert seen.counts == dict.fromkeys([*confirmed, *range(-100, 0)], 1)
    used = {batch.partition("#")[2] for batch in seen.deliveries}
    assert used == {"", "1", "2", "3", "4", "5"}
    report(
        "number of shards changes under load",
        numbers=" ".join(map(str, numbers)),
        confirmed=len(confirmed),
        lost=0,
        twice=0,
    )
