import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import translation
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending.spill import Spill
from tests.admin.pages import BUCKET, BULK, LETTERS, PAGE, WORKERS, content, crumbs, part, plain
from tests.prepared import bury, put_history, release_failed
from tests.server import Redis
from tests.spilling import put

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


@pytest.fixture
def pages(admin_client: Client, client_of_server: Redis) -> Callable[[], Iterator[Any]]:
    """Answers with each page, with something in each of its parts."""

    def read() -> Iterator[Any]:
        orders = bury({"n": 1}, reason=ValueError("no total"))
        put_history(client_of_server, "orders", pending=[5, 40, 10])
        admin_client.post(f"{PAGE}orders/pause/")
        admin_client.post(f"{PAGE}orders/resume/")
        orders.append({"n": 2})
        release_failed("orders", error="KeyError", backoff=timedelta(seconds=50))
        orders.append({"n": 3})
        for path in (PAGE, BUCKET, LETTERS, WORKERS):
            yield admin_client.get(path)
        for action in ("replay", "discard", "purge"):
            sent = {"all": "1", "newest": orders.dead.newest()}
            yield admin_client.post(f"{PAGE}orders/{action}/", sent)
        yield admin_client.post(BULK, {"action": "purge", "across": "1"})

    return read


class TestPages:
    def test_have_no_inline_script_or_style(
        self, pages: Callable[[], Iterator[Any]], admin_client: Client
    ) -> None:
        """Many sites forbid them by their Content Security Policy."""
        found = [response.content.decode() for response in pages()]
        assert len(found) == 8
        for page in found:
            assert "</html>" in page
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
            assert "javascript:" not in page

    def test_have_their_style_and_script(self, pages: Callable[[], Iterator[Any]]) -> None:
        for response in pages():
            page = response.content.decode()
            assert 'href="/static/django_jsonbuffer/css/buckets.css"' in page
            assert 'src="/static/django_jsonbuffer/js/buckets.js" defer' in page

    def test_have_a_link_that_skips_to_the_content(
        self, pages: Callable[[], Iterator[Any]]
    ) -> None:
        """It leads to an element that can have the focus."""
        seen = set()
        for response in pages():
            page = response.content.decode()
            pattern = r'<a href="#([\w-]+)" class="skip-to-content-link">(.*?)</a>'
            [(target, text)] = [each for each in re.findall(pattern, page) if "main" not in each[1]]
            [tag] = re.findall(rf'<[a-z]+[^>]*\sid="{target}"[^>]*>', page)
            assert 'tabindex="-1"' in tag
            seen.add(text)
        assert seen == {
            "Skip to the buckets",
            "Skip to the bucket",
            "Skip to the dead letters",
            "Skip to the workers",
            "Skip to the question",
        }

    def test_have_no_id_twice(self, pages: Callable[[], Iterator[Any]]) -> None:
        for response in pages():
            ids = re.findall(r'\sid="([^"]*)"', response.content.decode())
            assert len(ids) == len({*ids})

    def test_refer_to_ids_that_there_are(self, pages: Callable[[], Iterator[Any]]) -> None:
        """In links, labels and descriptions."""
        for response in pages():
            page = content(response)
            ids = {*re.findall(r'\sid="([^"]*)"', page)}
            pattern = r'(?:aria-labelledby|aria-describedby|\sfor|href)="#?([\w-]+)"'
            assert {*re.findall(pattern, page)} <= ids

    def test_are_in_any_language(self, pages: Callable[[], Iterator[Any]]) -> None:
        for language in ("de", "ar"):
            with translation.override(language):
                assert {response.status_code for response in pages()} == {200}

    def test_have_breadcrumbs_of_the_django_in_use(self, admin_client: Client) -> None:
        bury(1)
        links = ["/admin/", "/admin/django_jsonbuffer/", PAGE, BUCKET]
        for path, count, text in (
            (PAGE, 2, "Home JSON buffer Buckets"),
            (BUCKET, 3, "Home JSON buffer Buckets orders"),
            (LETTERS, 4, "Home JSON buffer Buckets orders Dead letters"),
            (WORKERS, 3, "Home JSON buffer Buckets Workers"),
        ):
            page = admin_client.get(path).content.decode()
            assert crumbs(page) == (links[:count], text)


class TestTimes:
    @pytest.mark.parametrize("use_tz", [True, False])
    @pytest.mark.parametrize(
        ("zone", "name"), [("Asia/Tokyo", "JST"), ("UTC", "UTC"), ("Asia/Dubai", r"UTC\+04")]
    )
    def test_have_a_zone(
        self, admin_client: Client, settings: Settings, use_tz: bool, zone: str, name: str
    ) -> None:
        settings.USE_TZ = use_tz
        settings.TIME_ZONE = zone
        bury(1)
        admin_client.post(f"{PAGE}orders/pause/")
        response = admin_client.get(BUCKET)
        time = rf"\d+(:\d+)? [ap]\.m\. {name}|noon {name}|midnight {name}"
        moment = rf"\w+\.? \d+, \d{{4}}, ({time})"
        assert re.search(rf"since {moment}, last {moment}", part(response, "bucket-dead"))
        assert re.search(rf"{moment}, admin: Paused", plain(part(response, "log")))
        letters = content(admin_client.get(LETTERS))
        assert len(re.findall(rf"<dd>{moment}</dd>", letters)) == 2
        for path in (PAGE, BUCKET, WORKERS):
            assert re.search(rf"As of \d\d:\d\d:\d\d {name}", content(admin_client.get(path)))

    def test_of_the_log_are_those_of_the_entry(
        self, admin_client: Client, settings: Settings
    ) -> None:
        """Also if the database has no time zones."""
        settings.USE_TZ = False
        settings.TIME_ZONE = "Asia/Tokyo"
        bury(1)
        admin_client.post(f"{PAGE}orders/pause/")
        [entry] = LogEntry.objects.all()
        entry.action_time = entry.action_time.replace(2026, 11, 30, 22, 15)
        entry.save()
        log = plain(part(admin_client.get(BUCKET), "log"))
        assert "Nov. 30, 2026, 10:15 p.m. JST, admin: Paused" in log


class TestUnavailable:
    @pytest.mark.usefixtures("unreachable")
    def test_redis_that_is_away_is_said_with_status_503(self, admin_client: Client) -> None:
        response = admin_client.get(PAGE)
        assert response.status_code == 503
        page = response.content.decode()
        assert "<h1>The buckets cannot be read</h1>" in page
        assert "Redis cannot be reached" in page
        assert "Check that Redis is running" in page
        assert f'<a href="{PAGE}">Try again</a>' in page
        assert '<a href="#content-main" class="skip-to-content-link">' in page

    def test_redis_that_is_away_says_what_is_spilled(
        self, admin_client: Client, spilling: Spill, use_cache: Callable[..., str]
    ) -> None:
        Bucket("orders").processor(print)
        put(spilling, b"1", bucket=Bucket("orders").key)
        use_cache(f"unix://{spilling.path.parent}/nobody.sock?db=0")
        response = admin_client.get(PAGE)
        assert response.status_code == 503
        page = response.content.decode().replace("\xa0", " ")
        assert "orders: 1 append (5 bytes) is spilled on this machine and waits for Redis." in page

    def test_unusable_settings_are_said_with_status_503(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(CACHE="missing")
        response = admin_client.get(PAGE)
        assert response.status_code == 503
        assert "Correct the settings" in content(response)

    def test_message_is_escaped(self, admin_client: Client, configure: Callable[..., None]) -> None:
        configure(CACHE="<b>bold</b>")
        text = content(admin_client.get(PAGE))
        assert "&lt;b&gt;bold&lt;/b&gt;" in text
        assert "<b>" not in text

    @pytest.mark.usefixtures("unreachable")
    def test_staff_without_the_permission_sees_no_error(self, staff_client: Client) -> None:
        assert staff_client.get(PAGE).status_code == 403
