"""The page of one bucket."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from django_jsonbuffer import Batch, Bucket
from tests.browser.conftest import BUCKET, LETTERS
from tests.browser.shop import open_details
from tests.prepared import bury, put_history, store_of
from tests.server import Redis

pytestmark = pytest.mark.django_db(transaction=True)

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def said(page: Page) -> Any:
    return page.locator(".messagelist")


class TestDetail:
    def test_shows_figures_charts_workers_and_options(
        self, admin_page: Page, client_of_server: Redis
    ) -> None:
        orders = Bucket("orders", batch_size=2)
        orders.extend([1, 2, 3])
        put_history(client_of_server, "orders", pending=[1, 7, 3])
        store_of("orders").beat("host:1:a", lease=timedelta(minutes=1))
        admin_page.goto(BUCKET)
        expect(admin_page.get_by_role("heading", level=1)).to_have_text("orders")
        headings = admin_page.get_by_role("main").get_by_role("heading", level=2).all_inner_texts()
        assert [heading.lower() for heading in headings] == [
            *("figures", "last 4 hours", "workers", "failing batches", "pending events"),
            *("dead letters", "options", "recent actions"),
        ]
        expect(admin_page.get_by_role("img", name="Pending: at most 7")).to_be_visible()
        expect(admin_page.get_by_role("img", name="In per minute")).to_be_visible()
        expect(admin_page.get_by_role("row", name="host:1")).to_be_visible()
        expect(admin_page.get_by_text("max_attempts")).to_be_hidden()
        admin_page.get_by_text("Show all options").click()
        expect(admin_page.get_by_text("max_attempts")).to_be_visible()

    def test_refreshes_by_itself_and_leaves_what_is_opened(self, admin_page: Page) -> None:
        """Although another error comes before the opened one, and the focus is on its summary."""
        bury({"n": "a" * 5000}, reason="no address")
        admin_page.goto(BUCKET)
        admin_page.get_by_text("Totals").click()
        group = admin_page.locator(".group").filter(has_text="no address")
        group.locator(".as-json summary").evaluate("summary => { summary.parentNode.open = true }")
        group.get_by_text("Example").click()
        text = group.locator("pre")
        text.evaluate("pre => { pre.scrollTop = 50 }")
        bury(*range(7), reason="no price")
        Bucket("orders").extend(range(7))
        pending = admin_page.locator("#bucket-figures dd").first
        expect(pending).to_have_text("7", timeout=15_000)
        expect(admin_page.locator(".group code.group-title")).to_have_text(
            ["no price", "no address"]
        )
        expect(admin_page.get_by_text("Appended in total")).to_be_visible()
        expect(group.get_by_text("Example")).to_be_focused()
        expect(text).to_be_visible()
        assert text.evaluate("pre => pre.scrollTop") == 50
        expect(group.get_by_role("button", name="Copy")).to_be_visible()
        assert admin_page.locator("#bucket-dead details[open]").count() == 2

    def test_offers_what_can_be_done_as_it_changes(self, admin_page: Page) -> None:
        orders = Bucket("orders")
        orders.processor(lambda batch: None)
        orders.append(1)
        admin_page.goto(BUCKET)
        expect(admin_page.get_by_role("button", name="Pause")).to_be_visible()
        orders.pause()
        resume = admin_page.get_by_role("button", name="Resume")
        expect(resume).to_be_visible(timeout=15_000)
        expect(admin_page.get_by_role("button", name="Drain now")).to_be_disabled()
        resume.focus()
        orders.resume()
        admin_page.wait_for_timeout(7_000)
        expect(resume).to_be_focused()  # a focused element is not replaced
        resume.click()
        expect(said(admin_page)).to_have_text("It was not paused.")

    def test_shows_dead_letters_that_came_meanwhile(self, admin_page: Page) -> None:
        Bucket("orders").append(0)
        admin_page.goto(BUCKET)
        news = admin_page.locator("#bucket-dead")
        expect(news).to_have_text("There are none.")
        bury(1, 2)
        expect(news.locator(".group-count")).to_contain_text("3", timeout=15_000)
        expect(admin_page.locator("#bucket-parts")).to_contain_text("Dead letters 3")
        news.get_by_role("link", name="Look at each").click()
        expect(admin_page.locator(".letters").get_by_role("checkbox")).to_have_count(3)

    def test_keeps_where_it_was_scrolled(self, admin_page: Page) -> None:
        bury(1)
        orders = Bucket("orders")
        orders.append(1)
        store_of("orders").beat(
            "a-host-with-a-long-name.example.com:12345:0123456789abcdef", lease=timedelta(minutes=1)
        )
        admin_page.set_viewport_size({"width": 400, "height": 800})
        admin_page.goto(BUCKET)
        button = admin_page.get_by_role("button", name="Replay all 1…")
        button.focus()
        scrolled = admin_page.evaluate("scrollY")
        assert scrolled > 500
        orders.append(2)
        expect(admin_page.locator("#bucket-figures dd").first).to_have_text("2", timeout=15_000)
        assert admin_page.evaluate("scrollY") == scrolled
        expect(button).to_be_focused()

    def test_shows_a_script_as_text(self, admin_page: Page) -> None:
        bury({"text": SCRIPT}, reason=ValueError(SCRIPT))
        Bucket("orders").append({"text": SCRIPT})
        admin_page.goto(BUCKET)
        open_details(admin_page)
        expect(admin_page.get_by_role("table", name="Oldest event")).to_contain_text(SCRIPT)
        expect(admin_page.get_by_role("group", name="Oldest event")).to_contain_text(SCRIPT)
        for selector in (".group table.pairs", ".group pre"):
            expect(admin_page.locator(selector)).to_contain_text(SCRIPT)
        expect(admin_page.locator(".group-title")).to_contain_text("<script>alert(")
        assert admin_page.locator("main img[src=x], main script:not([src])").count() == 0
        admin_page.goto(LETTERS)
        open_details(admin_page)
        for name in ("Event (JSON)", "Error", "Traceback"):
            shown = admin_page.get_by_role("group", name=name, exact=True)
            expect(shown).to_contain_text(SCRIPT)
        expect(admin_page.get_by_role("table", name="Event")).to_contain_text(SCRIPT)
        assert admin_page.locator("main img[src=x], main script:not([src])").count() == 0

    def test_shows_the_beginning_of_a_megabyte(self, admin_page: Page) -> None:
        text = "x" * 1_000_000
        bury(text)
        Bucket("orders").append(text)
        admin_page.goto(BUCKET)
        expect(admin_page.get_by_text("Cut here.")).to_be_visible()
        for page in (BUCKET, LETTERS):
            admin_page.goto(page)
            open_details(admin_page)
            expect(admin_page.get_by_text("Cut: it has 1,000,002 bytes.")).to_be_visible()
            assert len(admin_page.content()) < 100_000
            width = admin_page.evaluate("document.documentElement.scrollWidth")
            assert width <= 1440


def test_failure_of_the_processor_is_shown(admin_page: Page) -> None:
    orders = Bucket("orders")
    orders.append({"a": 1})

    def divide(batch: Batch) -> None:
        raise ZeroDivisionError

    orders.processor(divide)
    admin_page.goto(BUCKET)
    press(admin_page, "Drain now")
    expect(said(admin_page)).to_contain_text("1 failure: see the log.")
    expect(admin_page.locator(".health")).to_contain_text("failing")
    expect(admin_page.get_by_role("row", name="ZeroDivisionError")).to_be_visible()
