"""The pictures of the docs. `make screenshots` takes them."""

import math
import random
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.appending.spill import _spills, spill
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.registry import register
from tests.browser.conftest import PAGE
from tests.browser.conftest import WORKERS as WORKERS_PAGE
from tests.prepared import keys_of, make_old, store_of
from tests.server import Redis
from tests.spilling import put

pytestmark = pytest.mark.django_db(transaction=True)

FOLDER = Path(__file__).parents[2] / "docs" / "images"
MINUTES = range(240, 0, -1)
MINUTE = timedelta(minutes=1)
PROCESSOR = """
def store(batch):
    for event in batch:
        try:
            save(event)
        except Exception as error:
            batch.reject(event, error)


def save(event):
    if event["ip"] is None:
        raise ValueError("null value in column “ip” violates the not-null constraint")
    if event["action"] == "export":
        raise TimeoutError("the archive did not answer")
    raise KeyError(event["actor"])
"""
WORKERS = ("web1:4006:5f2c9a1e", "web1:4007:0d41c6b2", "web2:3911:88e07a3f")


def draw(plain: Redis, name: str, pending: list[int], *, rate: int) -> None:
    """A history of four hours for a bucket that gets about `rate` events a minute."""
    chance = random.Random(name)
    now_ms = int(time.time() * 1000)
    appended = processed = 0
    samples = []
    for minute, (now, before) in enumerate(zip(pending[1:], pending, strict=False)):
        incoming = int(rate * (1 + 0.3 * math.sin(minute / 40)) * chance.uniform(0.95, 1.05))
        appended += incoming
        processed += max(incoming - (now - before), 0)
        at_ms = now_ms - (len(pending) - 1 - minute) * 60_000 + 20_000
        samples.append(f"{at_ms} {now} 0 {appended} {processed}")
    keys = keys_of(name)
    plain.delete(keys.history)
    plain.rpush(keys.history, *samples)
    plain.hset(keys.stats, mapping={"appended": appended + rate, "processed": processed + rate})


@pytest.fixture(autouse=True)
def _shop(
    client_of_server: Redis, configure: Callable[..., None], tmp_path: Path
) -> Iterator[None]:
    configure(BUCKETS={"search-index": {"spill_dir": tmp_path}})
    plain, chance = client_of_server, random.Random(1)
    for name in ("counters", "mails", "search-index"):
        Bucket(name).processor(lambda batch: None)
        draw(plain, name, [20 + chance.randrange(9) for _ in MINUTES], rate=120)
    open_page_views(plain, chance)
    open_orders(plain)
    open_webhooks(plain)
    open_audit(plain, chance)
    open_import(plain)
    drained = ("counters", "mails", "search-index", "page-views", "orders", "audit", "import")
    for name in drained:
        for worker in WORKERS:
            store_of(name).beat(worker, lease=MINUTE)
    for worker in WORKERS:
        register(worker, Names(drained), configuration())
    spilled = spill(tmp_path)
    for _ in range(45):
        put(spilled, *[b'{"product": 4711}'] * 20, bucket=Bucket("search-index").key)
    store_of("page-views").claim(WORKERS[2], lease=MINUTE, linger=timedelta(0))
    Bucket("page-views").extend(page_views(431))
    yield
    spilled.close()
    _spills.clear()


def page_views(count: int) -> list[dict[str, str]]:
    return [{"path": f"/product/{n}/", "at": "2026-11-25T10:15:30Z"} for n in range(count)]


def open_page_views(plain: Redis, chance: random.Random) -> None:
    """Nothing is wrong."""
    bucket = Bucket("page-views")
    bucket.processor(lambda batch: None)
    bucket.extend(page_views(1000))
    busy = [300 + int(200 * math.sin(n / 25)) + chance.randrange(90) for n in MINUTES]
    draw(plain, "page-views", busy, rate=2400)


def open_orders(plain: Redis) -> None:
    """Its processor fails with some batches."""
    orders = Bucket("orders", batch_size=20, lease=MINUTE)
    totals = [{} if n % 20 == 7 else {"total": "89.50"} for n in range(100)]
    changes = [
        {
            "specversion": "1.0",
            "type": "shop.order.updated",
            "subject": str(4711 + n),
            "data": {"status": "paid", **total},
        }
        for n, total in enumerate(totals)
    ]

    def audit(batch: Batch) -> None:
        for event in batch:
            event["data"]["total"]

    orders.processor(audit)
    orders.extend(changes[:60])
    orders.drain()
    orders.extend(changes[60:])
    draw(plain, "orders", [0] * 200 + [2 * n for n in range(40)], rate=30)
    store_of("orders").claim(WORKERS[0], lease=MINUTE, linger=timedelta(0), prefers_new=True)


def open_webhooks(plain: Redis) -> None:
    """Nobody has drained it for more than an hour."""
    webhooks = Bucket("webhooks")
    webhooks.processor(lambda batch: None)
    webhooks.extend({"url": "https://example.com/hook", "order": n} for n in range(180))
    draw(plain, "webhooks", [0] * 160 + [9 * n for n in range(80)], rate=9)
    make_old(plain, "webhooks", seconds=4800)
    stale = plain.lrange(keys_of("webhooks").history, 0, 160)
    plain.delete(keys_of("webhooks").history)
    plain.rpush(keys_of("webhooks").history, *stale)


def open_audit(plain: Redis, chance: random.Random) -> None:
    """It has dead letters with three errors, most of them with the first."""
    names: dict[str, Any] = {}
    exec(compile(PROCESSOR, "/srv/shop/audit/buckets.py", "exec"), names)
    audit_log = Bucket("audit")
    audit_log.processor(names["store"])
    audit_log.extend({"actor": "anna", "action": "login", "ip": None, "n": n} for n in range(31))
    audit_log.extend({"actor": "ben", "action": "export", "ip": "::1", "n": n} for n in range(5))
    audit_log.append({"actor": "carla", "action": "logout", "ip": "::1", "n": 0})
    audit_log.drain()
    draw(plain, "audit", [9 + chance.randrange(5) for _ in MINUTES], rate=60)


def open_import(plain: Redis) -> None:
    """It is paused."""
    importing = Bucket("import")
    importing.processor(lambda batch: None)
    importing.extend(range(5000))
    draw(plain, "import", [0] * 235 + [1000, 2000, 3000, 4000, 5000], rate=20)
    importing.pause()


def show_list(page: Page) -> None:
    page.goto(PAGE)


def show_bucket(page: Page) -> None:
    page.goto(f"{PAGE}orders/change/")


def show_dead_letters(page: Page) -> None:
    page.goto(f"{PAGE}audit/change/")
    page.locator("#dead").evaluate("heading => heading.scrollIntoView()")
    page.get_by_text("Example").first.click()


def show_letters(page: Page) -> None:
    page.goto(f"{PAGE}audit/dead-letters/?q=export")
    page.locator(".letters summary").first.click()
    page.locator(".traceback summary").first.click()
    page.evaluate("scrollTo(0, 0)")


def show_workers(page: Page) -> None:
    page.goto(WORKERS_PAGE)


def show_confirmation(page: Page) -> None:
    page.goto(f"{PAGE}audit/change/")
    page.get_by_role("button", name="Replay…").first.click()
    expect(page.get_by_role("heading", name="Replay dead letters of audit?")).to_be_visible()


def show_bulk_confirmation(page: Page) -> None:
    page.goto(PAGE)
    page.locator("#select-across").check()
    page.get_by_role("button", name="Pause…").click()
    expect(page.get_by_role("heading", name="Pause 7 buckets?")).to_be_visible()


def show_index(page: Page) -> None:
    page.goto("/admin/")


@pytest.mark.parametrize(
    ("show", "name", "theme", "width", "height"),
    [
        (show_list, "list", "light", 1440, 900),
        (show_list, "list-dark", "dark", 1440, 900),
        (show_list, "list-narrow", "light", 400, 900),
        (show_bucket, "bucket", "light", 1440, 1200),
        (show_bucket, "bucket-dark", "dark", 1440, 1200),
        (show_bucket, "bucket-narrow", "light", 400, 1000),
        (show_dead_letters, "dead-letters", "light", 1440, 800),
        (show_letters, "dead-letters-narrow", "dark", 400, 1000),
        (show_workers, "workers", "light", 1440, 500),
        (show_confirmation, "confirmation", "light", 1440, 400),
        (show_bulk_confirmation, "bulk-confirmation", "light", 1440, 640),
        (show_index, "index", "light", 1440, 500),
    ],
)
def test_take(
    admin_page: Page,
    show: Callable[[Page], None],
    name: str,
    theme: str,
    width: int,
    height: int,
) -> None:
    FOLDER.mkdir(exist_ok=True)
    admin_page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    admin_page.set_viewport_size({"width": width, "height": height})
    show(admin_page)
    admin_page.wait_for_load_state("networkidle")
    admin_page.screenshot(path=FOLDER / f"{name}.png")
