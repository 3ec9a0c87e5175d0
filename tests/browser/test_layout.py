"""The pages fit into windows of each size: nothing is cut, covered, or reaches out of its box."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import CDPSession, Page, expect
from pytest_django import Settings

from tests.browser.conftest import BUCKET, LETTERS, PAGE, WORKERS
from tests.browser.shop import FINE, LONG_TEXT, LONGEST_NAME, WORKER_SHOWN, open_details

pytestmark = pytest.mark.django_db(transaction=True)

WIDTHS = (1920, 1440, 1280, 1024, 768, 390, 320)
NARROW = (390, 320)
FAULTS = (Path(__file__).parent / "layout.js").read_text()


def show_list(page: Page) -> None:
    page.goto(PAGE)
    expect(page.locator("#bucket-rows tr")).to_have_count(9)


def show_empty_list(page: Page) -> None:
    page.goto(f"{PAGE}?q={'m' * 100}")
    expect(page.get_by_text("No bucket matches.")).to_be_visible()


def show_bucket(page: Page) -> None:
    page.goto(BUCKET)
    expect(page.locator(".group")).to_have_count(7)


def show_unreadable_bucket(page: Page) -> None:
    page.goto(f"{PAGE}?state=unreadable")
    page.locator("#bucket-rows").get_by_role("link").first.click()
    expect(page.locator(".state")).to_have_text("unreadable")


def show_longest_bucket(page: Page) -> None:
    page.goto(f"{PAGE}{LONGEST_NAME}/change/")
    expect(page.locator(".state")).to_have_text("stalled")


def show_letters(page: Page) -> None:
    page.goto(LETTERS)
    expect(page.locator(".letters > li")).to_have_count(20)
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".letters > li")).to_have_count(5)


def show_workers(page: Page) -> None:
    page.goto(WORKERS)
    expect(page.get_by_role("row", name=WORKER_SHOWN)).to_be_visible()


def show_question(page: Page) -> None:
    page.goto(BUCKET)
    open_details(page)
    group = page.locator(".group").filter(has_text=f"ValueError: {LONG_TEXT[:100]}")
    group.get_by_role("button", name="Discard…").click()
    expect(page.get_by_text("This removes 1 dead letter for ever.")).to_be_visible()


def show_question_about_several(page: Page) -> None:
    page.goto(PAGE)
    page.locator("#select-across").check()
    page.get_by_role("button", name="Purge…").click()
    expect(page.get_by_role("row", name=LONGEST_NAME)).to_be_visible()


SHOW = (
    *(show_list, show_empty_list, show_bucket, show_unreadable_bucket, show_longest_bucket),
    *(show_letters, show_workers, show_question, show_question_about_several),
)


class Window:
    """The window of a browser, whose size and zoom can change while a page is shown."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._protocol: CDPSession = page.context.new_cdp_session(page)

    def resize(self, width: int, *, zoom: int = 1) -> None:
        """With `zoom`, the window has so many of its pixels for one of the page."""
        metrics = {"width": width // zoom, "height": 900, "deviceScaleFactor": zoom}
        self._protocol.send("Emulation.setDeviceMetricsOverride", {**metrics, "mobile": False})
        self.page.wait_for_function("width => innerWidth === width", arg=width // zoom)

    def faults(self) -> list[str]:
        return self.page.evaluate(FAULTS)  # type: ignore[no-any-return]

    def faults_by_width(self, *widths: int, **options: Any) -> Iterator[tuple[int, list[str]]]:
        """The widths at which something is wrong."""
        for width in widths:
            self.resize(width, **options)
            if faults := self.faults():
                yield width, faults

    def toggle_sidebar(self) -> None:
        self.resize(1024)
        self.page.locator("#toggle-nav-sidebar").click()


@pytest.fixture
def window(admin_page: Page) -> Window:
    return Window(admin_page)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("show", SHOW)
def test_nothing_is_cut(window: Window, show: Callable[[Page], None]) -> None:
    show(window.page)
    open_details(window.page)
    assert dict(window.faults_by_width(*WIDTHS)) == {}
    assert dict(window.faults_by_width(*WIDTHS[:5], zoom=2)) == {}
    window.page.emulate_media(forced_colors="active")
    assert dict(window.faults_by_width(1024, 320)) == {}
    window.page.emulate_media(forced_colors="none", color_scheme="dark")
    assert dict(window.faults_by_width(1024, 320)) == {}
    window.toggle_sidebar()
    assert dict(window.faults_by_width(*WIDTHS[:5])) == {}


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("language", ["he", "de"])
@pytest.mark.parametrize(
    "show", [show_list, show_bucket, show_letters, show_workers, show_question_about_several]
)
def test_nothing_is_cut_in_other_languages(
    window: Window, show: Callable[[Page], None], language: str, settings: Settings
) -> None:
    """One is written from right to left, and one has long words."""
    show(window.page)
    settings.LANGUAGE_CODE = language
    window.page.reload()
    html = window.page.locator("html")
    expect(html).to_have_attribute("dir", "rtl" if language == "he" else "ltr")
    open_details(window.page)
    assert dict(window.faults_by_width(*WIDTHS)) == {}


def test_what_is_wrong_is_found(window: Window) -> None:
    """Each fault that the other tests look for."""
    window.page.goto(PAGE)
    assert window.faults() == []
    content = window.page.locator("#content-main")
    for style, fault in (
        ("width: 2000px", "page"),
        ("margin-left: -30px", "beside"),
        ("width: 20px; overflow: hidden; white-space: nowrap", "cut"),
        ("width: 20px; white-space: nowrap", "out of"),
    ):
        content.evaluate(
            """(content, style) => {
                content.innerHTML = `<div><p>a number of words</p></div>`;
                content.firstChild.style.cssText = style;
            }""",
            style,
        )
        assert any(fault in each for each in window.faults()), (style, window.faults())


@pytest.mark.usefixtures("shop")
class TestList:
    def test_has_all_columns_at_1024_pixels(self, window: Window) -> None:
        show_list(window.page)
        for _ in range(2):
            window.resize(1024)
            for heading in window.page.locator("#result_list").get_by_role("columnheader").all():
                expect(heading).to_be_in_viewport()
            assert self.display_of_rows(window) == {"table-row"}
            window.toggle_sidebar()

    @pytest.mark.parametrize("width", [1024, 1280, 1440, 1920])
    def test_has_one_line_for_a_bucket_in_which_nothing_is_wrong(
        self, window: Window, width: int
    ) -> None:
        show_list(window.page)
        window.resize(width)
        heights = {self.row(window, name).bounding_box()["height"] for name in FINE}
        assert len(heights) == 1
        assert heights.pop() < 44

    @pytest.mark.parametrize("width", NARROW)
    def test_has_cards_in_a_narrow_window(self, window: Window, width: int) -> None:
        show_list(window.page)
        window.resize(width)
        assert self.display_of_rows(window) == {"grid"}
        card = self.row(window, "counters")
        expect(card).to_contain_text("8")
        labels = card.locator("[data-label]").evaluate_all(
            "cells => cells.map(cell => getComputedStyle(cell, '::before').content)"
        )
        assert labels[0].startswith('"Pending: ')
        assert "none" not in labels

    def display_of_rows(self, window: Window) -> set[str]:
        rows = window.page.locator("#bucket-rows tr")
        return set(rows.evaluate_all("rows => rows.map(row => getComputedStyle(row).display)"))

    def row(self, window: Window, name: str) -> Any:
        rows = window.page.locator("#bucket-rows tr")
        return rows.filter(has=window.page.get_by_role("link", name=name, exact=True))


def test_of_no_redis_nothing_is_cut(
    window: Window, use_cache: Callable[..., str], tmp_path: Path, complaints: list[str]
) -> None:
    use_cache(f"unix://{tmp_path}/{'nobody' * 30}.sock?db=0")
    window.page.goto(PAGE)
    expect(window.page.get_by_role("link", name="Try again")).to_be_visible()
    assert dict(window.faults_by_width(*WIDTHS)) == {}
    complaints.clear()  # the browser reports the status 503
