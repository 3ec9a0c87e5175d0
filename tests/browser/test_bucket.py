"""The page of one bucket, and its actions."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from django_jsonbuffer import Batch, Bucket
from tests.admin.pages import CODENAMES
from tests.browser.conftest import BUCKET
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
            *("figures", "last 4 hours", "workers", "oldest pending events", "dead letters"),
            *("options", "recent actions"),
        ]
        expect(admin_page.get_by_role("img", name="Pending: at most 7")).to_be_visible()
        expect(admin_page.get_by_role("img", name="In per minute")).to_be_visible()
        expect(admin_page.get_by_role("row", name="host:1:a")).to_be_visible()
        expect(admin_page.get_by_text("max_attempts")).to_be_visible()

    def test_refreshes_by_itself_and_leaves_what_is_selected(self, admin_page: Page) -> None:
        bury(1, 2)
        admin_page.goto(BUCKET)
        admin_page.get_by_role("checkbox").first.check()
        admin_page.locator("summary").first.click()
        Bucket("orders").extend(range(7))
        pending = admin_page.locator("#bucket-figures dd").first
        expect(pending).to_have_text("7", timeout=15_000)
        expect(admin_page.get_by_role("checkbox").first).to_be_checked()
        expect(admin_page.get_by_role("heading", name="Traceback")).to_have_count(0)
        expect(admin_page.get_by_role("region", name="Error").first).to_be_visible()

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
        news = admin_page.locator("#bucket-newest-letter")
        expect(news).to_have_text("There are none.")
        bury(1, 2)
        expect(news).to_contain_text("3 in total", timeout=15_000)
        news.get_by_role("link", name="Show the oldest").click()
        expect(admin_page.get_by_role("checkbox")).to_have_count(3)

    def test_keeps_a_table_where_it_was_scrolled(self, admin_page: Page) -> None:
        orders = Bucket("orders")
        orders.append(1)
        store_of("orders").beat(
            "a-host-with-a-long-name.example.com:12345:0123456789abcdef", lease=timedelta(minutes=1)
        )
        admin_page.set_viewport_size({"width": 400, "height": 800})
        admin_page.goto(BUCKET)
        table = admin_page.get_by_role("region", name="Table of workers")
        table.focus()
        scrolled = table.evaluate("element => (element.scrollLeft = 80, element.scrollLeft)")
        assert scrolled > 0
        orders.append(2)
        expect(admin_page.locator("#bucket-figures dd").first).to_have_text("2", timeout=15_000)
        assert table.evaluate("element => element.scrollLeft") == scrolled
        expect(table).to_be_focused()

    def test_shows_a_script_as_text(self, admin_page: Page) -> None:
        bury({"text": SCRIPT}, reason=ValueError(SCRIPT))
        Bucket("orders").append({"text": SCRIPT})
        admin_page.goto(BUCKET)
        expect(admin_page.get_by_role("region", name="Event 1")).to_contain_text(SCRIPT)
        admin_page.locator("summary").click()
        for name in ("Event", "Error", "Traceback"):
            shown = admin_page.get_by_role("region", name=name, exact=True)
            expect(shown).to_contain_text(SCRIPT)
        assert admin_page.locator("main img[src=x], main script:not([src])").count() == 0

    def test_shows_the_beginning_of_a_megabyte(self, admin_page: Page) -> None:
        text = "x" * 1_000_000
        bury(text)
        Bucket("orders").append(text)
        admin_page.goto(BUCKET)
        expect(admin_page.get_by_text("Cut here.")).to_be_visible()
        admin_page.locator("summary").click()
        expect(admin_page.get_by_text("Cut: it has 1,000,002 bytes.")).to_be_visible()
        assert len(admin_page.content()) < 100_000
        width = admin_page.evaluate("document.documentElement.scrollWidth")
        assert width <= 1440

    def test_can_be_read_by_keyboard(self, admin_page: Page) -> None:
        bury({"a": 1})
        admin_page.goto(BUCKET)
        admin_page.locator("summary").focus()
        admin_page.keyboard.press("Enter")
        event = admin_page.get_by_role("region", name="Event", exact=True)
        expect(event).to_be_visible()
        admin_page.keyboard.press("Tab")
        expect(event).to_be_focused()


class TestActions:
    def test_drain_now(self, admin_page: Page) -> None:
        got: list[int] = []
        orders = Bucket("orders")
        orders.processor(got.extend)
        orders.extend([1, 2, 3])
        admin_page.goto(BUCKET)
        press(admin_page, "Drain now")
        expect(said(admin_page)).to_have_text("Drained: 3 events.")
        assert got == [1, 2, 3]
        expect(admin_page.locator(".log")).to_contain_text("Drained: 3 events.")

    def test_pause_and_resume(self, admin_page: Page) -> None:
        orders = Bucket("orders")
        orders.processor(lambda batch: None)
        orders.append(1)
        admin_page.goto(BUCKET)
        press(admin_page, "Pause")
        expect(said(admin_page)).to_contain_text("Paused")
        expect(admin_page.get_by_role("button", name="Drain now")).to_be_disabled()
        expect(admin_page.locator(".health")).to_contain_text("has been paused for")
        orders.append(2)
        assert orders.drain().processed == 0
        press(admin_page, "Resume")
        expect(said(admin_page)).to_have_text("Resumed.")
        assert orders.drain().processed == 2

    def test_replay_one_several_and_all(self, admin_page: Page) -> None:
        orders = bury(0, 1, 2, 3, 4)
        admin_page.goto(BUCKET)
        boxes = admin_page.get_by_role("checkbox")
        boxes.nth(1).check()
        press(admin_page, "Replay selected")
        expect(said(admin_page)).to_have_text("Replayed: 1 dead letter.")
        boxes.nth(0).check()
        boxes.nth(2).check()
        press(admin_page, "Replay selected")
        expect(said(admin_page)).to_have_text("Replayed: 2 dead letters.")
        press(admin_page, "Replay all 2")
        expect(said(admin_page)).to_have_text("Replayed: 2 dead letters.")
        expect(admin_page.get_by_text("There are none.")).to_be_visible()
        assert orders.take() == [1, 0, 3, 2, 4]

    @pytest.mark.parametrize("button", ["Replay selected", "Discard selected…"])
    def test_of_what_is_selected_do_nothing_when_nothing_is(
        self, admin_page: Page, button: str
    ) -> None:
        orders = bury(1, 2)
        admin_page.goto(BUCKET)
        press(admin_page, button)
        expect(said(admin_page)).to_contain_text("select dead letters first")
        assert orders.status().dead == 2

    def test_discard_after_a_confirmation(self, admin_page: Page) -> None:
        orders = bury(1, 2, 3)
        admin_page.goto(BUCKET)
        admin_page.get_by_role("checkbox").nth(1).check()
        press(admin_page, "Discard selected…")
        expect(admin_page.get_by_text("This removes 1 dead letter for ever.")).to_be_visible()
        admin_page.get_by_role("link", name="No, take me back").click()
        assert orders.status().dead == 3
        admin_page.get_by_role("checkbox").nth(1).check()
        press(admin_page, "Discard selected…")
        press(admin_page, "Discard")
        expect(said(admin_page)).to_have_text("Discarded: 1 dead letter.")
        assert [letter.event for letter in orders.dead] == [1, 3]
        press(admin_page, "Discard all 2…")
        press(admin_page, "Discard")
        expect(said(admin_page)).to_have_text("Discarded: 2 dead letters.")

    def test_purge_after_a_confirmation(self, admin_page: Page) -> None:
        orders = Bucket("orders")
        orders.extend([1, 2])
        admin_page.goto(BUCKET)
        press(admin_page, "Purge…")
        expect(admin_page.get_by_role("heading", name="Purge orders?")).to_be_visible()
        admin_page.get_by_role("link", name="No, take me back").click()
        expect(admin_page.get_by_role("heading", name="orders", level=1)).to_be_visible()
        assert orders.status().pending == 2
        press(admin_page, "Purge…")
        press(admin_page, "Purge pending events")
        expect(said(admin_page)).to_have_text("Purged: 2 pending events.")
        assert orders.status().pending == 0

    def test_are_in_the_log_of_the_admin(self, admin_page: Page) -> None:
        Bucket("orders").append(1)
        admin_page.goto(BUCKET)
        press(admin_page, "Pause")
        admin_page.goto("/admin/")
        admin_page.locator("#recent-actions-module").get_by_role("link", name="orders").click()
        expect(admin_page.get_by_role("heading", name="orders", level=1)).to_be_visible()


class TestPermissions:
    BUTTONS = {
        "view_events": {"Replay selected", "Discard selected…"},
        "drain_bucket": {"Drain now"},
        "change_bucket": {"Pause", "Replay selected", "Replay all 1"},
        "delete_events": {"Purge…", "Discard selected…", "Discard all 1…"},
    }

    @pytest.mark.parametrize("missing", BUTTONS)
    def test_of_one_that_lacks_one(
        self, page: Page, log_in_with: Callable[..., User], missing: str
    ) -> None:
        bury("what nobody is to see")
        Bucket("orders").append("what nobody is to see")
        log_in_with(*(codename for codename in CODENAMES if codename != missing))
        page.goto(BUCKET)
        buttons = page.locator("#content-main button[type=submit]").all_inner_texts()
        assert set(buttons) == set().union(*self.BUTTONS.values()) - self.BUTTONS[missing]
        is_shown = "what nobody is to see" in page.content()
        assert is_shown == (missing != "view_events")

    def test_that_was_taken_away_meanwhile_is_missed(
        self, page: Page, log_in_with: Callable[..., User], complaints: list[str]
    ) -> None:
        Bucket("orders").append(1)
        log_in_with(*CODENAMES)
        page.goto(BUCKET)
        user = log_in_with(*CODENAMES)
        user.user_permissions.clear()
        press(page, "Pause")
        expect(page.get_by_text("403 Forbidden")).to_be_visible()
        assert Bucket("orders").status().paused is None
        complaints.clear()


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
