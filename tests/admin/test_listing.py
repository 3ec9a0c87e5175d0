import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import translation
from pytest_django import DjangoAssertNumQueries

from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from tests.admin.pages import COLUMNS, PAGE, content, plain, row, rows
from tests.prepared import make_old, put_history
from tests.server import Redis

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


class TestList:
    def test_says_what_to_do_when_there_is_no_bucket(self, admin_client: Client) -> None:
        text = content(admin_client.get(PAGE))
        assert "No bucket has been declared or appended to." in text
        assert "0 buckets" in text

    def test_shows_the_figures_of_each_bucket(self, admin_client: Client) -> None:
        Bucket("orders", batch_size=2).extend(["first", "second", "third"])
        Bucket("clicks").append(1)
        response = admin_client.get(PAGE)
        assert list(rows(response)) == ["clicks", "orders"]
        shown = row(response, "orders")
        assert re.fullmatch(r"\d s", shown.pop("oldest"))
        assert shown == {
            "name": "orders",
            "state": "flowing no processor",
            "pending": "3",
            "in": "–",
            "out": "–",
            "dead": "0",
            "history": "no history",
        }

    def test_shows_what_is_in_flight(self, admin_client: Client) -> None:
        """As no longer pending. Its number is on the page of the bucket."""
        orders = Bucket("orders")
        orders.extend([1, 2, 3])
        seen = []
        orders.processor(lambda batch: seen.append(row(admin_client.get(PAGE), "orders")))
        orders.drain()
        assert [(was["state"], was["pending"], was["oldest"]) for was in seen] == [
            ("flowing", "0", "–")
        ]

    def test_shows_dead_letters(self, admin_client: Client, client_of_server: Redis) -> None:
        orders = Bucket("orders")
        client_of_server.set(orders.key, "no JSON")
        orders.append(1)
        response = admin_client.get(PAGE)
        shown = row(response, "orders")
        assert shown["dead"] == "1"
        link = f'<a href="{PAGE}orders/change/#dead" class="trouble">1</a>'
        assert link in content(response)
        assert shown["state"].endswith("1 dead letter waits for a decision.")

    def test_shows_a_declared_bucket_that_was_never_appended_to(self, admin_client: Client) -> None:
        Bucket("orders").processor(print)
        shown = row(admin_client.get(PAGE), "orders")
        assert (shown["state"], shown["pending"], shown["oldest"]) == ("empty", "0", "–")

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

    def test_shows_what_is_wrong_with_a_broken_bucket_beside_the_others(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        for name in ("broken", "orders", "views"):
            Bucket(name).append(1)
        client_of_server.delete(Bucket("broken").key)
        client_of_server.lpush(Bucket("broken").key, "foreign")
        response = admin_client.get(PAGE)
        assert response.status_code == 200
        state, message = rows(response)["broken"]
        assert state.startswith("unreadable")
        assert "holds a value of another type" in state
        assert message == "cannot be read"
        assert row(response, "orders")["pending"] == "1"

    def test_shows_no_name_that_no_bucket_can_have(
        self, admin_client: Client, client_of_server: Redis, prefix: str
    ) -> None:
        client_of_server.sadd(f"{prefix}:buckets", "<script>alert(1)</script>", b"\xff", "orders")
        response = admin_client.get(PAGE)
        assert list(rows(response)) == ["orders"]

    def test_shows_the_history_as_a_chart_described_in_words(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        put_history(client_of_server, "orders", pending=[5, 40, 10])
        page = content(admin_client.get(PAGE))
        assert 'aria-label="Pending over the last 4 hours: at most 40, at the end 0."' in page
        assert re.search(r'<polyline class="line pending" points="[0-9., ]+"/>', page)

    def test_has_headings_for_each_column_and_row(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        text = content(admin_client.get(PAGE))
        headings = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', text, re.DOTALL)
        assert [plain(heading).rstrip(" ▲") for heading in headings] == [
            *("Select", "Bucket State", "Pending", "Oldest", "In per minute", "Out per minute"),
            *("Dead", "Last 4 hours"),
        ]
        [heading] = re.findall(r'<th scope="row"[^>]*>(.*?)</th>', text, re.DOTALL)
        assert f'<a href="{PAGE}orders/change/">orders</a>' in heading

    def test_names_the_columns_again_where_rows_are_cards(self, admin_client: Client) -> None:
        """On a narrow screen, where no heading is above a figure."""
        Bucket("orders").append(1)
        cells = re.findall(
            r'<td class="numeric[^>]*data-label="(.*?)"', content(admin_client.get(PAGE))
        )
        assert cells == ["Pending", "Oldest", "In per minute", "Out per minute", "Dead"]

    def test_compares_what_is_pending_by_bars(self, admin_client: Client) -> None:
        """A bucket with few events has a bar that can be seen."""
        Bucket("few").append(1)
        Bucket("many").extend([1] * 1000)
        Bucket("half").extend([1] * 500)
        Bucket("none").processor(print)
        page = content(admin_client.get(PAGE, {"sort": "name"}))
        assert re.findall(r'<rect x="(\d+)" width="(\d+)"', page) == [
            ("97", "3"),
            ("50", "50"),
            ("0", "100"),
        ]

    def test_asks_the_database_for_session_and_user_only(
        self, admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        Bucket("orders").append(1)
        with django_assert_num_queries(2):
            admin_client.get(PAGE)

    def test_with_a_thousand_buckets_takes_five_round_trips_and_no_query_more(
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
            # The names; the figures of each 500 buckets, and which have shards; the workers; the
            # history.
            assert round_trips == ["pipeline"] * (4 if "q" in query else 5)
        assert row(response, "bucket-999")["pending"] == "3"
        asked = private_server.info("commandstats")
        assert "cmdstat_keys" not in asked
        assert "cmdstat_scan" not in asked

    def test_shows_a_hundred_buckets_a_page(self, admin_client: Client) -> None:
        for number in range(101):
            Bucket(f"bucket-{number:03}").processor(print)
        first, second = admin_client.get(PAGE), admin_client.get(PAGE, {"p": "2"})
        assert len(rows(first)) == 100
        assert list(rows(second)) == ["bucket-100"]
        assert "101 buckets" in content(first)
        assert '<a href="?p=2">2</a>' in content(first)
        assert '<span aria-current="page">2</span>' in content(second)
        assert list(rows(admin_client.get(PAGE, {"p": "77"}))) == ["bucket-100"]

    def test_finds_by_a_part_of_the_name(self, admin_client: Client) -> None:
        for name in ("orders", "order-lines", "views"):
            Bucket(name).append(1)
        found = admin_client.get(PAGE, {"q": " ORDER "})
        assert list(rows(found)) == ["order-lines", "orders"]
        assert 'name="q" value="ORDER"' in content(found)
        nothing = content(admin_client.get(PAGE, {"q": "nobody"}))
        assert "No bucket matches." in nothing
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
        everything = '<a href="?"{}>all</a>'
        assert everything.format(' aria-current="true"') in content(admin_client.get(PAGE))
        assert everything.format("") in content(admin_client.get(PAGE, {"state": "paused"}))

    def test_shows_those_that_need_a_decision(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        client_of_server.set(Bucket("mails").key, "no JSON")
        Bucket("mails").append(1)
        Bucket("orders").append(1)
        response = admin_client.get(PAGE, {"state": "needs-decision"})
        assert list(rows(response)) == ["mails"]
        assert 'class="state state-needs-decision">needs a decision</span>' in content(response)

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
        assert list(shown) == ["d-stalled", "c-paused", "b-flowing", "a-empty"]

    def test_sorts_by_any_column(self, admin_client: Client) -> None:
        Bucket("few").append(1)
        Bucket("many").extend(range(100))
        Bucket("none").processor(print)
        page = content(admin_client.get(PAGE))
        links = [
            link.replace("&amp;", "&")
            for heading in re.findall(r'<th scope="col".*?</th>', page, re.DOTALL)
            for link in re.findall(r'<a href="([^"]*)"', heading)
        ]
        assert len(links) == len(COLUMNS) - len(["history"])
        for link in links:
            assert admin_client.get(PAGE + link).status_code == 200
        names = ["few", "many", "none"]
        assert list(rows(admin_client.get(PAGE, {"sort": "name"})))[:3] == names
        assert list(rows(admin_client.get(PAGE, {"sort": "-name"})))[:3] == names[::-1]
        by_pending = admin_client.get(PAGE, {"sort": "-pending"})
        assert list(rows(by_pending))[:3] == ["many", "few", "none"]
        heading = 'class="numeric" aria-sort="descending"><a href="?sort=pending">Pending'
        assert heading in content(by_pending)
        assert list(rows(admin_client.get(PAGE, {"sort": "pending"})))[:3] == [
            "none",
            "few",
            "many",
        ]

    @pytest.mark.parametrize("sort", ["oldest", "-oldest", "in", "-in"])
    def test_has_what_is_not_known_at_the_end(
        self, admin_client: Client, client_of_server: Redis, sort: str
    ) -> None:
        for name in ("known", "z-known"):
            put_history(client_of_server, name, pending=[5, 40, 10])
            Bucket(name).append(1)
        for name in ("a-unknown", "unknown"):
            Bucket(name).processor(print)
        shown = list(rows(admin_client.get(PAGE, {"sort": sort})))
        assert {*shown[:2]} == {"known", "z-known"}
        assert shown[2:] == ["a-unknown", "unknown"]

    def test_keeps_search_and_state_when_sorted(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        page = content(admin_client.get(PAGE, {"q": "o", "state": "flowing", "sort": "bytes"}))
        assert 'href="?q=o&amp;state=flowing&amp;sort=-pending"' in page
        assert '<input type="hidden" name="state" value="flowing">' in page
        assert '<input type="hidden" name="sort" value="bytes">' in page
