"""The pictures of the docs. `make screenshots` takes them."""

import math
import random
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from django_jsonbuffer import Batch, Bucket
from tests.browser.conftest import PAGE
from tests.prepared import keys_of, make_old, store_of
from tests.server import Redis

pytestmark = pytest.mark.django_db(transaction=True)

FOLDER = Path(__file__).parents[2] / "docs" / "images"
MINUTES = range(240, 0, -1)
PROCESSOR = """
def store(batch):
    for event in batch:
        try:
            save(event)
        except ValueError as error:
            batch.reject(event, error)


def save(event):
    raise ValueError("null value in column “ip” violates the not-null constraint")
"""


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
def _shop(client_of_server: Redis) -> None:
    plain, chance = client_of_server, random.Random(1)
    for name in ("counters", "mails", "search-index"):
        Bucket(name).processor(lambda batch: None)
        draw(plain, name, [20 + chance.randrange(9) for _ in MINUTES], rate=120)

    page_views = Bucket("page-views")
    page_views.processor(lambda batch: None)
    page_views.extend({"path": f"/product/{n}/", "at": "2026-11-25T10:15:30Z"} for n in range(431))
    busy = [300 + int(200 * math.sin(n / 25)) + chance.randrange(90) for n in MINUTES]
    draw(plain, "page-views", busy, rate=2400)

    orders = Bucket("orders", batch_size=20, lease=timedelta(minutes=1))
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

    webhooks = Bucket("webhooks")
    webhooks.processor(lambda batch: None)
    webhooks.extend({"url": "https://example.com/hook", "order": n} for n in range(180))
    draw(plain, "webhooks", [0] * 160 + [9 * n for n in range(80)], rate=9)
    make_old(plain, "webhooks", seconds=4800)
    stale = plain.lrange(keys_of("webhooks").history, 0, 160)
    plain.delete(keys_of("webhooks").history)
    plain.rpush(keys_of("webhooks").history, *stale)

    audit_log = Bucket("audit")
    audit_log.extend({"actor": "anna", "action": "login", "ip": None, "n": n} for n in range(3))

    names: dict[str, Any] = {}
    exec(compile(PROCESSOR, "/srv/shop/audit/buckets.py", "exec"), names)
    audit_log.processor(names["store"])
    audit_log.drain()
    draw(plain, "audit", [9 + chance.randrange(5) for _ in MINUTES], rate=60)

    importing = Bucket("import")
    importing.processor(lambda batch: None)
    importing.extend(range(5000))
    draw(plain, "import", [0] * 235 + [1000, 2000, 3000, 4000, 5000], rate=20)
    importing.pause()

    for name in ("counters", "mails", "search-index", "page-views", "orders", "audit", "import"):
        store_of(name).beat(f"web1:{4000 + len(name)}:5f2c9a1e", lease=timedelta(minutes=1))
    store_of("orders").claim("web1:4006:5f2c9a1e", lease=timedelta(0), linger=timedelta(0))


def show_list(page: Page) -> None:
    page.goto(PAGE)


def show_bucket(page: Page) -> None:
    page.goto(f"{PAGE}orders/change/")


def show_dead_letters(page: Page) -> None:
    page.goto(f"{PAGE}audit/change/")
    page.locator("summary").first.click()
    page.evaluate("document.querySelector('#dead-heading').scrollIntoView()")


def show_confirmation(page: Page) -> None:
    page.goto(f"{PAGE}import/change/")
    page.get_by_role("button", name="Purge…").click()
    expect(page.get_by_role("heading", name="Purge import?")).to_be_visible()


@pytest.mark.parametrize(
    ("show", "name", "theme", "width", "height"),
    [
        (show_list, "list", "light", 1440, 900),
        (show_list, "list-dark", "dark", 1440, 900),
        (show_list, "list-narrow", "light", 400, 900),
        (show_bucket, "bucket", "light", 1440, 1080),
        (show_bucket, "bucket-dark", "dark", 1440, 1080),
        (show_bucket, "bucket-narrow", "light", 400, 1000),
        (show_dead_letters, "dead-letters", "light", 1440, 800),
        (show_dead_letters, "dead-letters-narrow", "dark", 400, 1000),
        (show_confirmation, "confirmation", "light", 1440, 400),
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
    admin_page.screenshot(path=FOLDER / f"{name}.png")
