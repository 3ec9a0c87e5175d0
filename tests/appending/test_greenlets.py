"""Appends of gevent's greenlets, which take the place of threads."""

import json
import subprocess
import sys

import pytest

from django_jsonbuffer import Bucket
from tests.server import Redis
from tests.test_drain_buckets import environment

GREENLETS = 50
EVENTS = 20

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import json
import sys
import django
import gevent
django.setup()
from django.conf import settings
from django_jsonbuffer import Bucket

greenlets, events, groups = map(int, sys.argv[1:])
settings.JSONBUFFER["GROUP_COMMIT"] = bool(groups)
bucket = Bucket("orders")
confirmed, killed = [], []

def append(greenlet):
    for number in range(events):
        bucket.append([greenlet, number])
        confirmed.append([greenlet, number])

running = [gevent.spawn(append, number) for number in range(greenlets)]
for number in range(0, greenlets, 5):
    gevent.sleep(0.001)
    if not running[number].ready():
        running[number].kill()
        killed.append(number)
with gevent.Timeout(20):
    gevent.joinall(running, raise_error=True)
bucket.append([greenlets, 0])
print(json.dumps([confirmed, killed]))
"""


@pytest.mark.parametrize("groups", [True, False], ids=["together", "alone"])
def test_greenlet_that_is_killed_strands_no_other(client_of_server: Redis, groups: bool) -> None:
    """It is killed while it appends, because it waits only there. Its event is stored or not."""
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, (GREENLETS, EVENTS, int(groups)))],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (process.returncode, process.stderr) == (0, "")
    confirmed, killed = json.loads(process.stdout)
    stored = Bucket("orders").take()
    assert stored.pop() == [GREENLETS, 0]
    assert len(killed) > 5
    assert len({tuple(event) for event in stored}) == len(stored)
    unconfirmed = [event for event in stored if event not in confirmed]
    assert [event for event in confirmed if event not in stored] == []
    assert {greenlet for greenlet, _ in unconfirmed} <= {*killed}
    for greenlet in range(GREENLETS):
        numbers = [number for each, number in stored if each == greenlet]
        assert numbers == [*range(EVENTS if greenlet not in killed else len(numbers))]
