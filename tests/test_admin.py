import re
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from io import StringIO
from typing import TYPE_CHECKING

import django
import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import translation
from pytest_django import DjangoAssertNumQueries

from django_jsonbuffer import Bucket
from django_jsonbuffer.admin import Age
from django_jsonbuffer.buckets import register
from django_jsonbuffer.models import Bucket as BucketModel
from tests.server import Redis

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

PAGE = "/admin/django_jsonbuffer/bucket/"
COLUMNS = ("name", "pending", "in flight", "batches", "dead", "bytes", "oldest", "processor")

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "declarations", [])
    monkeypatch.setattr(register, "processors", {})


@pytest.fixture
def staff(django_user_model: type[User]) -> User:
    """A member of staff who may do nothing yet."""
    return django_user_model.objects.create_user("staff", is_staff=True)


@pytest.fixture
def staff_client(client: Client, staff: User) -> Client:
    client.force_login(staff)
    return client


@pytest.fixture
def viewer_client(staff_client: Client, staff: User) -> Client:
    """For one who has the permission `view_bucket` and no other."""
    staff.user_permissions.add(Permission.objects.get(codename="view_bucket"))
    return staff_client


class TableParser(HTMLParser):
    """Reads the rows of the only table in the part of a page that is its content."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._is_in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
            self._is_in_cell = True
        elif tag == "img" and self._is_in_cell:
            self.handle_data(dict(attrs)["alt"] or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self._is_in_cell = False

    def handle_data(self, data: str) -> None:
        if self._is_in_cell:
            self.rows[-1][-1] += data


def content(response: "Response") -> str:
    return response.content.decode().partition('<div id="content-main">')[2].partition("</main>")[0]


def rows(response: "Response") -> dict[str, list[str]]:
    """The cells of each row behind its first, by the text of that one."""
    parser = TableParser()
    parser.feed(content(response))
    _, *cells = [[" ".join(cell.split()) for cell in row] for row in parser.rows]
    return {name: rest for name, *rest in cells}


def row(response: "Response", name: str) -> dict[str, str]:
    return dict(zip(COLUMNS, (name, *rows(response)[name]), strict=True))


class TestModel:
    def test_gets_no_table_even_with_run_syncdb(self) -> None:
        # Which is how the test database was made.
        assert BucketModel._meta.db_table not in connection.introspection.table_names()

    def test_wants_no_migration(self) -> None:
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)

    def test_has_the_permission_to_view_and_no_other(self) -> None:
        permissions = Permission.objects.filter(content_type__app_label="django_jsonbuffer")
        assert [permission.codename for permission in permissions] == ["view_bucket"]

    @pytest.mark.parametrize("use_base_manager", [False, True])
    def test_dumps_as_nothing(self, use_base_manager: bool) -> None:
        dump = StringIO()
        call_command(
            "dumpdata", "django_jsonbuffer", use_base_manager=use_base_manager, stdout=dump
        )
        assert dump.getvalue().strip() == "[]"

    def test_finds_nothing_and_asks_no_database(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_num_queries(0):
            assert not BucketModel.objects.exists()
            assert list(BucketModel._base_manager.all()) == []

    @pytest.mark.django_db(transaction=True)
    def test_is_in_the_way_of_no_flush(self) -> None:
        call_command("flush", interactive=False, verbosity=0)


class TestSite:
    @pytest.mark.parametrize("path", ["/admin/", "/admin/django_jsonbuffer/", "/admin/auth/user/"])
    def test_links_to_the_list(self, viewer_client: Client, staff: User, path: str) -> None:
        staff.user_permissions.add(Permission.objects.get(codename="view_user"))
        page = viewer_client.get(path).content.decode()
        assert f'<a href="{PAGE}"' in page
        assert ">Buckets</a>" in page

    def test_links_to_nothing_without_the_permission(self, staff_client: Client) -> None:
        assert "bucket" not in staff_client.get("/admin/").content.decode().lower()

    def test_offers_only_to_view(self, admin_client: Client) -> None:
        response = admin_client.get("/admin/django_jsonbuffer/")
        [model] = response.context["app_list"][0]["models"]
        assert [name for name, is_granted in model["perms"].items() if is_granted] == ["view"]

    @pytest.mark.parametrize("page", ["add/", "orders/", "orders/change/", "orders/delete/"])
    def test_has_no_page_that_would_ask_for_a_table(self, admin_client: Client, page: str) -> None:
        assert admin_client.get(PAGE + page).status_code == 404

    @pytest.mark.usefixtures("unreachable")
    @pytest.mark.parametrize("path", ["/admin/", "/admin/django_jsonbuffer/", "/admin/auth/user/"])
    def test_needs_no_redis_elsewhere(self, admin_client: Client, path: str) -> None:
        assert admin_client.get(path).status_code == 200

    def test_links_within_itself_when_there_are_several(self, admin_client: Client) -> None:
        response = admin_client.get("/second/django_jsonbuffer/bucket/")
        assert response.wsgi_request.current_app == "second"
        page = response.content.decode()
        assert 'href="/second/django_jsonbuffer/"' in page
        assert 'href="/second/django_jsonbuffer/bucket/"' in page
        assert "/admin/django_jsonbuffer/" not in page


class TestAccess:
    def test_anonymous_visitor_is_sent_to_the_login(self, client: Client) -> None:
        response = client.get(PAGE)
        assert response.status_code == 302
        assert response["Location"] == f"/admin/login/?next={PAGE}"

    def test_staff_without_the_permission_is_refused(self, staff_client: Client) -> None:
        assert staff_client.get(PAGE).status_code == 403

    def test_the_permission_to_view_is_enough(self, viewer_client: Client) -> None:
        assert viewer_client.get(PAGE).status_code == 200

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    def test_only_reading_is_allowed(self, admin_client: Client, method: str) -> None:
        response = getattr(admin_client, method)(PAGE)
        assert response.status_code == 405
        assert response["Allow"] == "GET, HEAD"

    def test_head_is_answered(self, admin_client: Client) -> None:
        response = admin_client.head(PAGE)
        assert response.status_code == 200
        assert response.content == b""

    def test_answer_is_not_cached(self, admin_client: Client) -> None:
        assert "no-store" in admin_client.get(PAGE)["Cache-Control"]


class TestList:
    def test_says_what_to_do_when_there_is_no_bucket(self, admin_client: Client) -> None:
        text = content(admin_client.get(PAGE))
        assert "No bucket has been declared or appended to." in text
        assert "<table" not in text

    def test_shows_the_figures_of_each_bucket(self, admin_client: Client) -> None:
        Bucket("orders", batch_size=2).extend(["first", "second", "third"])
        Bucket("clicks").append(1)
        response = admin_client.get(PAGE)
        assert list(rows(response)) == ["clicks", "orders", "Total"]
        shown = row(response, "orders")
        assert re.fullmatch(r"\d+ seconds?", shown.pop("oldest"))
        assert shown == {
            "name": "orders",
            "pending": "3",
            "in flight": "0",
            "batches": "2",
            "dead": "0",
            "bytes": "27 bytes",
            "processor": "no processor",
        }

    def test_shows_what_is_in_flight(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.extend([1, 2, 3])
        seen = []
        orders.processor(lambda batch: seen.append(row(admin_client.get(PAGE), "orders")))
        orders.drain()
        assert [(was["pending"], was["in flight"], was["oldest"]) for was in seen] == [
            ("0", "3", "nothing pending")
        ]

    def test_shows_dead_letters(self, admin_client: Client, client_of_server: Redis) -> None:
        orders = Bucket("orders")
        client_of_server.set(orders.key, "no JSON")
        orders.append(1)
        assert row(admin_client.get(PAGE), "orders")["dead"] == "1"

    def test_shows_a_declared_bucket_that_was_never_appended_to(self, admin_client: Client) -> None:
        Bucket("orders").processor(print)
        shown = row(admin_client.get(PAGE), "orders")
        assert (shown["pending"], shown["oldest"]) == ("0", "nothing pending")

    def test_says_whether_there_is_a_processor(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"seed": {"batch_size": None}})
        Bucket("orders").processor(print)
        for name in ("forgotten", "orders", "seed"):
            Bucket(name).append(1)
        response = admin_client.get(PAGE)
        assert {name: row(response, name)["processor"] for name in rows(response)} == {
            "forgotten": "no processor",
            "orders": "declared",
            "seed": "another client",
            "Total": "",
        }

    def test_shows_a_bucket_whose_options_are_unusable(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        Bucket("orders").append(1)
        configure(BUCKETS={"orders": {"batch_size": 0}})
        assert row(admin_client.get(PAGE), "orders")["pending"] == "1"

    def test_groups_digits_as_the_language_does(self, admin_client: Client) -> None:
        Bucket("clicks").extend([1] * 1234)
        assert row(admin_client.get(PAGE), "clicks")["pending"] == "1,234"
        with translation.override("de"):
            assert row(admin_client.get(PAGE), "clicks")["pending"] == "1.234"

    def test_adds_up_several_buckets(self, admin_client: Client) -> None:
        Bucket("orders").extend([1, 2])
        Bucket("clicks").extend([3, 4, 5])
        shown = row(admin_client.get(PAGE), "Total")
        assert (shown["pending"], shown["batches"], shown["bytes"]) == ("5", "2", "12 bytes")

    def test_does_not_add_up_a_single_bucket(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        assert list(rows(admin_client.get(PAGE))) == ["orders"]

    def test_shows_what_is_wrong_with_a_broken_bucket_beside_the_others(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        for name in ("broken", "orders", "views"):
            Bucket(name).append(1)
        client_of_server.delete(Bucket("broken").key)
        client_of_server.lpush(Bucket("broken").key, "foreign")
        response = admin_client.get(PAGE)
        assert response.status_code == 200
        message, _ = rows(response)["broken"]
        assert "holds a value of another type" in message
        assert row(response, "orders")["pending"] == "1"
        assert row(response, "Total of those that can be read")["pending"] == "2"

    def test_shows_no_name_that_no_bucket_can_have(
        self, admin_client: Client, client_of_server: Redis, prefix: str
    ) -> None:
        client_of_server.sadd(f"{prefix}:buckets", "<script>alert(1)</script>", b"\xff", "orders")
        response = admin_client.get(PAGE)
        assert list(rows(response)) == ["orders"]

    def test_has_headings_for_each_column_and_row(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        text = content(admin_client.get(PAGE))
        assert text.count('<th scope="col"') == len(COLUMNS)
        assert '<th scope="row">orders</th>' in text

    def test_has_no_inline_script_or_style(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        page = admin_client.get(PAGE).content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)

    def test_breadcrumbs_are_those_of_the_django_in_use(self, admin_client: Client) -> None:
        page = admin_client.get(PAGE).content.decode()
        tag = "ol" if django.VERSION >= (6, 1) else "div"
        crumbs = page.partition(f'<{tag} class="breadcrumbs">')[2].partition(f"</{tag}>")[0]
        assert re.findall(r'href="([^"]+)"', crumbs) == ["/admin/", "/admin/django_jsonbuffer/"]
        text = re.sub(r"<[^>]+>", "", crumbs).replace("&rsaquo;", "").split()
        assert text == ["Home", "JSON", "buffer", "Buckets"]

    def test_asks_the_database_for_session_and_user_only(
        self, admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        Bucket("orders").append(1)
        with django_assert_num_queries(2):
            admin_client.get(PAGE)

    def test_takes_two_round_trips_however_many_buckets_there_are(
        self, admin_client: Client, private_server: Redis
    ) -> None:
        # Few enough for redis-py to send their commands in one piece.
        for number in range(10):
            Bucket(f"bucket-{number}").append(1)
        admin_client.get(PAGE)

        before = private_server.info()["total_reads_processed"]
        assert len(rows(admin_client.get(PAGE))) == 10 + len(["Total"])
        after = private_server.info()["total_reads_processed"]
        assert after - before - len(["INFO"]) == 2


class TestUnavailable:
    @pytest.mark.usefixtures("unreachable")
    def test_redis_that_is_away_is_said_with_status_503(self, admin_client: Client) -> None:
        response = admin_client.get(PAGE)
        assert response.status_code == 503
        page = response.content.decode()
        assert "<h1>The buckets cannot be read</h1>" in page
        assert "Redis cannot be reached" in page
        assert "See whether Redis is running" in page
        assert f'<a href="{PAGE}">Try again</a>' in page

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
    def test_staff_without_the_permission_is_told_nothing(self, staff_client: Client) -> None:
        assert staff_client.get(PAGE).status_code == 403


class TestAge:
    @pytest.mark.parametrize(
        ("duration", "words"),
        [
            (timedelta(0), "0 seconds"),
            (timedelta(seconds=1.9), "1 second"),
            (timedelta(seconds=59.9), "59 seconds"),
            (timedelta(seconds=60), "1 minute"),
            (timedelta(hours=2, minutes=5, seconds=30), "2 hours, 5 minutes"),
            (timedelta(days=3, seconds=1), "3 days"),
        ],
    )
    def test_is_told_in_words(self, duration: timedelta, words: str) -> None:
        assert Age.of(duration).words.replace("\xa0", " ") == words

    def test_is_told_in_words_even_when_no_date_lies_so_far_back(self) -> None:
        assert Age.of(timedelta.max).words.startswith("999\xa0years")

    def test_is_told_in_exact_seconds_too(self) -> None:
        age = Age.of(timedelta(hours=1, milliseconds=5))
        assert (age.exact, age.attribute) == ("3,600.005 seconds", "PT3600.005S")

    def test_attribute_is_the_same_in_every_language(self) -> None:
        with translation.override("de"):
            assert Age.of(timedelta(milliseconds=1500)).attribute == "PT1.500S"
