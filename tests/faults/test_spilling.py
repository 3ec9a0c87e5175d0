"""Redis is away while four processes append, and comes back."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from django_jsonbuffer import Bucket
from example_project.embedded_redis import EmbeddedRedis
from tests.faults.scale import report, scale
from tests.test_drain_buckets import environment

PROCESSES = 4

APPEND = """
import json, sys, time
import django
django.setup()
from django_jsonbuffer import Bucket
from django_jsonbuffer.appending.spill import spill
number, events, seconds, folder = json.loads(sys.argv[1])
print("ready", flush=True)
bucket = Bucket("orders", on_unavailable="spill", spill_dir=folder)
away = []
for event in range(events):
    began = time.perf_counter()
    bucket.append([number, event])
    took = time.perf_counter() - began
    if spill(folder).holds(bucket.key):
        away.append(took)
    time.sleep(max(0, seconds / events - took))
print(json.dumps(away))
"""


def test_all_arrive_once(tmp_path: Path, use_cache: Callable[..., str]) -> None:
    """Redis stops after a fifth of the time, and is back for the last fifth."""
    events, seconds = scale(full=(5_000, 16.0), short=(250, 1.5))
    folder = tmp_path / "spill"
    server = EmbeddedRedis(
        *("--dir", str(tmp_path)), *("--appendonly", "yes", "--appendfsync", "always")
    )
    use_cache(server.url)
    with server:
        appending = [start(server, number, events, seconds, folder) for number in range(PROCESSES)]
        for process in appending:
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(seconds * 0.3)
    time.sleep(seconds * 0.5)
    with server:
        away = [
            duration
            for process in appending
            for duration in json.loads(process.communicate(timeout=120)[0])
        ]
        bucket = Bucket("orders", on_unavailable="spill", spill_dir=folder)
        got: list[tuple[int, int]] = []
        bucket.processor(lambda batch: got.extend((number, event) for number, event in batch))
        bucket.drain()
    assert sorted(got) == [(a, b) for a in range(PROCESSES) for b in range(events)]
    report(
        "Redis away for half the time, appends spilled",
        appends=len(got),
        median_of_those_spilled=f"{median(away) * 1000:.2f} ms",
        longest=f"{max(away) * 1000:.0f} ms",
    )


def start(
    server: EmbeddedRedis, number: int, events: int, seconds: float, folder: Path
) -> "subprocess.Popen[str]":
    arguments = json.dumps([number, events, seconds, str(folder)])
    return subprocess.Popen(
        [sys.executable, "-c", APPEND, arguments],
        env=environment(REDIS_URL=server.url),
        stdout=subprocess.PIPE,
        text=True,
    )
