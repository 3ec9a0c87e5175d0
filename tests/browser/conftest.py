"""A real browser in front of the admin, under a strict ``Content-Security-Policy``."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from tests.browser.shop import open_shop
from tests.server import Redis

PAGE = "/admin/django_jsonbuffer/bucket/"
BUCKET = f"{PAGE}orders/change/"
LETTERS = f"{PAGE}orders/dead-letters/"
WORKERS = f"{PAGE}workers/"
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

# Playwright runs an event loop in the thread of the tests, which Django takes for async code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


def strict_content(get_response: Callable[[HttpRequest], HttpResponse]) -> object:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return middleware


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The Chromium of the distribution, or the one that the environment names."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "Install Chromium (apt-get install chromium), or name it in CHROMIUM."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _strict(settings: Settings, nothing_declared: None, unhurried: None) -> None:
    settings.MIDDLEWARE = [f"{__name__}.strict_content", *settings.MIDDLEWARE]


@pytest.fixture
def context(browser: Browser, live_server: LiveServer) -> Iterator[BrowserContext]:
    context = browser.new_context(
        base_url=live_server.url, viewport={"width": 1440, "height": 900}, reduced_motion="reduce"
    )
    context.set_default_timeout(20_000)
    _give_icon(context)
    yield context
    context.close()


@pytest.fixture
def shop(client_of_server: Redis) -> None:
    """A shop in which much is wrong."""
    open_shop(client_of_server)


@pytest.fixture
def complaints() -> list[str]:
    """Errors that the browser reports. A test that expects errors removes them from the list."""
    return []


@pytest.fixture
def page(context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    """The page of a visitor who has not logged in."""
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    yield page
    page.close()
    assert complaints == []


@pytest.fixture
def log_in_with(page: Page, live_server: LiveServer) -> Callable[..., User]:
    """Logs a member of staff in, with these permissions and no others."""

    def log_in_with(*codenames: str) -> User:
        user, _ = User.objects.get_or_create(username="staff", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        _enter(page, live_server.url, user)
        return user

    return log_in_with


@pytest.fixture
def admin_page(page: Page, live_server: LiveServer, admin_user: User) -> Page:
    """The page of a visitor who has all permissions."""
    _enter(page, live_server.url, admin_user)
    return page


@pytest.fixture
def page_without_script(
    browser: Browser, live_server: LiveServer, admin_user: User
) -> Iterator[Page]:
    """The page of a visitor who has all permissions, and a browser without JavaScript."""
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    _give_icon(context)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    _enter(page, live_server.url, admin_user)
    yield page
    context.close()
    assert complaints == []


def _give_icon(context: BrowserContext) -> None:
    """Every browser asks for an icon, and this site does not have one."""
    context.route("**/favicon.ico", lambda route: route.fulfill(status=204))


def _enter(page: Page, url: str, user: User) -> None:
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])
