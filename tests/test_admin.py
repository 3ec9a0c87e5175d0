import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime, timedelta
from functools import partial
from html.parser import HTMLParser
from io import StringIO
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import django
import pytest
import redis
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import date_format
from pytest_django import DjangoAssertNumQueries, Settings
from redis.client import Pipeline

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.admin import actions
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.middleware import actor
from django_jsonbuffer.models import Bucket as BucketModel
from django_jsonbuffer.options import Options
from tests.server import Redis

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

PAGE = "/admin/django_jsonbuffer/bucket/"
COLUMNS = (
    *("name", "state", "history", "pending", "oldest", "in", "out", "dead", "in flight"),
    *("batches", "bytes", "workers"),
)

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


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
    return response.content.decode().partition('<div id="content-main"')[2].partition("</main>")[0]


def in_german(get_response: Callable[[HttpRequest], HttpResponse]) -> object:
    """Middleware."""

    def middleware(request: HttpRequest) -> HttpResponse:
        with translation.override("de"), timezone.override("Asia/Tokyo"):
            return get_response(request)

    return middleware


def crumbs(page: str) -> tuple[list[str], str]:
    """The links of the breadcrumbs, and their text."""
    tag = "ol" if django.VERSION >= (6, 1) else "div"
    found = page.partition(f'<{tag} class="breadcrumbs">')[2].partition(f"</{tag}>")[0]
    text = re.sub(r"<[^>]+>", "", found).replace("&rsaquo;", "")
    return re.findall(r'href="([^"]+)"', found), " ".join(text.split())


def make_old(plain: Redis, name: str, *, seconds: int = 3600) -> None:
    """As if the open batch had been opened so long ago."""
    opened = int(time.time() * 1000) - seconds * 1000
    plain.hset(Bucket(name).wiring.store.keys.stats, "opened", opened)


def put_history(plain: Redis, name: str, *, pending: list[int]) -> None:
    """A sample a minute, the last of them half a minute ago."""
    now = int(time.time() * 1000)
    samples = [
        f"{now - 30_000 - 60_000 * ago} {number} 0 {1000 - 10 * ago} {900 - 5 * ago}"
        for ago, number in enumerate(reversed(pending))
    ]
    keys = Bucket(name).wiring.store.keys
    plain.rpush(keys.history, *reversed(samples))
    plain.hset(keys.stats, mapping={"appended": 1010, "processed": 905})
    plain.sadd(f"{configuration().prefix}:buckets", name)


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each command, or pipeline of commands, that the client waits for."""
    made: list[str] = []
    command, pipeline = redis.Redis.execute_command, Pipeline.execute

    def counted_command(self: Any, *args: Any, **options: Any) -> Any:
        made.append(args[0])
        return command(self, *args, **options)

    def counted_pipeline(self: Any, *args: Any, **options: Any) -> Any:
        made.append("pipeline")
        return pipeline(self, *args, **options)

    monkeypatch.setattr(redis.Redis, "execute_command", counted_command)
    monkeypatch.setattr(Pipeline, "execute", counted_pipeline)
    return made


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

    def test_has_a_permission_for_each_kind_of_thing_to_do(self) -> None:
        permissions = Permission.objects.filter(content_type__app_label="django_jsonbuffer")
        assert {permission.codename for permission in permissions} == {
            *("view_bucket", "view_events", "drain_bucket", "change_bucket", "delete_events")
        }

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

    def test_offers_to_add_and_to_delete_nothing(self, admin_client: Client) -> None:
        response = admin_client.get("/admin/django_jsonbuffer/")
        [model] = response.context["app_list"][0]["models"]
        granted = {name for name, is_granted in model["perms"].items() if is_granted}
        assert granted == {"view", "change"}

    @pytest.mark.parametrize("page", ["add/", "orders/", "orders/delete/", "orders/history/"])
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
        assert "0 buckets" in text

    def test_shows_the_figures_of_each_bucket(self, admin_client: Client) -> None:
        Bucket("orders", batch_size=2).extend(["first", "second", "third"])
        Bucket("clicks").append(1)
        response = admin_client.get(PAGE)
        assert list(rows(response)) == ["clicks", "orders", "Total"]
        shown = row(response, "orders")
        assert re.fullmatch(r"\d+ seconds?", shown.pop("oldest"))
        assert shown == {
            "name": "orders",
            "state": "flowing no processor",
            "history": "no history",
            "pending": "3",
            "in": "–",
            "out": "–",
            "dead": "0",
            "in flight": "0",
            "batches": "2 1 open, 1 sealed, 0 in flight",
            "bytes": "27 bytes",
            "workers": "0",
        }

    def test_shows_what_is_in_flight(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.extend([1, 2, 3])
        seen = []
        orders.processor(lambda batch: seen.append(row(admin_client.get(PAGE), "orders")))
        orders.drain()
        assert [(was["pending"], was["in flight"], was["oldest"]) for was in seen] == [
            ("0", "3", "none")
        ]
        assert [was["workers"] for was in seen] == ["1"]

    def test_shows_dead_letters(self, admin_client: Client, client_of_server: Redis) -> None:
        orders = Bucket("orders")
        client_of_server.set(orders.key, "no JSON")
        orders.append(1)
        shown = row(admin_client.get(PAGE), "orders")
        assert shown["dead"] == "1"
        assert shown["state"].endswith("1 dead letter waits for a decision.")

    def test_shows_a_declared_bucket_that_was_never_appended_to(self, admin_client: Client) -> None:
        Bucket("orders").processor(print)
        shown = row(admin_client.get(PAGE), "orders")
        assert (shown["state"], shown["pending"], shown["oldest"]) == ("empty", "0", "none")

    def test_says_who_is_to_drain_it(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"seed": {"batch_size": None}})
        Bucket("orders").processor(print)
        for name in ("forgotten", "orders", "seed"):
            Bucket(name).append(1)
        response = admin_client.get(PAGE)
        assert {name: row(response, name)["state"] for name in rows(response)} == {
            "forgotten": "flowing no processor",
            "orders": "flowing",
            "seed": "flowing for other clients",
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
        assert (shown["pending"], shown["bytes"]) == ("5", "12 bytes")
        assert shown["batches"] == "2 2 open, 0 sealed, 0 in flight"

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
        _state, message = rows(response)["broken"]
        assert "holds a value of another type" in message
        assert row(response, "orders")["pending"] == "1"
        assert row(response, "Total of those that can be read")["pending"] == "2"

    def test_shows_no_name_that_no_bucket_can_have(
        self, admin_client: Client, client_of_server: Redis, prefix: str
    ) -> None:
        client_of_server.sadd(f"{prefix}:buckets", "<script>alert(1)</script>", b"\xff", "orders")
        response = admin_client.get(PAGE)
        assert list(rows(response)) == ["orders"]

    def test_shows_the_history_as_a_chart_that_is_told_in_words(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        put_history(client_of_server, "orders", pending=[5, 40, 10])
        page = content(admin_client.get(PAGE))
        assert 'aria-label="Pending over the last 4 hours: at most 40, at the end 0."' in page
        assert re.search(r'<polyline class="line pending" points="[0-9., ]+"/>', page)

    def test_has_headings_for_each_column_and_row(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        text = content(admin_client.get(PAGE))
        assert text.count('<th scope="col"') == len(COLUMNS)
        assert f'<th scope="row"><a href="{PAGE}orders/change/">orders</a></th>' in text

    @pytest.mark.parametrize("path", [PAGE, f"{PAGE}orders/change/"])
    def test_has_no_inline_script_or_style(self, admin_client: Client, path: str) -> None:
        Bucket("orders").append(1)
        page = admin_client.get(path).content.decode()
        assert "orders" in page
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)

    def test_breadcrumbs_are_those_of_the_django_in_use(self, admin_client: Client) -> None:
        page = admin_client.get(PAGE).content.decode()
        assert crumbs(page) == (
            ["/admin/", "/admin/django_jsonbuffer/"],
            "Home JSON buffer Buckets",
        )

    def test_asks_the_database_for_session_and_user_only(
        self, admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        Bucket("orders").append(1)
        with django_assert_num_queries(2):
            admin_client.get(PAGE)

    def test_with_a_thousand_buckets_takes_three_round_trips_and_no_query_more(
        self,
        admin_client: Client,
        private_server: Redis,
        round_trips: list[str],
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        for number in range(1000):
            private_server.sadd(f"{configuration().prefix}:buckets", f"bucket-{number:03}")
        Bucket("bucket-999").extend([1, 2, 3])
        admin_client.get(PAGE)  # which loads the script
        for query in ({}, {"sort": "-pending"}, {"p": "10"}, {"q": "99"}, {"state": "flowing"}):
            round_trips.clear()
            with django_assert_num_queries(2):
                response = admin_client.get(PAGE, query)
            assert round_trips == ["SMEMBERS", "pipeline", "pipeline"]
        assert row(response, "bucket-999")["pending"] == "3"
        asked = private_server.info("commandstats")
        assert "cmdstat_keys" not in asked
        assert "cmdstat_scan" not in asked

    def test_shows_a_hundred_buckets_a_page(self, admin_client: Client) -> None:
        for number in range(101):
            Bucket(f"bucket-{number:03}").processor(print)
        first, second = admin_client.get(PAGE), admin_client.get(PAGE, {"p": "2"})
        assert len(rows(first)) == 100 + len(["Total"])
        assert list(rows(second)) == ["bucket-100", "Total"]
        assert "101 buckets" in content(first)
        assert '<a href="?p=2">2</a>' in content(first)
        assert '<span aria-current="page">2</span>' in content(second)
        assert list(rows(admin_client.get(PAGE, {"p": "77"}))) == ["bucket-100", "Total"]

    def test_finds_by_a_part_of_the_name(self, admin_client: Client) -> None:
        for name in ("orders", "order-lines", "views"):
            Bucket(name).append(1)
        found = admin_client.get(PAGE, {"q": " ORDER "})
        assert list(rows(found)) == ["order-lines", "orders", "Total"]
        assert 'name="q" value="ORDER"' in content(found)
        nothing = content(admin_client.get(PAGE, {"q": "nobody"}))
        assert "No bucket is like that." in nothing
        assert '<a href="?">Show all</a>' in nothing

    def test_filters_by_state(self, admin_client: Client) -> None:
        for name in ("orders", "mails", "views"):
            Bucket(name).append(1)
        Bucket("mails").pause()
        assert list(rows(admin_client.get(PAGE, {"state": "paused"}))) == ["mails"]
        links = re.findall(
            r'<a href="([^"]*state=[^"]*)"[^>]*>.*?</span> (\d+)</a>',
            content(admin_client.get(PAGE)),
        )
        assert links == [("?state=paused", "1"), ("?state=flowing", "2")]

    def test_has_the_most_urgent_on_top(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        Bucket("a-empty").processor(print)
        Bucket("b-flowing").append(1)
        Bucket("c-paused").append(1)
        Bucket("c-paused").pause()
        Bucket("d-stalled").append(1)
        make_old(client_of_server, "d-stalled")
        shown = rows(admin_client.get(PAGE))
        assert list(shown) == ["d-stalled", "c-paused", "b-flowing", "a-empty", "Total"]

    def test_sorts_by_any_column(self, admin_client: Client) -> None:
        Bucket("few").append(1)
        Bucket("many").extend(range(100))
        Bucket("none").processor(print)
        page = content(admin_client.get(PAGE))
        links = [
            link.replace("&amp;", "&")
            for link in re.findall(r'<th scope="col"[^>]*><a href="([^"]*)"', page)
        ]
        assert len(links) == len(COLUMNS) - len(["history"])
        for link in links:
            assert admin_client.get(PAGE + link).status_code == 200
        names = ["few", "many", "none"]
        assert list(rows(admin_client.get(PAGE, {"sort": "name"})))[:3] == names
        assert list(rows(admin_client.get(PAGE, {"sort": "-name"})))[:3] == names[::-1]
        by_pending = admin_client.get(PAGE, {"sort": "-pending"})
        assert list(rows(by_pending))[:3] == ["many", "few", "none"]
        assert 'class="numeric" aria-sort="descending"><a href="?sort=pending">Pending' in content(
            by_pending
        )
        assert list(rows(admin_client.get(PAGE, {"sort": "pending"})))[:3] == [
            "none",
            "few",
            "many",
        ]

    @pytest.mark.parametrize("sort", ["oldest", "-oldest", "in", "-in"])
    def test_has_what_is_not_known_at_the_end(self, admin_client: Client, sort: str) -> None:
        Bucket("known").append(1)
        Bucket("a-unknown").processor(print)
        Bucket("known").wiring.store.beat("worker")
        assert list(rows(admin_client.get(PAGE, {"sort": sort})))[-2:] in (
            ["a-unknown", "Total"],
            ["known", "Total"],
        )

    def test_keeps_search_and_state_when_sorted(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        page = content(admin_client.get(PAGE, {"q": "o", "state": "flowing", "sort": "bytes"}))
        assert 'href="?q=o&amp;state=flowing&amp;sort=-pending"' in page
        assert '<input type="hidden" name="state" value="flowing">' in page
        assert '<input type="hidden" name="sort" value="bytes">' in page


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


BUCKET = f"{PAGE}orders/change/"
CODENAMES = ("view_bucket", "view_events", "drain_bucket", "change_bucket", "delete_events")


@pytest.fixture
def grant(staff: User) -> Callable[..., None]:
    """Gives the member of staff these permissions, and no others."""

    def grant(*codenames: str) -> None:
        staff.user_permissions.set(Permission.objects.filter(codename__in=codenames))

    return grant


def bury(*events: Any, reason: str | BaseException = "no good") -> Bucket:
    orders = Bucket("orders")
    orders.extend(events)

    def refuse(batch: Batch) -> None:
        for event in batch:
            batch.reject(event, reason)

    orders.processor(refuse)
    orders.drain()
    orders.processor(lambda batch: None)
    return orders


def figures_of(response: "Response") -> dict[str, str]:
    """The figures of the bucket's page, and its options."""
    pairs = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", content(response), re.DOTALL)
    plain = [[" ".join(re.sub(r"<[^>]+>", "", text).split()) for text in pair] for pair in pairs]
    return dict(plain)


def texts(response: "Response") -> list[str]:
    """What is shown of events, errors and tracebacks."""
    return re.findall(r'<pre class="exhibit"[^>]*>(.*?)</pre>', content(response), re.DOTALL)


def said(response: "Response") -> list[str]:
    return [str(message) for message in response.context["messages"]]


class TestBucketPage:
    def test_shows_figures_options_and_state(self, admin_client: Client) -> None:
        Bucket("orders", batch_size=2).extend([1, 2, 3])
        response = admin_client.get(BUCKET)
        shown = figures_of(response)
        assert shown["Pending"] == "3"
        assert shown["Batches"] == "1 open, 1 sealed, 0 in flight"
        assert shown["Appended in all"] == "3"
        assert (shown["batch_size"], shown["lease"], shown["max_pending"]) == (
            *("1,000", "1 minute", "–"),
        )
        assert '<span class="state state-flowing">flowing</span>' in content(response)
        assert set(shown) > {field.name for field in fields(Options)}

    def test_shows_options_in_words(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(
            BUCKETS={
                "orders": {
                    "linger": timedelta(milliseconds=1500),
                    "lease": timedelta(milliseconds=20),
                    "outage_errors": (KeyError, OSError),
                    "schema": figures_of,
                    "overflow": "drop_oldest",
                }
            }
        )
        Bucket("orders").processor(print)
        shown = figures_of(admin_client.get(BUCKET))
        assert shown["outage_errors"] == "KeyError, OSError"
        assert shown["schema"] == "figures_of"
        assert shown["overflow"] == "drop_oldest"
        assert shown["lease"] == "0.020 seconds"

    def test_of_no_bucket_is_not_found(self, admin_client: Client) -> None:
        assert admin_client.get(BUCKET).status_code == 404

    def test_has_the_name_in_title_heading_and_breadcrumbs(self, admin_client: Client) -> None:
        Bucket("eu:orders.x_y").append(1)
        path = reverse("admin:django_jsonbuffer_bucket_change", args=[quote("eu:orders.x_y")])
        page = admin_client.get(path).content.decode()
        assert "<h1>eu:orders.x_y</h1>" in page
        assert "<title>eu:orders.x_y | Django site admin</title>" in page
        assert crumbs(page) == (
            ["/admin/", "/admin/django_jsonbuffer/", PAGE],
            "Home JSON buffer Buckets eu:orders.x_y",
        )

    def test_shows_workers_with_what_they_hold(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.extend([1, 2])
        pages = []
        orders.processor(lambda batch: pages.append((batch.id, content(admin_client.get(BUCKET)))))
        orders.drain()
        [(id, page)] = pages
        table = page.partition('id="workers-heading"')[2].partition("</table>")[0]
        cells = [
            " ".join(re.sub(r"<[^>]+>", "", cell).split())
            for cell in re.findall(r"<t[dh].*?</t[dh]>", table, re.DOTALL)
        ]
        worker, heard, batch, since, attempt = cells[5:]
        assert worker.startswith(f"{socket.gethostname()}:{os.getpid()}:")
        assert heard.endswith(("second", "seconds"))
        assert (batch, attempt) == (id, "1")
        assert since.endswith(("second", "seconds"))
        assert "No worker drains this bucket." in content(admin_client.get(BUCKET))

    def test_shows_batches_that_come_again(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.append(1)
        orders.processor(lambda batch: 1 / 0)
        orders.drain()
        page = content(admin_client.get(BUCKET))
        assert "1 batch has failed and comes again." in page
        assert "<td>ZeroDivisionError</td>" in page
        assert "Batches that come again" in page

    def test_shows_charts(self, admin_client: Client, client_of_server: Redis) -> None:
        put_history(client_of_server, "orders", pending=[5, 40, 10])
        page = content(admin_client.get(BUCKET))
        assert 'aria-label="Pending: at most 40, at the end 0."' in page
        assert 'aria-label="In per minute: at most 20, at the end 20. Out per minute:' in page
        assert page.count('<polyline class="line processed"') == 2

    @pytest.mark.parametrize("language", ["de", "fr", "ar", "fa", "hi"])
    def test_draws_charts_in_any_language(
        self, admin_client: Client, client_of_server: Redis, language: str
    ) -> None:
        put_history(client_of_server, "orders", pending=[5, 4000, 10])
        with translation.override(language):
            for path in (PAGE, BUCKET):
                page = content(admin_client.get(path))
                shapes = re.findall(r' (?:points|[xy][12]?|viewBox)="([^"]*)"', page)
                assert shapes
                assert all(re.fullmatch(r"[0-9., -]+", shape) for shape in shapes)

    def test_needs_no_time_zones(self, admin_client: Client, settings: Settings) -> None:
        settings.USE_TZ = False
        bury(1)
        settings.TIME_ZONE = "Asia/Tokyo"
        assert admin_client.get(PAGE).status_code == 200
        page = content(admin_client.get(BUCKET))
        now = datetime.now(ZoneInfo("Asia/Tokyo"))
        about_now = {date_format(now - timedelta(minutes=n), "DATETIME_FORMAT") for n in (0, 1)}
        assert any(f"<dd>{moment}</dd>" in page for moment in about_now)

    def test_says_that_there_is_no_history(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        assert "There is no history yet" in content(admin_client.get(BUCKET))

    def test_shows_the_oldest_events(self, admin_client: Client) -> None:
        Bucket("orders", batch_size=6).extend({"n": n} for n in range(13))
        shown = texts(admin_client.get(BUCKET))
        assert shown == [f"{{\n  &quot;n&quot;: {n}\n}}" for n in range(10)]

    def test_shows_events_that_are_markup_as_text(self, admin_client: Client) -> None:
        markup = "<script>alert(1)</script><b>{{ 7|add:7 }}</b>"
        bury(markup, reason=f"{markup} & more")
        Bucket("orders").append(markup)
        response = admin_client.get(BUCKET)
        assert "<script>alert" not in response.content.decode()
        assert len(texts(response)) == 3
        assert all("&lt;script&gt;alert(1)&lt;/script&gt;" in text for text in texts(response))
        assert all("{{ 7|add:7 }}" in text for text in texts(response))

    def test_shows_dead_letters_with_their_traceback(self, admin_client: Client) -> None:
        orders = Bucket("orders", max_attempts=1)
        orders.append({"total": None})

        def divide(batch: Batch) -> None:
            raise ValueError("no total")

        orders.processor(divide)
        orders.drain()
        event, error, traceback = texts(admin_client.get(BUCKET))
        assert event == "{\n  &quot;total&quot;: null\n}"
        assert error == "ValueError: no total"
        assert traceback.startswith("Traceback (most recent call last):\n")
        assert "in divide" in traceback

    def test_shows_dead_letters_a_page_at_a_time(self, admin_client: Client) -> None:
        orders = bury(*range(45))
        first = admin_client.get(BUCKET)
        ids = [letter.id for letter in orders.dead]
        pattern = r'name="letter" value="([0-9-]+)"'
        assert re.findall(pattern, content(first)) == ids[:20]
        assert f'href="?after={ids[19]}#dead-heading"' in content(first)
        second = admin_client.get(BUCKET, {"after": ids[19]})
        assert re.findall(pattern, content(second)) == ids[20:40]
        last = admin_client.get(BUCKET, {"after": ids[39]})
        assert re.findall(pattern, content(last)) == ids[40:]
        assert "?after=" not in content(last)
        assert 'href="?#dead-heading"' in content(last)

    @pytest.mark.parametrize("after", ["x", "1-1)", "-", "99999999999999999999-1"])
    def test_of_a_place_that_there_is_not_is_not_found(
        self, admin_client: Client, after: str
    ) -> None:
        Bucket("orders").append(1)
        assert admin_client.get(BUCKET, {"after": after}).status_code == 404

    def test_shows_nothing_that_is_to_be_redacted(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"orders": {"redact": lambda event: {**event, "card": "hidden"}}})
        bury({"card": "4111"}, {"card": "4111", "x": "y" * 100_000}, reason=ValueError("card 4111"))
        Bucket("orders").extend([{"card": "4111"}, {"card": "4111", "x": "y" * 100_000}])
        page = admin_client.get(BUCKET).content.decode()
        assert "4111" not in page
        assert page.count("&quot;card&quot;: &quot;hidden&quot;") == 3
        assert page.count("is too large to be redacted here") == 1

    def test_shows_no_foreign_value_where_events_are_redacted(
        self, admin_client: Client, configure: Callable[..., None], client_of_server: Redis
    ) -> None:
        configure(BUCKETS={"orders": {"redact": lambda event: {**event, "card": "hidden"}}})
        orders = Bucket("orders")
        client_of_server.set(orders.key, '{"events":[{"card":"4111"}]}')
        orders.append({})
        page = admin_client.get(BUCKET).content.decode()
        assert "4111" not in page
        assert "no processor has seen it" in page

    def test_shows_no_argument_of_an_option(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"orders": {"schema": partial(print, "s3cret")}})
        Bucket("orders").processor(print)
        response = admin_client.get(BUCKET)
        assert figures_of(response)["schema"] == "partial"
        assert b"s3cret" not in response.content

    def test_shows_no_event_while_it_is_not_clear_how_to_redact(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        Bucket("orders").append("4111")
        configure(BUCKETS={"orders": {"redact": "hide"}})
        response = admin_client.get(BUCKET)
        assert response.status_code == 503
        assert b"redact must be callable" in response.content
        assert b"4111" not in response.content

    def test_reads_little_of_large_events(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"orders": {"max_event_bytes": 20_000_000}})
        orders = bury(*["x" * 5_000_000] * 3)
        orders.extend(["x" * 5_000_000] * 3)
        response = admin_client.get(BUCKET)
        assert len(response.content) < 150_000
        assert content(response).count("Cut: it has 5,000,002 bytes.") == 3
        assert content(response).count("Cut here.") == 1

    def test_of_a_bucket_that_is_broken_says_so(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        Bucket("orders").append(1)
        client_of_server.delete(Bucket("orders").key)
        client_of_server.lpush(Bucket("orders").key, "foreign")
        response = admin_client.get(BUCKET)
        assert "holds a value of another type" in content(response)

    @pytest.mark.usefixtures("unreachable")
    def test_of_a_redis_that_is_away_is_said_with_status_503(self, admin_client: Client) -> None:
        response = admin_client.get(BUCKET)
        assert response.status_code == 503
        assert "Redis cannot be reached" in content(response)

    def test_has_an_address_on_each_site(self, admin_client: Client) -> None:
        bury(1)
        page = admin_client.get("/second/django_jsonbuffer/bucket/orders/change/").content.decode()
        assert 'action="/second/django_jsonbuffer/bucket/orders/pause/"' in page
        assert "/admin/django_jsonbuffer/" not in page

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    def test_only_reading_is_allowed(self, admin_client: Client, method: str) -> None:
        assert getattr(admin_client, method)(BUCKET).status_code == 405


class TestActions:
    def test_drain_processes_what_is_pending(self, admin_client: Client) -> None:
        got: list[int] = []
        orders = Bucket("orders", batch_size=2)
        orders.processor(got.extend)
        orders.extend(range(5))
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert response.redirect_chain == [(BUCKET, 302)]
        assert got == [0, 1, 2, 3, 4]
        assert said(response) == ["Drained: 5 events."]

    def test_drain_tells_of_failures_and_of_what_is_left(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.append(1)
        orders.processor(lambda batch: 1 / 0)
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert said(response) == [
            "Drained: 0 events. 1 attempt failed: see the log. 1 event is pending."
        ]

    def test_drain_ends_after_some_seconds(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(actions, "DRAIN_SECONDS", 0.0)
        got: list[int] = []
        orders = Bucket("orders", batch_size=1)
        orders.processor(got.extend)
        Bucket("orders", batch_size=1).extend(range(5))
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert got == [0]
        assert said(response) == ["Drained: 1 event. 4 events are pending."]

    def test_drain_without_a_processor_says_so(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        assert "Drain now" not in content(admin_client.get(BUCKET))
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert said(response)[0].startswith("Bucket 'orders' has no processor.")
        assert LogEntry.objects.count() == 0

    def test_drain_of_a_paused_bucket_says_so(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.processor(lambda batch: None)
        orders.append(1)
        orders.pause()
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert said(response) == ["Drained: 0 events. The bucket is paused: resume it first."]
        assert orders.peek() == [1]

    def test_drain_commits_what_it_stores_though_requests_are_atomic(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An acknowledged batch whose rows are rolled back with the request would be lost."""
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        within: list[bool] = []
        orders = Bucket("orders")
        orders.processor(lambda batch: within.append(connection.in_atomic_block))
        orders.append(1)
        admin_client.post(f"{PAGE}orders/drain/")
        assert within == [False]

    def test_drain_knows_nothing_of_the_request(
        self, admin_client: Client, settings: Settings
    ) -> None:
        """A processor finds what it finds in a worker: its appends are made before it is done."""
        settings.MIDDLEWARE = [
            *settings.MIDDLEWARE,
            "django_jsonbuffer.middleware.gathering_middleware",
            "django_jsonbuffer.middleware.actor_middleware",
            "tests.test_admin.in_german",
        ]
        seen: list[object] = []

        def forward(batch: Batch) -> None:
            Bucket("next").extend(batch)
            seen.extend([Bucket("next").peek(), actor(), translation.get_language()])
            seen.append(timezone.get_current_timezone_name())

        orders = Bucket("orders")
        orders.append(1, now=True)
        orders.processor(forward)
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert seen == [[1], {}, settings.LANGUAGE_CODE, settings.TIME_ZONE]
        assert said(response) == ["Drained: 1 event."]
        assert translation.get_language() == settings.LANGUAGE_CODE

    def test_pause_and_resume(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.append(1)
        response = admin_client.post(f"{PAGE}orders/pause/", follow=True)
        assert said(response) == ["Paused: it takes appends, and is not drained."]
        assert orders.status().paused is not None
        assert "Resume</button>" in content(response)
        assert "Pause</button>" not in content(response)
        again = admin_client.post(f"{PAGE}orders/pause/", follow=True)
        assert said(again) == ["It was paused already."]
        response = admin_client.post(f"{PAGE}orders/resume/", follow=True)
        assert said(response) == ["Resumed."]
        assert orders.status().paused is None
        assert said(admin_client.post(f"{PAGE}orders/resume/", follow=True)) == [
            "It was not paused."
        ]
        assert LogEntry.objects.count() == 2

    def test_replay_one_several_and_all(self, admin_client: Client) -> None:
        orders = bury(*range(6))
        ids = [letter.id for letter in orders.dead]
        for sent, message in (
            ({"letter": ids[2]}, "Replayed: 1 dead letter."),
            ({"letter": [ids[0], ids[4]]}, "Replayed: 2 dead letters."),
            ({"all": "1", "newest": ids[1]}, "Replayed: 1 dead letter."),
            ({"all": "1", "newest": ids[5]}, "Replayed: 2 dead letters."),
            ({"letter": ids}, "Replayed: 0 dead letters."),
        ):
            response = admin_client.post(f"{PAGE}orders/replay/", sent, follow=True)
            assert said(response) == [message]
        assert orders.take() == [2, 0, 4, 1, 3, 5]
        assert LogEntry.objects.count() == 4

    def test_replay_of_what_is_no_event_says_so(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        orders = Bucket("orders")
        client_of_server.set(orders.key, "no JSON")
        orders.append(1)
        [letter] = orders.dead.page()
        response = admin_client.post(f"{PAGE}orders/replay/", {"letter": letter.id}, follow=True)
        assert said(response) == [f"Dead letter {letter.id} holds no event: see its raw bytes."]
        assert orders.status().dead == 1

    def test_discard_asks_before(self, admin_client: Client) -> None:
        orders = bury(1, 2, 3)
        first, second, third = [letter.id for letter in orders.dead]
        asked = admin_client.post(f"{PAGE}orders/discard/", {"letter": [first, third]})
        assert asked.status_code == 200
        assert "2 dead letters will be gone for ever." in content(asked)
        assert orders.status().dead == 3
        fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', content(asked))
        sent = {"letter": [value for name, value in fields if name == "letter"], "confirmed": "1"}
        response = admin_client.post(f"{PAGE}orders/discard/", sent, follow=True)
        assert said(response) == ["Discarded: 2 dead letters."]
        assert [letter.id for letter in orders.dead] == [second]

    def test_discard_of_all_leaves_those_that_nobody_has_seen(self, admin_client: Client) -> None:
        orders = bury(1, 2, 3)
        page = content(admin_client.get(BUCKET))
        [newest] = re.findall(r'name="newest" value="([^"]*)"', page)
        bury(4)
        sent = {"all": "1", "newest": newest}
        asked = content(admin_client.post(f"{PAGE}orders/discard/", sent))
        assert "3 dead letters will be gone for ever." in asked
        assert '<input type="hidden" name="all" value="1">' in asked
        assert f'<input type="hidden" name="newest" value="{newest}">' in asked
        sent["confirmed"] = "1"
        response = admin_client.post(f"{PAGE}orders/discard/", sent, follow=True)
        assert said(response) == ["Discarded: 3 dead letters."]
        assert [letter.event for letter in orders.dead] == [4]

    def test_discard_of_all_by_one_who_may_not_see_them(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        orders = bury(1, 2)
        grant("view_bucket", "delete_events")
        page = content(staff_client.get(BUCKET))
        [newest] = re.findall(r'name="newest" value="([^"]*)"', page)
        assert newest == [letter.id for letter in orders.dead][-1]
        sent = {"all": "1", "newest": newest}
        asked = content(staff_client.post(f"{PAGE}orders/discard/", sent))
        assert "2 dead letters will be gone for ever." in asked

    @pytest.mark.parametrize("sent", [{}, {"confirmed": "1"}])
    @pytest.mark.parametrize("action", ["replay", "discard"])
    def test_of_no_dead_letter_says_so(
        self, admin_client: Client, action: str, sent: dict[str, str]
    ) -> None:
        """Whatever else the form of the page holds."""
        orders = bury(1, 2)
        [newest] = re.findall(r'name="newest" value="(.*?)"', content(admin_client.get(BUCKET)))
        sent = {**sent, "newest": newest}
        response = admin_client.post(f"{PAGE}orders/{action}/", sent, follow=True)
        assert said(response) == ["Nothing was done: select dead letters first."]
        assert LogEntry.objects.count() == 0
        assert orders.status().dead == 2

    @pytest.mark.parametrize(
        "sent", [{"letter": ["x", "1-1", "<b>"]}, {"all": "1", "newest": "x"}, {"all": "1"}]
    )
    def test_discard_of_what_is_no_dead_letter(
        self, admin_client: Client, sent: dict[str, Any]
    ) -> None:
        orders = bury(1)
        response = admin_client.post(f"{PAGE}orders/discard/", {**sent, "confirmed": "1"})
        assert response.status_code == (400 if "all" in sent else 302)
        assert orders.status().dead == 1
        assert LogEntry.objects.count() == 0

    def test_purge_asks_before(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.extend([1, 2, 3])
        asked = admin_client.post(f"{PAGE}orders/purge/")
        assert "<h1>Purge orders?</h1>" in asked.content.decode()
        assert "3 pending events will be gone for ever, and what is appended" in content(asked)
        assert orders.status().pending == 3
        response = admin_client.post(f"{PAGE}orders/purge/", {"confirmed": "1"}, follow=True)
        assert said(response) == ["Purged: 3 pending events."]
        assert orders.status().pending == 0

    def test_are_logged_with_what_they_did(self, admin_client: Client, admin_user: User) -> None:
        orders = bury(1)
        orders.extend([1, 2])
        for action in ("pause", "resume", "drain"):
            admin_client.post(f"{PAGE}orders/{action}/")
        newest = orders.dead.newest()
        admin_client.post(f"{PAGE}orders/replay/", {"all": "1", "newest": newest})
        admin_client.post(f"{PAGE}orders/purge/", {"confirmed": "1"})
        entries = [*LogEntry.objects.order_by("pk")]
        assert [entry.get_change_message() for entry in entries] == [
            "Paused: it takes appends, and is not drained.",
            "Resumed.",
            "Drained: 2 events.",
            "Replayed: 1 dead letter.",
            "Purged: 1 pending event.",
        ]
        for entry in entries:
            assert (entry.user, entry.object_id, entry.object_repr) == (
                admin_user,
                "orders",
                "orders",
            )
            assert entry.get_admin_url() == BUCKET
        assert "Purged: 1 pending event." in content(admin_client.get(BUCKET))
        assert f'<a href="{BUCKET}">orders</a>' in admin_client.get("/admin/").content.decode()

    def test_that_end_half_way_are_logged(
        self, admin_client: Client, private_server: Redis
    ) -> None:
        orders = bury(1)
        sent = {"all": "1", "newest": orders.dead.newest()}
        private_server.config_set("maxmemory", 1)
        response = admin_client.post(f"{PAGE}orders/replay/", sent, follow=True)
        private_server.config_set("maxmemory", 0)
        assert response.redirect_chain == [(BUCKET, 302)]
        [message] = said(response)
        assert message.startswith("Redis has no memory left")
        [entry] = LogEntry.objects.all()
        assert entry.get_change_message() == f"Ended half-way: replay. {message}"

    @pytest.mark.parametrize("action", actions.PERMISSIONS)
    def test_are_posts_with_a_token(
        self, admin_client: Client, admin_user: User, action: str
    ) -> None:
        bury(1)
        path = f"{PAGE}orders/{action}/"
        before = Bucket("orders").status()
        assert admin_client.get(path)["Location"] == BUCKET  # as after a login
        assert admin_client.put(path).status_code == 405
        assert Bucket("orders").status().paused is None
        assert Bucket("orders").status().dead == before.dead
        assert LogEntry.objects.count() == 0
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(admin_user)
        assert strict.post(path, {"confirmed": "1", "all": "1"}).status_code == 403

    @pytest.mark.parametrize("action", actions.PERMISSIONS)
    @pytest.mark.usefixtures("unreachable")
    def test_of_a_redis_that_is_away_are_said_with_status_503(
        self, admin_client: Client, action: str
    ) -> None:
        assert admin_client.post(f"{PAGE}orders/{action}/").status_code == 503
        assert LogEntry.objects.count() == 0

    @pytest.mark.parametrize("action", actions.PERMISSIONS)
    def test_of_what_is_no_bucket_are_not_found(self, admin_client: Client, action: str) -> None:
        assert admin_client.post(f"{PAGE}orders/{action}/").status_code == 404


class TestPermissions:
    @pytest.mark.parametrize("missing", CODENAMES)
    @pytest.mark.parametrize(("action", "needed"), actions.PERMISSIONS.items())
    def test_of_its_own_is_needed_for_each_action(
        self,
        staff_client: Client,
        grant: Callable[..., None],
        action: str,
        needed: str,
        missing: str,
    ) -> None:
        orders = bury(1)
        orders.append(2)
        before = orders.status()
        grant(*(codename for codename in CODENAMES if codename != missing))
        sent = {"confirmed": "1", "letter": [letter.id for letter in orders.dead]}
        response = staff_client.post(f"{PAGE}orders/{action}/", sent)
        # To the admin, who may change may see.
        is_refused = missing == needed
        assert response.status_code == (403 if is_refused else 302)
        after = orders.status()
        if is_refused:
            assert (after.pending, after.dead, after.paused) == (before.pending, 1, None)

    def test_to_see_the_bucket_is_needed_for_any(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        bury(1)
        grant("view_events", "drain_bucket", "delete_events")
        for path in (PAGE, BUCKET):
            assert staff_client.get(path).status_code == 403
        for action in ("drain", "purge", "discard"):
            assert staff_client.post(f"{PAGE}orders/{action}/").status_code == 403

    def test_offer_what_they_allow(self, staff_client: Client, grant: Callable[..., None]) -> None:
        bury("secret")
        Bucket("orders").append("secret")
        offers = {
            "drain_bucket": ["Drain now"],
            "change_bucket": ["Pause", "Replay selected", "Replay all 1"],
            "delete_events": ["Purge…", "Discard selected…", "Discard all 1…"],
            "view_events": [],
        }
        for codename, buttons in offers.items():
            grant("view_bucket", "view_events", codename)
            page = content(staff_client.get(BUCKET))
            found = re.findall(r'<button type="submit"[^>]*>(.*?)</button>', page)
            assert found == buttons
            assert "secret" in page

    def test_to_see_sizes_shows_no_event(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        bury("secret", reason="secret")
        Bucket("orders").append("secret")
        grant("view_bucket", "change_bucket", "delete_events", "drain_bucket")
        page = content(staff_client.get(BUCKET))
        assert "secret" not in page
        assert "You may not see events." in page
        assert "Replay all 1" in page
        assert "Replay selected" not in page
