"""The most frequent tasks, with the number of clicks that each needs."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from django_jsonbuffer import Bucket
from tests.browser.conftest import PAGE
from tests.browser.shop import ERRORS, WORKER_SHOWN
from tests.browser.test_list import row_of
from tests.prepared import bury, make_old
from tests.server import Redis

pytestmark = pytest.mark.django_db(transaction=True)


class Visitor:
    """Clicks what can be seen, and counts the clicks."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0

    def sees(self, shown: Locator) -> None:
        """Without scrolling."""
        expect(shown).to_be_in_viewport()

    def click(self, target: Locator) -> None:
        target.click()
        self.clicks += 1


@pytest.fixture
def visitor(admin_page: Page) -> Visitor:
    admin_page.goto(PAGE)
    return Visitor(admin_page)


@pytest.fixture
def _stalled(client_of_server: Redis, shop: None) -> None:
    Bucket("emails").processor(lambda batch: None)
    Bucket("emails").append(1)
    make_old(client_of_server, "emails")


@pytest.mark.usefixtures("_stalled")
def test_see_which_bucket_needs_me_and_why(visitor: Visitor) -> None:
    rows = visitor.page.locator("#bucket-rows tr")
    expect(rows.nth(0)).to_contain_text("unreadable")
    expect(rows.nth(0)).to_contain_text("holds a value of another type")
    expect(rows.nth(1)).to_contain_text("emails")
    expect(rows.nth(1)).to_contain_text("The oldest event has waited for 1")
    expect(rows.nth(1)).to_contain_text("drain_buckets")
    visitor.sees(rows.nth(0))
    visitor.sees(rows.nth(1))
    assert visitor.clicks == 0


@pytest.mark.usefixtures("shop")
def test_see_the_error_of_a_failing_batch(visitor: Visitor) -> None:
    visitor.sees(row_of(visitor.page, "orders").get_by_text("failed with ValueError"))
    visitor.click(row_of(visitor.page, "orders").get_by_role("link", name="orders"))
    expect(visitor.page.locator("#bucket-failing")).to_contain_text("ValueError: xxx")
    assert visitor.clicks == 1


@pytest.mark.usefixtures("shop")
def test_replay_the_letters_of_one_error(visitor: Visitor) -> None:
    page = visitor.page
    visitor.click(row_of(page, "orders").get_by_role("link", name="25"))
    group = page.locator(".group").filter(has_text="KeyError")
    visitor.sees(group.locator(".group-title"))
    visitor.click(group.get_by_role("button", name="Replay…"))
    visitor.sees(page.get_by_text("The events of 19 dead letters go"))
    visitor.click(page.get_by_role("button", name="Replay", exact=True))
    expect(page.locator(".messagelist")).to_have_text("Replayed: 19 dead letters.")
    assert visitor.clicks == 3
    assert Bucket("orders").status().dead == len(ERRORS) - 1


def test_replay_the_letters_of_a_bucket_with_one_error(visitor: Visitor) -> None:
    bury(1, 2)
    page = visitor.page
    page.reload()
    visitor.click(row_of(page, "orders").get_by_role("link", name="2", exact=True))
    visitor.click(page.get_by_role("button", name="Replay all 2…"))
    visitor.click(page.get_by_role("button", name="Replay", exact=True))
    expect(page.locator(".messagelist")).to_have_text("Replayed: 2 dead letters.")
    assert visitor.clicks == 3


def test_pause_all_of_a_tenant(visitor: Visitor) -> None:
    for number in range(120):  # more than a page has
        Bucket(f"tenant-7-{number}").append(1)
    Bucket("tenant-8").append(1)
    page = visitor.page
    page.get_by_label("Search buckets").fill("tenant-7")
    page.keyboard.press("Enter")
    expect(page.locator("#across-count")).to_have_text("all 120 buckets that match")
    visitor.click(page.locator("#select-across"))
    visitor.click(page.get_by_role("button", name="Pause…"))
    visitor.click(page.get_by_role("button", name="Pause 120 buckets"))
    expect(page.locator(".messagelist")).to_have_text("Paused: 120 buckets.")
    assert visitor.clicks == 3
    paused = [Bucket(f"tenant-7-{number}").status().paused for number in (0, 99, 119)]
    assert None not in paused
    assert Bucket("tenant-8").status().paused is None


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("by", ["bucket", "worker"])
def test_see_who_holds_a_batch(visitor: Visitor, by: str) -> None:
    page = visitor.page
    links: dict[str, Callable[[], Locator]] = {
        "bucket": lambda: row_of(page, "orders").get_by_role("link", name="orders"),
        "worker": lambda: page.locator("#bucket-summary a[href$='/workers/']"),
    }
    visitor.click(links[by]())
    row = page.get_by_role("row", name=WORKER_SHOWN)
    expect(row).to_be_visible()
    expect(row.locator("code")).to_have_text(page.locator("code").first.inner_text())
    assert visitor.clicks == 1
