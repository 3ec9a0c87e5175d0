"""Appends of gevent's greenlets, which take the place of threads."""

import json
import subprocess
import sys

import pytest

from django_jsonbuffer import Bucket
from tests.server import Redis, one_server
from tests.test_drain_buckets import environment

GREENLETS = 50
EVENTS = 20
KILLED = range(0, GREENLETS, 5)

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import json
import sys
from itertools import count
import django
import gevent
django.setup()
from django.conf import settings
from django_jsonbuffer import Bucket
from django_jsonbuffer.store.clients import clients

greenlets, events, groups = map(int, sys.argv[1:])
settings.JSONBUFFER["GROUP_COMMIT"] = bool(groups)
bucket = Bucket("orders")
confirmed = []
clients["jsonbuffer"].connection_pool.max_connections = 10

def append(greenlet):
    for number in range(events) if greenlet % 5 else count():
        bucket.append([greenlet, number])
        confirmed.append([greenlet, number])

def churn():
    while True:
        Bucket("others").append(1)

running = [gevent.spawn(append, number) for number in range(greenlets)]
for number in range(0, greenlets, 5):
    gevent.sleep(0.001)
    running[number].kill()
with gevent.Timeout(20):
    gevent.joinall(running, raise_error=True)
with gevent.Timeout(20):
    for _ in range(200):  # each of these kills could lose one of ten connections
        killed = [gevent.spawn(churn) for _ in range(3)]
        gevent.sleep(0.001)
        gevent.killall(killed)
bucket.append([greenlets, 0])
print(json.dumps(confirmed))
"""


@one_server  # it looks into the only pool
@pytest.mark.parametrize("groups", [True, False], ids=["together", "alone"])
def test_greenlet_that_is_killed_strands_no_other(client_of_server: Redis, groups: bool) -> None:
    """Every fifth is killed while it appends. Its last event is stored or not."""
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, (GREENLETS, EVENTS, int(groups)))],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (process.returncode, process.stderr) == (0, "")
    confirmed = set(map(tuple, json.loads(process.stdout)))
    stored = [tuple(event) for event in Bucket("orders").take()]
    assert stored.pop() == (GREENLETS, 0)
    assert len({*stored}) == len(stored)
    assert confirmed <= {*stored}
    assert all(greenlet in KILLED for greenlet, _ in {*stored} - confirmed)
    for greenlet in range(GREENLETS):
        numbers = [number for each, number in stored if each == greenlet]
        assert numbers == [*range(len(numbers) if greenlet in KILLED else EVENTS)]
