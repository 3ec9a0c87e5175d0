"""Producers and workers in separate processes, at the scale of a busy site."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from django_jsonbuffer.catalog import options_of
from tests.declaring.buckets import done_key, page_views
from tests.faults.appending import assert_counters_are_back_at_zero
from tests.server import Redis
from tests.test_drain_buckets import COMMAND, environment

PRODUCE = """
import sys
import django
django.setup()
from tests.declaring.buckets import page_views
for number in range(int(sys.argv[2])):
    page_views.append([int(sys.argv[1]), number])
"""


def start_worker() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*COMMAND, "page-views", "--watch", "--interval", "0.05"],
        env=environment(),
        stdout=subprocess.DEVNULL,
    )


def start_producer(number: int, events: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", PRODUCE, str(number), str(events)], env=environment()
    )


def seen(plain: Redis) -> Counter[tuple[int, int]]:
    lines: list[bytes] = plain.lrange(done_key(), 0, -1)
    return Counter(tuple(json.loads(line)) for line in lines)


def test_every_event_once_and_counters_back_at_zero(client_of_server: Redis) -> None:
    workers = [start_worker() for _ in range(3)]
    producers = [start_producer(number, 5_000) for number in range(8)]
    assert [producer.wait(240) for producer in producers] == [0] * 8
    for worker in workers:
        worker.terminate()
    assert [worker.wait(60) for worker in workers] == [0] * 3
    page_views.drain()

    assert seen(client_of_server) == {(a, b): 1 for a in range(8) for b in range(5_000)}
    assert_counters_are_back_at_zero(page_views, client_of_server)
    stats = client_of_server.hgetall(f"{page_views.key}:stats")
    assert stats[b"appended"] == stats[b"processed"] == b"40000"


def test_killed_workers_and_a_killed_producer_lose_nothing(
    client_of_server: Redis, configure: Callable[..., None]
) -> None:
    producers = [start_producer(number, 4000) for number in range(3)]
    doomed = start_producer(3, 1_000_000)
    killed = 0
    while producers[0].poll() is None:
        worker = start_worker()
        time.sleep(0.7)
        worker.kill()
        worker.wait()
        killed += 1
    doomed.kill()
    doomed.wait()
    assert [producer.wait(240) for producer in producers] == [0] * 3

    configure(BUCKETS={"page-views": {"lease": timedelta(milliseconds=1)}})
    time.sleep(0.01)
    page_views.drain()
    counts = seen(client_of_server)
    of_the_doomed = {event for event in counts if event[0] == 3}
    # The stored events of the producer that was killed have no gap.
    assert of_the_doomed == {(3, number) for number in range(len(of_the_doomed))}
    assert counts.keys() - of_the_doomed == {(a, b) for a in range(3) for b in range(4000)}
    repeated = sum(count - 1 for count in counts.values())
    assert repeated <= killed * options_of(page_views).batch_size  # type: ignore[operator]
    assert_counters_are_back_at_zero(page_views, client_of_server)
