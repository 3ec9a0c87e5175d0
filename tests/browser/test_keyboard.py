"""The pages by keyboard alone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from django_jsonbuffer import Bucket
from tests.browser.conftest import BUCKET, LETTERS, PAGE, WORKERS
from tests.browser.shop import ERRORS, FINE, open_details
from tests.browser.test_list import expect_buckets, row_of
from tests.prepared import bury

pytestmark = pytest.mark.django_db(transaction=True)

MOST_TABS = 400
FOCUS = """() => {
    const element = document.activeElement;
    if (element === document.body) return null;
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const upper = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    return {
        text: (element.getAttribute("aria-label") ?? element.innerText).trim().split("\\n")[0],
        isMarked: style.outlineStyle !== "none" || style.boxShadow !== "none",
        isCovered: !upper || !(element.contains(upper) || upper.contains(element)),
        isInContent: Boolean(element.closest("#content-main")),
    };
}"""
ALL = """() => [...document.querySelectorAll(
    "#content-main :is(a[href], button, summary, select, input, pre[tabindex])"
)].filter(each => each.checkVisibility() && !each.disabled && each.type !== "hidden").length"""


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def focus_by_tabs(page: Page) -> Iterator[dict[str, str | bool]]:
    """What gets the focus in the content, one Tab after the other."""
    for _ in range(MOST_TABS):
        press(page, "Tab")
        focused = page.evaluate(FOCUS)
        if focused is None:
            return
        if focused["isInContent"]:
            yield focused
    raise AssertionError("The focus does not leave the page.")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("width", [1440, 400])
@pytest.mark.parametrize("path", [PAGE, BUCKET, LETTERS, WORKERS])
def test_everything_is_reached_and_seen(admin_page: Page, path: str, width: int) -> None:
    """Each link, button and field gets the focus once, is marked then, and nothing covers it."""
    admin_page.set_viewport_size({"width": width, "height": 900})
    admin_page.goto(path)
    if admin_page.locator("#refresh-toggle").count():
        admin_page.locator("#refresh-toggle").click()  # so that nothing changes meanwhile
    if path == LETTERS:
        open_details(admin_page)
    expected = admin_page.evaluate(ALL)
    admin_page.locator("#site-name a").focus()
    reached = [*focus_by_tabs(admin_page)]
    assert [each["text"] for each in reached if not each["isMarked"]] == []
    assert [each["text"] for each in reached if each["isCovered"]] == []
    assert len(reached) == expected


class TestSkipLink:
    @pytest.mark.usefixtures("shop")
    def test_leads_to_the_first_row_of_the_list(self, admin_page: Page) -> None:
        admin_page.goto(PAGE)
        press(admin_page, "Tab", "Tab")
        expect(admin_page.get_by_role("link", name="Skip to the buckets")).to_be_focused()
        expect(admin_page.get_by_role("link", name="Skip to the buckets")).to_be_in_viewport()
        press(admin_page, "Enter")
        expect(admin_page.locator("#result_list")).to_be_focused()
        first = admin_page.locator("#bucket-rows .name-and-state a").first
        tabs = 0
        while not first.evaluate("link => link === document.activeElement"):
            press(admin_page, "Tab")
            tabs += 1
        # The box that selects the page, the seven headings, and the box of the row come before.
        assert tabs == 10
        press(admin_page, "Enter")
        expect(admin_page.locator(".state")).to_have_text("unreadable")

    @pytest.mark.usefixtures("shop")
    @pytest.mark.parametrize(
        ("path", "text", "target"),
        [
            (BUCKET, "Skip to the bucket", "#refresh-toggle"),
            (LETTERS, "Skip to the dead letters", "button >> nth=0"),
            (WORKERS, "Skip to the workers", "#refresh-toggle"),
        ],
    )
    def test_leads_to_the_content(
        self, admin_page: Page, path: str, text: str, target: str
    ) -> None:
        admin_page.goto(path)
        press(admin_page, "Tab", "Tab")
        expect(admin_page.get_by_role("link", name=text, exact=True)).to_be_focused()
        press(admin_page, "Enter", "Tab")
        expect(admin_page.locator("#content-main").locator(target)).to_be_focused()


class TestSelection:
    @pytest.mark.usefixtures("shop")
    def test_of_the_whole_page_and_of_some(self, admin_page: Page) -> None:
        admin_page.goto(PAGE)
        page_box = admin_page.get_by_label("Select all buckets on this page")
        boxes = admin_page.locator("#bucket-rows").get_by_role("checkbox")
        count = admin_page.locator("#selected-count")
        expect(count).to_be_hidden()
        page_box.focus()
        press(admin_page, "Space")
        assert all(box.is_checked() for box in boxes.all())
        expect(count).to_have_text("selected: 9")
        boxes.first.focus()
        press(admin_page, "Space")
        expect(count).to_have_text("selected: 8")
        expect(page_box).not_to_be_checked()
        assert page_box.evaluate("box => box.indeterminate")
        press(admin_page, "Space")
        expect(page_box).to_be_checked()
        assert not page_box.evaluate("box => box.indeterminate")
        admin_page.locator("#select-across").check()
        expect(count).to_be_hidden()
        page_box.uncheck()
        assert not any(box.is_checked() for box in boxes.all())

    @pytest.mark.usefixtures("shop")
    def test_of_all_letters_on_a_page(self, admin_page: Page) -> None:
        admin_page.goto(LETTERS)
        admin_page.get_by_label("all on this page").check()
        boxes = admin_page.locator(".letters").get_by_role("checkbox")
        assert [box.is_checked() for box in boxes.all()] == [True] * 20

    def test_is_right_after_the_visitor_comes_back(self, admin_page: Page) -> None:
        bury(1)
        admin_page.goto(PAGE)
        row_of(admin_page, "orders").get_by_role("checkbox").check()
        row_of(admin_page, "orders").get_by_role("link", name="orders").click()
        expect(admin_page.get_by_role("heading", name="orders", level=1)).to_be_visible()
        admin_page.go_back()
        expect(row_of(admin_page, "orders").get_by_role("checkbox")).to_be_checked()
        expect(admin_page.locator("#selected-count")).to_have_text("selected: 1")


@pytest.mark.usefixtures("shop")
class TestActions:
    def test_on_several_buckets(self, admin_page: Page) -> None:
        admin_page.goto(PAGE)
        row_of(admin_page, FINE[0]).get_by_role("checkbox").focus()
        press(admin_page, "Space")
        pause = admin_page.get_by_role("button", name="Pause…")
        while not pause.evaluate("button => button === document.activeElement"):
            press(admin_page, "Shift+Tab")
        press(admin_page, "Enter")
        answer = admin_page.get_by_role("button", name="Pause 1 bucket")
        expect(answer).to_be_visible()
        answer.focus()
        press(admin_page, "Enter")
        expect(admin_page.locator(".messagelist")).to_have_text("Paused: 1 bucket.")
        assert Bucket(FINE[0]).status().paused is not None

    def test_enter_in_the_search_searches(self, admin_page: Page) -> None:
        admin_page.goto(PAGE)
        admin_page.get_by_label("Search buckets").focus()
        admin_page.keyboard.type("mail")
        press(admin_page, "Enter")
        expect_buckets(admin_page, "mails")

    def test_enter_in_a_checkbox_does_nothing(self, admin_page: Page) -> None:
        """It would send the form, with the first of its buttons."""
        admin_page.goto(PAGE)
        row_of(admin_page, FINE[0]).get_by_role("checkbox").focus()
        press(admin_page, "Enter")
        admin_page.wait_for_timeout(300)
        expect(admin_page).to_have_url(f"{admin_page.url.partition('/admin')[0]}{PAGE}")

    def test_details_open(self, admin_page: Page) -> None:
        admin_page.goto(BUCKET)
        group = admin_page.locator(".group").first
        group.locator("summary").first.focus()
        press(admin_page, "Enter")
        expect(group.get_by_role("table")).to_be_visible()
        press(admin_page, "Tab", "Enter", "Tab")
        expect(group.locator("pre")).to_be_focused()
        press(admin_page, "Tab")
        expect(group.get_by_role("button", name="Copy")).to_be_focused()


class TestCopy:
    @pytest.fixture(autouse=True)
    def _letters(self, shop: None, context: BrowserContext) -> None:
        context.grant_permissions(["clipboard-read", "clipboard-write"])

    def copy_first_error(self, page: Page) -> None:
        open_details(page)
        error = page.locator(".letters > li").first.locator(".copied").nth(1)
        button = error.get_by_role("button")
        expect(button).to_have_text("Copy")
        button.focus()
        press(page, "Enter")
        expect(button).to_have_text("Copied")
        expect(button).to_have_text("Copy")

    def test_writes_into_the_clipboard(self, admin_page: Page) -> None:
        admin_page.goto(LETTERS)
        self.copy_first_error(admin_page)
        assert admin_page.evaluate("navigator.clipboard.readText()") == ERRORS[0]

    def test_works_over_plain_http(
        self, admin_page: Page, context: BrowserContext, live_server: LiveServer
    ) -> None:
        """Browsers have no `navigator.clipboard` there."""
        admin_page.add_init_script(
            "Object.defineProperty(navigator, 'clipboard', {value: undefined})"
        )
        admin_page.goto(LETTERS)
        self.copy_first_error(admin_page)
        other = context.new_page()
        other.goto(f"{live_server.url}/admin/")
        other.bring_to_front()
        assert other.evaluate("navigator.clipboard.readText()") == ERRORS[0]
