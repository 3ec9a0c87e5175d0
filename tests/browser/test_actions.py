"""The actions on one bucket, and who may do what."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from django_jsonbuffer import Bucket
from tests.admin.pages import CODENAMES
from tests.browser.conftest import BUCKET, LETTERS, PAGE
from tests.browser.shop import open_details
from tests.browser.test_bucket import press, said
from tests.prepared import bury, release_failed

pytestmark = pytest.mark.django_db(transaction=True)


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
        boxes = admin_page.locator(".letters").get_by_role("checkbox")
        for places, count in (([1], "1 dead letter"), ([0, 2], "2 dead letters")):
            admin_page.goto(LETTERS)
            for place in places:
                boxes.nth(place).check()
            press(admin_page, "Replay selected…")
            expect(admin_page.get_by_text(f"of {count} go")).to_be_visible()
            press(admin_page, "Replay")
            expect(said(admin_page)).to_have_text(f"Replayed: {count}.")
        admin_page.goto(BUCKET)
        press(admin_page, "Replay all 2…")
        press(admin_page, "Replay")
        expect(said(admin_page)).to_have_text("Replayed: 2 dead letters.")
        expect(admin_page.get_by_text("There are none.")).to_be_visible()
        assert orders.take() == [1, 0, 3, 2, 4]

    @pytest.mark.parametrize("button", ["Replay selected…", "Discard selected…"])
    def test_of_what_is_selected_do_nothing_when_nothing_is(
        self, admin_page: Page, button: str
    ) -> None:
        orders = bury(1, 2)
        admin_page.goto(LETTERS)
        press(admin_page, button)
        expect(said(admin_page)).to_contain_text("select dead letters first")
        assert orders.status().dead == 2

    def test_discard_after_a_confirmation(self, admin_page: Page) -> None:
        orders = bury(1, 2, 3)
        boxes = admin_page.locator(".letters").get_by_role("checkbox")
        admin_page.goto(LETTERS)
        boxes.nth(1).check()
        press(admin_page, "Discard selected…")
        expect(admin_page.get_by_text("This removes 1 dead letter for ever.")).to_be_visible()
        admin_page.get_by_role("link", name="No, take me back").click()
        title = "Dead letters of orders"
        expect(admin_page.get_by_role("heading", name=title, level=1)).to_be_visible()
        assert orders.status().dead == 3
        boxes.nth(1).check()
        press(admin_page, "Discard selected…")
        press(admin_page, "Discard")
        expect(said(admin_page)).to_have_text("Discarded: 1 dead letter.")
        expect(admin_page.get_by_role("heading", name=title, level=1)).to_be_visible()
        assert [letter.event for letter in orders.dead] == [1, 3]
        admin_page.get_by_role("main").get_by_role("link", name="orders").click()
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


def buttons_of(page: Page) -> set[str]:
    """The texts of all buttons that need a permission, without what only screen readers read."""
    buttons = page.locator("#content-main .button:not(.copy):visible").all_inner_texts()
    return {text.partition("\n")[0] for text in buttons}


def all_of(texts: dict[str, set[str]]) -> set[str]:
    return set().union(*texts.values())


class TestPermissions:
    BUTTONS = {
        "view_events": {"Look at each", "Show", "Download"},
        "drain_bucket": {"Drain now"},
        "change_bucket": {"Pause", "Replay all 1…", "Replay…", "Try now"},
        "delete_events": {"Purge…", "Discard all 1…", "Discard…"},
    }
    OF_LETTERS = {
        "drain_bucket": set[str](),
        "change_bucket": {"Replay selected…"},
        "delete_events": {"Discard selected…"},
    }
    OF_LIST = {
        "view_events": set[str](),
        "drain_bucket": {"Drain…"},
        "change_bucket": {"Pause…", "Resume…", "Replay…"},
        "delete_events": {"Purge…"},
    }

    @pytest.mark.parametrize("missing", BUTTONS)
    def test_of_one_that_lacks_one(
        self, page: Page, log_in_with: Callable[..., User], missing: str
    ) -> None:
        bury("what nobody is to see")
        Bucket("orders").append("what nobody is to see")
        release_failed("orders", error="no", backoff=timedelta(hours=1))
        log_in_with(*(codename for codename in CODENAMES if codename != missing))
        page.goto(BUCKET)
        assert buttons_of(page) == all_of(self.BUTTONS) - self.BUTTONS[missing]
        open_details(page)
        is_shown = "what nobody is to see" in page.content()
        assert is_shown == (missing != "view_events")
        page.goto(PAGE)
        assert buttons_of(page) == all_of(self.OF_LIST) - self.OF_LIST[missing]

    @pytest.mark.parametrize("missing", OF_LETTERS)
    def test_of_one_that_lacks_one_for_dead_letters(
        self, page: Page, log_in_with: Callable[..., User], missing: str
    ) -> None:
        bury("an event")
        log_in_with(*(codename for codename in CODENAMES if codename != missing))
        page.goto(LETTERS)
        buttons = {"Download", *all_of(self.OF_LETTERS)} - self.OF_LETTERS[missing]
        assert buttons_of(page) == buttons

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
