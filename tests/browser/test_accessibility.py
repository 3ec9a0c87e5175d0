"""axe-core finds no violation in the pages, in both themes and on a narrow screen."""

from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from django_jsonbuffer import Bucket
from tests.browser.conftest import BUCKET, LETTERS, PAGE, WORKERS
from tests.browser.shop import WORKER, open_details
from tests.prepared import bury, make_old, put_history, store_of
from tests.server import Redis

pytestmark = pytest.mark.django_db(transaction=True)

STANDARDS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture
def _buckets_of_all_states(client_of_server: Redis) -> None:
    bury(*({"n": n, "tags": ["a"]} for n in range(5)), reason="no price")
    orders = bury(*range(25), reason=ValueError("no good"))
    orders.processor(lambda batch: 1 / 0)
    orders.extend({"n": n} for n in range(5))
    orders.drain()
    Bucket("held").extend({"n": n} for n in range(5))
    store_of("held").claim(WORKER, lease=timedelta(minutes=1), linger=timedelta(0), beats=True)
    for name in ("orders", "held"):
        store_of(name).beat("host:1:a", lease=timedelta(minutes=1))
    put_history(client_of_server, "orders", pending=[1, 7, 3])
    for name in ("stalled", "paused", "broken"):
        Bucket(name).append(1)
    make_old(client_of_server, "stalled")
    Bucket("paused").pause()
    Bucket("empty").processor(print)
    client_of_server.delete(Bucket("broken").key)
    client_of_server.lpush(Bucket("broken").key, "theirs")


def violations(page: Page) -> list[str]:
    """Violations in the content of the page. The frame around it is Django's."""
    # run() evaluates axe-core. As a script of the page, the Content-Security-Policy would block it.
    results = Axe().run(page, context="#content-main", options=STANDARDS)
    assert results.response["passes"]
    return [
        f"{found['id']}: {found['help']} {[node['html'][:200] for node in found['nodes']]}"
        for found in results.response["violations"]
    ]


@pytest.mark.usefixtures("_buckets_of_all_states")
@pytest.mark.parametrize("width", [1440, 400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_have_no_violation(admin_page: Page, theme: str, width: int) -> None:
    admin_page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    admin_page.set_viewport_size({"width": width, "height": 900})
    for path in (PAGE, f"{PAGE}?q=nothing", BUCKET, LETTERS, WORKERS):
        admin_page.goto(path)
        assert violations(admin_page) == []
        if admin_page.locator("#content-main summary").count():
            open_details(admin_page)
            assert violations(admin_page) == []


@pytest.mark.usefixtures("_buckets_of_all_states")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_questions_have_no_violation(admin_page: Page, theme: str) -> None:
    admin_page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    admin_page.goto(BUCKET)
    admin_page.get_by_role("button", name="Purge…").click()
    expect(admin_page.get_by_role("heading", name="Purge orders?")).to_be_visible()
    assert violations(admin_page) == []
    admin_page.goto(PAGE)
    admin_page.locator("#select-across").check()
    assert violations(admin_page) == []
    admin_page.get_by_role("button", name="Replay…").click()
    expect(admin_page.get_by_role("heading", name="Replay the dead letters of")).to_be_visible()
    assert violations(admin_page) == []
    admin_page.get_by_role("button", name="Replay the dead letters of").click()
    expect(admin_page.locator(".messagelist")).to_contain_text("Replayed")


@pytest.mark.usefixtures("unreachable")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_without_redis_has_no_violation(
    admin_page: Page, theme: str, complaints: list[str]
) -> None:
    admin_page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    admin_page.goto(PAGE)
    assert violations(admin_page) == []
    complaints.clear()  # the browser reports the status 503


def test_list_without_buckets_has_no_violation(admin_page: Page) -> None:
    admin_page.goto(PAGE)
    expect(admin_page.get_by_text("No bucket has been declared")).to_be_visible()
    assert violations(admin_page) == []


def test_violation_is_found(admin_page: Page) -> None:
    admin_page.goto(PAGE)
    admin_page.locator("#searchbar").evaluate("field => field.labels[0].remove()")
    assert [each.partition(":")[0] for each in violations(admin_page)] == ["label"]


def test_no_colour_is_the_only_sign(admin_page: Page, client_of_server: Redis) -> None:
    """The lines of a chart differ in their dashes, and states in their words."""
    put_history(client_of_server, "orders", pending=[1, 7, 3])
    admin_page.goto(BUCKET)
    dashes = {
        name: admin_page.locator(f".charts .line.{name}").first.evaluate(
            "line => getComputedStyle(line).strokeDasharray"
        )
        for name in ("appended", "processed")
    }
    assert dashes["appended"] == "none"
    assert dashes["processed"] != "none"
