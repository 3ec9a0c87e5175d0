"""A batch that a worker tries at once, because somebody has asked for it."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from django_jsonbuffer import Bucket, catalog, operations
from django_jsonbuffer.store.claims import Reason
from tests.prepared import store_of
from tests.store.steps import append, claimed, fail
from tests.test_embedded_redis import wait_until

# The command renews database connections before each batch.
pytestmark = pytest.mark.django_db(transaction=True)

LONG = timedelta(seconds=50)


@pytest.fixture
def got(nothing_declared: None) -> list[Any]:
    """When the processor of the bucket `orders` got which event."""
    got: list[Any] = []
    Bucket("orders").processor(lambda batch: got.append((time.monotonic(), batch[0])))
    return got


@pytest.fixture
def watching() -> Iterator[Callable[[], None]]:
    """Starts a worker with default options, and returns when it waits."""
    threads: list[threading.Thread] = []

    def watch() -> None:
        options = ("--watch", "--max-batches=1", "--max-seconds=30")
        call_command("drain_buckets", *options, stdout=StringIO())

    def start() -> None:
        threads.append(threading.Thread(target=watch))
        threads[-1].start()
        wait_until(lambda: bool(catalog.deliveries(Bucket("orders")).workers))
        time.sleep(0.5)  # it listens to messages, and has looked at the bucket

    yield start
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("pause", [None, LONG])
def test_worker_tries_it_at_once(
    got: list[Any], watching: Callable[[], None], pause: timedelta | None
) -> None:
    store = store_of("orders")
    append(store, 1)
    claim = claimed(store)
    reason = Reason.RETRY if pause is None else Reason.OUTAGE
    fail(store, claim, backoff=LONG, reason=reason, weight=1, pause=pause)
    watching()
    assert got == []
    began = time.monotonic()
    assert operations.retry_now(Bucket("orders"), claim.id)
    wait_until(lambda: bool(got))
    [(at, event)] = got
    assert event == 1
    assert at - began < 1


def test_worker_in_an_outage_does_not_wake_for_a_new_batch(
    got: list[Any], watching: Callable[[], None]
) -> None:
    store = store_of("orders")
    append(store, 1)
    claim = claimed(store)
    fail(store, claim, backoff=LONG, reason=Reason.OUTAGE, weight=1, pause=LONG)
    watching()
    Bucket("orders").append(2)
    append(store, 3, batch_size=1)
    time.sleep(0.5)
    assert got == []
    assert operations.retry_now(Bucket("orders"), claim.id)
    wait_until(lambda: bool(got))
