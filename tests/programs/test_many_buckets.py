"""One worker and thousands of buckets, most of them idle."""

import os
import threading
import time
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import call_command

from django_jsonbuffer import Batch, Bucket

MANY = 2000

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def watch(*arguments: str, batches: int) -> str:
    out = StringIO()
    options = ("--watch", "--max-seconds=120", f"--max-batches={batches}")
    call_command("drain_buckets", *arguments, *options, stdout=out)
    return out.getvalue()


class TestPattern:
    def test_worker_drains_all_buckets_that_match_with_three_more_threads(self) -> None:
        done: dict[str, int] = {}
        most, before = 0, threads()

        def note(batch: Batch) -> None:
            nonlocal most
            done[batch.bucket] = len(batch)
            most = max(most, threads())

        Bucket("tenant-*").processor(note)
        for number in range(MANY):
            Bucket(f"tenant-{number}").append(number)
        watch("--interval=0.1", batches=MANY)
        assert len(done) == MANY
        assert most - before <= 3

    def test_bucket_that_nobody_knew_is_drained_at_once(self) -> None:
        """By the message of its first append, since the next question comes much later."""
        got: list[str] = []
        Bucket("tenant-*").processor(lambda batch: got.append(batch.bucket))
        timer = threading.Timer(1, lambda: Bucket("tenant-new").append(1))
        timer.start()
        began = time.monotonic()
        watch("--interval=60", batches=1)
        assert got == ["tenant-new"]
        assert time.monotonic() - began < 40
        timer.join()

    def test_without_watch(self) -> None:
        got: list[str] = []
        Bucket("tenant-*").processor(lambda batch: got.append(batch.bucket))
        for name in ("tenant-2", "tenant-1", "other"):
            Bucket(name).append(1)
        call_command("drain_buckets", verbosity=0)
        assert got == ["tenant-1", "tenant-2"]


def test_bucket_with_a_backlog_hardly_delays_the_others() -> None:
    """Each of the others has a single event, and the hot bucket has 200 batches."""
    order: list[str] = []
    hot = Bucket("hot", batch_size=10)
    hot.processor(lambda batch: order.append("hot"))
    Bucket("tenant-*").processor(lambda batch: order.append(batch.bucket))
    hot.extend(range(2000))
    for number in range(100):
        Bucket(f"tenant-{number}").append(number)
    call_command("drain_buckets", verbosity=0)
    assert order.count("hot") == 200
    last_of_the_others = max(at for at, name in enumerate(order) if name != "hot")
    assert order[: last_of_the_others + 1].count("hot") < 150


def test_priority_is_the_share_of_the_time(configure: Callable[..., None]) -> None:
    configure(BUCKETS={"urgent": {"priority": 3}})
    order: list[str] = []

    def work(batch: Batch) -> None:
        time.sleep(0.002)
        order.append(batch.bucket)

    for name in ("urgent", "usual"):
        bucket = Bucket(name, batch_size=1)
        bucket.processor(work)
        bucket.extend(range(100))
    call_command("drain_buckets", verbosity=0)
    at_the_end_of_urgent = order[: len(order) - order[::-1].index("urgent")]
    assert at_the_end_of_urgent.count("urgent") == 100
    assert at_the_end_of_urgent.count("usual") < 70
