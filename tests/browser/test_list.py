"""The list of buckets, as a visitor sees and uses it."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.sync_api import Locator, Page, expect
from pytest_django import Settings

from django_jsonbuffer import Bucket
from tests.browser.conftest import PAGE
from tests.prepared import make_old, put_history, store_of
from tests.server import Redis

pytestmark = pytest.mark.django_db(transaction=True)


def expect_buckets(page: Page, *names: str) -> None:
    expect(page.locator("#bucket-rows .name-and-state a")).to_have_text([*names])


def row_of(page: Page, name: str) -> Locator:
    rows = page.locator("#bucket-rows tr")
    return rows.filter(has=page.get_by_role("link", name=name, exact=True))


def pending(page: Page, name: str) -> Locator:
    return row_of(page, name).locator(".pending .number")


def append_to(*names: str) -> None:
    """Append an event to each, which a worker is about to drain."""
    for name in names:
        Bucket(name).append(1)
        store_of(name).beat("host:1:a", lease=timedelta(minutes=1))


def test_is_found_from_the_index(admin_page: Page) -> None:
    Bucket("orders").extend([1, 2, 3])
    admin_page.goto("/admin/")
    admin_page.get_by_role("main").get_by_role("link", name="Buckets", exact=True).click()
    expect(admin_page.get_by_role("heading", name="Buckets")).to_be_visible()
    expect(pending(admin_page, "orders")).to_have_text("3")
    row_of(admin_page, "orders").get_by_role("link", name="orders").click()
    expect(admin_page.get_by_role("heading", name="orders", level=1)).to_be_visible()


def test_shows_at_a_glance_which_bucket_wants_a_look(
    admin_page: Page, client_of_server: Redis
) -> None:
    append_to("fine", "paused")
    Bucket("stalled").append(1)
    make_old(client_of_server, "stalled")
    Bucket("paused").pause()
    put_history(client_of_server, "fine", pending=[1, 5, 2])
    admin_page.goto(PAGE)
    expect_buckets(admin_page, "stalled", "paused", "fine")
    row = row_of(admin_page, "stalled")
    expect(row).to_contain_text("The oldest event has waited for 1")
    expect(row).to_be_in_viewport(ratio=1)
    chart = admin_page.get_by_role("row", name="fine").get_by_role("img")
    expect(chart).to_be_visible()
    assert "at most 5" in (chart.get_attribute("aria-label") or "")


def test_is_searched(admin_page: Page) -> None:
    append_to("orders", "order-lines", "views")
    admin_page.goto(PAGE)
    admin_page.get_by_label("Search buckets").fill("order")
    admin_page.keyboard.press("Enter")
    expect(admin_page).to_have_url(re.compile(r"\?q=order$"))
    expect_buckets(admin_page, "order-lines", "orders")
    admin_page.get_by_label("Search buckets").fill("nobody")
    admin_page.get_by_role("button", name="Search").click()
    expect(admin_page.get_by_text("No bucket matches.")).to_be_visible()
    admin_page.get_by_role("link", name="Show all").click()
    expect_buckets(admin_page, "order-lines", "orders", "views")


def test_is_sorted_and_filtered(admin_page: Page) -> None:
    append_to("few", "many", "resting")
    Bucket("many").extend(range(9))
    Bucket("resting").extend(range(4))
    Bucket("resting").pause()
    admin_page.goto(PAGE)
    for order in (["many", "resting", "few"], ["few", "resting", "many"]):
        admin_page.get_by_role("link", name="Pending").click()
        expect_buckets(admin_page, *order)
    heading = admin_page.get_by_role("columnheader", name="Pending")
    assert heading.get_attribute("aria-sort") == "ascending"
    admin_page.get_by_role("navigation", name="States").get_by_role("link", name="flowing").click()
    expect(admin_page.locator("#bucket-rows tr")).to_have_count(2)
    expect_buckets(admin_page, "few", "many")


def test_of_many_has_pages(admin_page: Page) -> None:
    for number in range(205):
        Bucket(f"bucket-{number:03}").processor(print)
    admin_page.goto(PAGE)
    expect(admin_page.locator("#bucket-rows tr")).to_have_count(100)
    pages = admin_page.get_by_role("navigation", name="Pages")
    expect(pages).to_contain_text("205 buckets")
    pages.get_by_role("link", name="3").click()
    expect(admin_page.locator("#bucket-rows tr")).to_have_count(5)


class TestRefresh:
    def test_shows_new_numbers_by_itself(self, admin_page: Page) -> None:
        Bucket("orders").append(1)
        admin_page.goto(PAGE)
        Bucket("orders").extend(range(41))
        Bucket("views").append(1)
        expect(pending(admin_page, "orders")).to_have_text("42", timeout=15_000)
        expect_buckets(admin_page, "orders", "views")

    def test_shows_the_first_bucket_when_it_comes(self, admin_page: Page) -> None:
        admin_page.goto(PAGE)
        expect(admin_page.get_by_text("No bucket has been declared")).to_be_visible()
        Bucket("orders").append(1)
        name = admin_page.locator("#bucket-rows .name-and-state a")
        expect(name).to_have_text("orders", timeout=15_000)

    @pytest.mark.parametrize("focused", ["link", "checkbox"])
    def test_keeps_focus_search_selection_and_scroll(self, admin_page: Page, focused: Any) -> None:
        names = [f"order-{n:02}" for n in range(30)]
        append_to(*names, "views")
        admin_page.set_viewport_size({"width": 500, "height": 500})
        admin_page.goto(f"{PAGE}?q=order")
        admin_page.get_by_label("Search buckets").fill("half a wo")
        for name in ("order-07", "order-09"):
            row_of(admin_page, name).get_by_role("checkbox").check()
        target = row_of(admin_page, "order-09").get_by_role(focused).first
        target.focus()
        scrolled = admin_page.evaluate("scrollY")
        assert scrolled > 500
        append_to("order-09", "order-29")
        expect(pending(admin_page, "order-09")).to_have_text("2", timeout=15_000)
        expect(target).to_be_focused()
        expect(admin_page.get_by_label("Search buckets")).to_have_value("half a wo")
        assert admin_page.evaluate("scrollY") == scrolled
        checked = admin_page.locator("#bucket-rows input:checked")
        values = checked.evaluate_all("boxes => boxes.map(box => box.value)")
        assert values == ["order-07", "order-09"]
        expect(admin_page.locator("#selected-count")).to_have_text("selected: 2")
        expect_buckets(admin_page, *names)

    def test_can_be_stopped(self, admin_page: Page) -> None:
        Bucket("orders").append(1)
        admin_page.goto(PAGE)
        toggle = admin_page.get_by_role("switch", name="Refresh every few seconds")
        expect(toggle).to_be_checked()
        expect(toggle).to_contain_text("on")
        toggle.focus()
        admin_page.keyboard.press("Space")
        expect(toggle).not_to_be_checked()
        expect(toggle).to_contain_text("off")
        Bucket("orders").append(2)
        admin_page.wait_for_timeout(7_000)
        expect(pending(admin_page, "orders")).to_have_text("1")
        admin_page.keyboard.press("Space")
        expect(toggle).to_be_checked()
        expect(pending(admin_page, "orders")).to_have_text("2")

    def test_says_that_the_numbers_are_old_when_redis_goes_away(
        self,
        admin_page: Page,
        complaints: list[str],
        settings: Settings,
        use_cache: Callable[..., str],
    ) -> None:
        Bucket("orders").append(1)
        admin_page.goto(PAGE)
        before = settings.JSONBUFFER
        use_cache("unix:///nowhere/nobody.sock?db=0")
        message = admin_page.get_by_role("status")
        expect(message).to_contain_text("These figures are old", timeout=15_000)
        expect(message).to_contain_text("Redis cannot be reached")
        expect_buckets(admin_page, "orders")
        settings.JSONBUFFER = before
        expect(message).to_have_text("", timeout=15_000)
        assert all("503" in complaint for complaint in complaints)
        complaints.clear()

    def test_says_that_the_visitor_is_logged_out(self, admin_page: Page) -> None:
        Bucket("orders").append(1)
        admin_page.goto(PAGE)
        Session.objects.all().delete()
        message = admin_page.get_by_role("status")
        expect(message).to_have_text("You are logged out: reload the page.", timeout=15_000)
        expect_buckets(admin_page, "orders")


class TestUnavailable:
    @pytest.mark.usefixtures("unreachable")
    def test_redis_is_said_and_costs_the_rest_of_the_admin_nothing(
        self, admin_page: Page, complaints: list[str]
    ) -> None:
        response = admin_page.goto(PAGE)
        assert response is not None
        assert response.status == 503
        expect(admin_page.get_by_role("heading", name="The buckets cannot be read")).to_be_visible()
        expect(admin_page.get_by_text("Redis cannot be reached")).to_be_visible()
        expect(admin_page.get_by_role("link", name="Try again")).to_be_visible()
        complaints.clear()  # the browser reports the status 503
        for path in ("/admin/", "/admin/django_jsonbuffer/", "/admin/auth/user/"):
            response = admin_page.goto(path)
            assert response is not None
            assert response.status == 200


class TestPermission:
    def test_to_see_buckets_is_needed(
        self, page: Page, log_in_with: Callable[..., User], complaints: list[str]
    ) -> None:
        Bucket("orders").append(1)
        log_in_with("view_user")
        page.goto("/admin/")
        expect(page.get_by_role("link", name="Buckets")).to_have_count(0)
        response = page.goto(PAGE)
        assert response is not None
        assert response.status == 403
        complaints.clear()
        log_in_with("view_bucket")
        page.goto("/admin/")
        page.get_by_role("main").get_by_role("link", name="Buckets", exact=True).click()
        expect_buckets(page, "orders")

    def test_of_nobody_is_a_login(self, page: Page) -> None:
        page.goto(PAGE)
        expect(page.get_by_label("Username")).to_be_visible()
