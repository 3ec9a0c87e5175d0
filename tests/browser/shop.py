"""A shop in which much is wrong, with texts as long as they may be."""

from datetime import timedelta

from playwright.sync_api import Page

from django_jsonbuffer import Batch, Bucket
from tests.prepared import keys_of, make_old, put_history, release_failed, store_of
from tests.server import Redis

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

LONGEST_NAME = "n" * 100
WORKER = f"{'pod' * 25}.example.com:4711:5f2c9a1e"
WORKER_SHOWN = WORKER.rpartition(":")[0]
LONG_TEXT = "x" * 300
ERRORS = (
    *("KeyError: 'total'", "no address", f"ValueError: {LONG_TEXT}", "TimeoutError"),
    *("the customer is unknown", "ZeroDivisionError: division by zero", "no price"),
)
"""The first is the most frequent one among the dead letters of the bucket `orders`."""

FINE = ("counters", "mails", "page-views", "search-index")
"""Buckets in which nothing is wrong."""


def open_shop(plain: Redis) -> None:
    for name in FINE:
        _open_fine(plain, name)
    _open_orders(plain)
    for name in (LONGEST_NAME, f"broken-{LONG_TEXT[:93]}", "import"):
        Bucket(name).append({"text": LONG_TEXT})
    make_old(plain, LONGEST_NAME, seconds=50 * 365 * 24 * 3600)
    plain.delete(Bucket(f"broken-{LONG_TEXT[:93]}").key)
    plain.lpush(Bucket(f"broken-{LONG_TEXT[:93]}").key, "of another client")
    Bucket("import").pause()
    Bucket("resting").processor(lambda batch: None)


def _open_fine(plain: Redis, name: str) -> None:
    bucket = Bucket(name)
    bucket.processor(lambda batch: None)
    bucket.extend(range(len(name)))
    put_history(plain, name, pending=[3, 1, 4, 1, 5])
    store_of(name).beat(f"web1:{4700 + len(name)}:5f2c9a1e", lease=MINUTE)


def _open_orders(plain: Redis) -> None:
    """A failing bucket with dead letters, a held batch, and more than a thousand million events."""
    orders = Bucket("orders", batch_size=20)
    orders.extend({"n": n, "text": LONG_TEXT} for n in range(25))

    def refuse(batch: Batch) -> None:
        for event in batch:
            place = max(event["n"] - 18, 0)
            batch.reject(event, ERRORS[place])

    orders.processor(refuse)
    orders.drain()
    orders.processor(lambda batch: None)
    orders.extend({"n": n, "text": LONG_TEXT, "address": {"city": "Graz"}} for n in range(70))
    release_failed("orders", error=f"ValueError: {LONG_TEXT}", backoff=HOUR)
    store_of("orders").claim(WORKER, lease=MINUTE, linger=timedelta(0), beats=True)
    put_history(plain, "orders", pending=[0, 1_000_000, 1_234_567_890])
    plain.hset(keys_of("orders").stats, "sealed", 1_234_567_890)


def open_details(page: Page) -> None:
    """Open all that can be opened in the content of the page."""
    page.evaluate(
        "document.querySelectorAll('#content-main details').forEach(each => { each.open = true })"
    )
