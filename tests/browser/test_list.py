"""The list of buckets, as a visitor sees and uses it."""

import re
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from django_jsonbuffer import Bucket
from tests.browser.conftest import PAGE
from tests.prepared import make_old, put_history
from tests.server import Redis

pytestmark = pytest.mark.django_db(transaction=True)


def expect_buckets(page: Page, *names: str) -> None:
    expect(page.locator("#bucket-rows th")).to_have_text([*names])


def test_is_found_from_the_index(admin_page: Page) -> None:
    Bucket("orders").extend([1, 2, 3])
    admin_page.goto("/admin/")
    admin_page.get_by_role("main").get_by_role("link", name="Buckets", exact=True).click()
    expect(admin_page.get_by_role("heading", name="Buckets")).to_be_visible()
    row = admin_page.get_by_role("row", name="orders")
    expect(row.get_by_role("cell").nth(2)).to_have_text("3")
    row.get_by_role("link", name="orders").click()
    expect(admin_page.get_by_role("heading", name="orders", level=1)).to_be_visible()


def test_shows_at_a_glance_which_bucket_wants_a_look(
    admin_page: Page, client_of_server: Redis
) -> None:
    for name in ("fine", "stalled", "paused"):
        Bucket(name).append(1)
    make_old(client_of_server, "stalled")
    Bucket("paused").pause()
    put_history(client_of_server, "fine", pending=[1, 5, 2])
    admin_page.goto(PAGE)
    expect_buckets(admin_page, "stalled", "paused", "fine")
    row = admin_page.get_by_role("row", name="stalled").first
    expect(row).to_contain_text("The oldest event has waited for 1")
    chart = admin_page.get_by_role("row", name="fine").get_by_role("img")
    expect(chart).to_be_visible()
    assert "at most 5" in (chart.get_attribute("aria-label") or "")


def test_is_searched(admin_page: Page) -> None:
    for name in ("orders", "order-lines", "views"):
        Bucket(name).append(1)
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
    Bucket("few").append(1)
    Bucket("many").extend(range(10))
    Bucket("resting").extend(range(5))
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
        cell = admin_page.get_by_role("row", name="orders").get_by_role("cell").nth(2)
        expect(cell).to_have_text("42", timeout=15_000)
        expect_buckets(admin_page, "orders", "views")

    def test_shows_the_first_bucket_when_it_comes(self, admin_page: Page) -> None:
        admin_page.goto(PAGE)
        expect(admin_page.get_by_text("No bucket has been declared")).to_be_visible()
        Bucket("orders").append(1)
        expect(admin_page.locator("#bucket-rows th")).to_have_text("orders", timeout=15_000)

    def test_keeps_focus_search_and_scroll(self, admin_page: Page) -> None:
        Bucket("orders").append(1)
        Bucket("views").append(1)
        admin_page.set_viewport_size({"width": 500, "height": 500})
        admin_page.goto(f"{PAGE}?q=order")
        admin_page.get_by_label("Search buckets").fill("half a wo")
        scrolling = admin_page.get_by_role("region", name="Buckets")
        admin_page.get_by_role("link", name="orders").focus()
        scrolling.evaluate("element => { element.scrollLeft = 150 }")
        Bucket("orders").append(2)
        cell = admin_page.get_by_role("row", name="orders").get_by_role("cell").nth(2)
        expect(cell).to_have_text("2", timeout=15_000)
        expect(admin_page.get_by_role("link", name="orders")).to_be_focused()
        expect(admin_page.get_by_label("Search buckets")).to_have_value("half a wo")
        assert scrolling.evaluate("element => element.scrollLeft") == 150
        expect_buckets(admin_page, "orders")

    def test_can_be_stopped(self, admin_page: Page) -> None:
        Bucket("orders").append(1)
        admin_page.goto(PAGE)
        toggle = admin_page.get_by_role("button", name="Refresh every few seconds")
        toggle.focus()
        admin_page.keyboard.press("Space")
        assert toggle.get_attribute("aria-pressed") == "false"
        Bucket("orders").append(2)
        admin_page.wait_for_timeout(7_000)
        cell = admin_page.get_by_role("row", name="orders").get_by_role("cell").nth(2)
        expect(cell).to_have_text("1")
        admin_page.keyboard.press("Space")
        expect(cell).to_have_text("2")

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


def test_reads_well_without_a_script(admin_page: Page, page_without_script: Page) -> None:
    Bucket("orders").extend([1, 2])
    page = page_without_script
    page.context.add_cookies(admin_page.context.cookies())  # type: ignore[arg-type]
    page.goto(PAGE)
    expect_buckets(page, "orders")
    expect(page.get_by_role("button", name="Refresh every few seconds")).to_be_hidden()
    page.get_by_role("link", name="orders").click()
    page.get_by_role("button", name="Purge…").click()
    page.get_by_role("button", name="Purge pending events").click()
    expect(page.get_by_text("Purged: 2 pending events.").first).to_be_visible()


@pytest.fixture
def page_without_script(browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    yield context.new_page()
    context.close()


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
        expect(page.locator("#bucket-rows th")).to_have_text("orders")

    def test_of_nobody_is_a_login(self, page: Page) -> None:
        page.goto(PAGE)
        expect(page.get_by_label("Username")).to_be_visible()
