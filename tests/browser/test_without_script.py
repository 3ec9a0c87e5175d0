"""The pages in a browser without JavaScript: everything works by links and forms."""

import pytest
from playwright.sync_api import Page, expect

from django_jsonbuffer import Bucket
from tests.browser.conftest import BUCKET, LETTERS, PAGE, WORKERS
from tests.browser.shop import ERRORS, FINE, WORKER_SHOWN
from tests.browser.test_list import expect_buckets

pytestmark = pytest.mark.django_db(transaction=True)


def test_purge(page_without_script: Page) -> None:
    Bucket("orders").extend([1, 2])
    page = page_without_script
    page.goto(PAGE)
    expect_buckets(page, "orders")
    page.get_by_role("link", name="orders").first.click()
    page.get_by_role("button", name="Purge…").click()
    page.get_by_role("button", name="Purge pending events").click()
    expect(page.get_by_text("Purged: 2 pending events.").first).to_be_visible()


@pytest.mark.usefixtures("shop")
def test_pages_show_no_control_that_would_do_nothing(page_without_script: Page) -> None:
    page = page_without_script
    for path in (PAGE, BUCKET, LETTERS, WORKERS):
        page.goto(path)
        for control in ("#refresh-toggle", "#select-page", "#selected-count", "button.copy"):
            for each in page.locator(control).all():
                expect(each).to_be_hidden()
        expect(page.locator("main button[type=button]:visible")).to_have_count(0)


@pytest.mark.usefixtures("shop")
def test_search_and_sort(page_without_script: Page) -> None:
    page = page_without_script
    page.goto(PAGE)
    page.get_by_label("Search buckets").fill("s")
    page.get_by_role("button", name="Search").click()
    expect_buckets(page, "orders", "counters", "mails", "page-views", "search-index", "resting")
    page.get_by_role("link", name="Bucket", exact=True).click()
    names = ["counters", "mails", "orders", "page-views", "resting", "search-index"]
    expect_buckets(page, *names)
    page.get_by_role("link", name="Bucket", exact=True).click()
    expect_buckets(page, *reversed(names))
    page.get_by_role("navigation", name="States").get_by_role("link", name="failing").click()
    expect_buckets(page, "orders")


@pytest.mark.usefixtures("shop")
def test_pause_several(page_without_script: Page) -> None:
    page = page_without_script
    page.goto(PAGE)
    for name in FINE[:2]:
        page.get_by_label(f"Select {name}").check()
    page.get_by_role("button", name="Pause…").click()
    page.get_by_role("button", name="Pause 2 buckets").click()
    expect(page.get_by_text("Paused: 2 buckets.").first).to_be_visible()
    paused = [name for name in FINE if Bucket(name).status().paused is not None]
    assert paused == [*FINE[:2]]


@pytest.mark.usefixtures("shop")
def test_replay_all_with_one_error(page_without_script: Page) -> None:
    page = page_without_script
    page.goto(BUCKET)
    group = page.locator(".group").filter(has_text="KeyError")
    group.get_by_text("Example").click()
    expect(group.locator("table.pairs")).to_be_visible()
    group.get_by_role("button", name="Replay…").click()
    page.get_by_role("button", name="Replay", exact=True).click()
    expect(page.get_by_text("Replayed: 19 dead letters.").first).to_be_visible()
    assert Bucket("orders").status().dead == len(ERRORS) - 1


@pytest.mark.usefixtures("shop")
def test_search_and_discard_dead_letters(page_without_script: Page) -> None:
    page = page_without_script
    page.goto(LETTERS)
    page.get_by_label("Search dead letters").fill("CUSTOMER")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".letters > li")).to_have_count(1)
    page.locator(".letters input").check()
    page.get_by_role("button", name="Discard selected…").click()
    page.get_by_role("button", name="Discard", exact=True).click()
    expect(page.get_by_text("Discarded: 1 dead letter.").first).to_be_visible()
    assert "the customer is unknown" not in [letter.error for letter in Bucket("orders").dead]


@pytest.mark.usefixtures("shop")
def test_find_the_holder_of_a_batch(page_without_script: Page) -> None:
    page = page_without_script
    page.goto(PAGE)
    page.locator("#bucket-summary").get_by_role("link", name="1", exact=True).click()
    row = page.get_by_role("row", name=WORKER_SHOWN)
    row.get_by_role("link", name="orders").click()
    expect(page.locator("#bucket-workers").get_by_role("row", name=WORKER_SHOWN)).to_be_visible()
