"""A process that has imported everything, so that it forks a worker within milliseconds.

It reads commands from its standard input, and answers each with a line. `start` returns the process
id of another worker, `ended PID` 1 if the worker has ended or else 0, and `wait PID` its exit code.
"""

import json
import logging
import os
import random
import resource
import signal
import sys
import time
from typing import Any

import django

JOURNAL = "FAULTS_JOURNAL"
CLOCK = "FAULTS_CLOCK"
"""Variable that says by how many seconds the clock is wrong."""


def _write(kind: str, *rest: Any) -> None:
    """Write one line to the journal, in one call, so that lines of workers do not mix."""
    line = json.dumps([os.getpid(), kind, *rest]) + "\n"
    descriptor = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)


class _Journal(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _write("said", "", 0, (), record.getMessage())


def note(batch: Any) -> None:
    """A processor that takes 10 ms, and writes to the journal alone."""
    _write("begun", batch.id, batch.attempt, tuple(batch))
    time.sleep(0.01)
    _write("done", batch.id, batch.attempt, tuple(batch))


def note_slowly(batch: Any) -> None:
    """A processor that takes a second."""
    _write("begun", batch.id, batch.attempt, tuple(batch))
    time.sleep(1)
    _write("done", batch.id, batch.attempt, tuple(batch))


def stop_and_insert(batch: Any) -> None:
    """A processor that stops its process at the first attempt, until somebody continues it."""
    _write("begun", batch.id, batch.attempt, tuple(batch))
    if batch.attempt == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    insert(batch)


def insert(batch: Any) -> None:
    from tests.library.models import Tag

    Tag.objects.bulk_create(Tag(name=str(event)) for event in batch)
    _write("done", batch.id, batch.attempt, tuple(batch))


def insert_hardly(batch: Any) -> None:
    """A processor that fails at times, in the middle of its work, and rejects events at times."""
    from tests.library.models import Tag

    chance = random.Random(f"{batch.id} {batch.attempt}")
    rejected = [event for event in batch if chance.random() < 0.002]
    for event in rejected:
        batch.reject(event, "by chance")
    half = len(batch) // 2
    for events in (batch[:half], batch[half:]):
        Tag.objects.bulk_create(Tag(name=str(event)) for event in events if event not in rejected)
        time.sleep(chance.uniform(0, 0.005))
        if chance.random() < 0.02:
            raise ValueError("by chance")


def measure(batch: Any) -> None:
    """A processor that writes the peak memory of its process to the journal."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _write("done", batch.id, batch.attempt, (len(batch), peak))


def crash(batch: Any) -> None:
    """A processor that kills its process at an event below zero, as a bug in C may."""
    if any(event < 0 for event in batch):
        os.kill(os.getpid(), signal.SIGSEGV)
    _write("done", batch.id, batch.attempt, tuple(batch))


def _work() -> int:
    from django.core.management import CommandError, call_command

    try:
        call_command("drain_buckets", "faulty", watch=True, interval=0.01, verbosity=0)
    except CommandError as error:
        return error.returncode
    return 0


def _nurse(processor: str) -> None:
    from django.core.management import call_command

    from django_jsonbuffer import Bucket

    call_command("migrate", run_syncdb=True, verbosity=0)
    bucket = Bucket("faulty")
    atomic = "default" if "insert" in processor else None
    bucket.processor(globals()[processor], atomic=atomic)
    logging.getLogger("django_jsonbuffer").addHandler(_Journal(logging.WARNING))
    for line in sys.stdin:
        command, *argument = line.split()
        if command == "start":
            if (worker := os.fork()) == 0:
                os._exit(_work())
            print(worker, flush=True)
        elif command == "ended":
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            ended = os.waitid(os.P_PID, int(argument[0]), options)
            print(int(ended is not None), flush=True)
        else:
            _, status = os.waitpid(int(argument[0]), 0)
            print(os.waitstatus_to_exitcode(status), flush=True)


def _set_clock(seconds: int) -> None:
    now = time.time
    time.time = lambda: now() + seconds


if __name__ == "__main__":
    _set_clock(int(os.environ[CLOCK]))
    django.setup()
    _nurse(sys.argv[1])
