"""What a processor writes of each batch, for the benchmark of many buckets."""

import os
import threading
import time
from functools import cache
from typing import Final

from django_jsonbuffer import Batch

LOG: Final = "BENCHMARKS_LOG"
"""Environment variable with the path of the file."""


def note(batch: Batch) -> None:
    """Write a line: bucket, time, seconds waited, events, CPU seconds and threads so far."""
    now = time.time()
    figures = (now, now - batch[0], len(batch), time.process_time(), threading.active_count())
    line = " ".join(map(str, (batch.bucket, *figures)))
    os.write(_log(), f"{line}\n".encode())


@cache
def _log() -> int:
    return os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND)
