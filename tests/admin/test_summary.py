import pytest
from django.test import Client

from django_jsonbuffer import Bucket
from django_jsonbuffer.admin import BucketAdmin
from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.registry import register
from tests.admin.pages import PAGE, WORKERS, content, figures_of
from tests.prepared import bury, make_old
from tests.server import Redis
from tests.spilling import put

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]

PARTIAL = "Without the buckets that cannot be read."


class TestSummary:
    def test_adds_up_several_buckets(self, admin_client: Client) -> None:
        bury("dead", "dead").extend([1, 2])
        Bucket("clicks").extend([3] * 1000)
        response = admin_client.get(PAGE)
        shown = figures_of(response)
        assert (shown["Pending"], shown["Dead letters"]) == ("1,002", "2")
        assert '<dd class="value trouble">2</dd>' in content(response)
        assert PARTIAL not in content(response)

    def test_names_the_bucket_with_the_oldest_event(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        for name, seconds in (("a", 60), ("b", 7500), ("c", 600)):
            Bucket(name).append(1)
            make_old(client_of_server, name, seconds=seconds)
        response = admin_client.get(PAGE)
        assert figures_of(response)["Oldest"].replace("\xa0", " ") == "2 h 5 min b"
        assert f'<a href="{PAGE}b/change/">b</a></dd>' in content(response)

    def test_of_no_bucket(self, admin_client: Client) -> None:
        assert figures_of(admin_client.get(PAGE)) == {
            "Pending": "0",
            "Oldest": "nothing pending",
            "Dead letters": "0",
            "Workers": "0",
            "Spilled on this machine": "nothing",
        }

    def test_counts_a_worker_of_several_buckets_once(self, admin_client: Client) -> None:
        """And links to the workers."""
        other, orders, seen = Bucket("other"), Bucket("orders"), []

        def drain_other(batch: object) -> None:
            other.drain()

        other.processor(lambda batch: seen.append(admin_client.get(PAGE)))
        orders.processor(drain_other)
        other.append(1)
        orders.append(1)
        orders.drain()
        [response] = seen
        assert {row.bucket_state.status.workers for row in response.context["rows"]} == {1}
        assert figures_of(response)["Workers"] == "1"
        assert f'<a href="{WORKERS}">1</a>' in content(response)

    def test_shows_what_is_spilled_on_this_machine(
        self, admin_client: Client, spilling: Spill
    ) -> None:
        Bucket("clicks").append(1)
        put(spilling, b"1", bucket=Bucket("orders").key)
        shown = figures_of(admin_client.get(PAGE))
        assert shown["Spilled on this machine"].replace("\xa0", " ") == "5 bytes"

    def test_says_that_a_bucket_is_missing(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        for name in ("broken", "orders"):
            Bucket(name).append(1)
        client_of_server.delete(Bucket("broken").key)
        client_of_server.lpush(Bucket("broken").key, "foreign")
        response = admin_client.get(PAGE)
        assert figures_of(response)["Pending"] == "1"
        assert PARTIAL in content(response)

    def test_is_that_of_all_pages_of_the_list(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(BucketAdmin, "list_per_page", 2)
        for number in range(5):
            Bucket(f"bucket-{number}").append(1)
        for page in ("1", "3"):
            assert figures_of(admin_client.get(PAGE, {"p": page}))["Pending"] == "5"

    @pytest.mark.parametrize(
        ("query", "pending"),
        [({"q": "orders"}, "2"), ({"state": "paused"}, "4"), ({"q": "x"}, "0")],
    )
    def test_is_that_of_what_is_searched_for(
        self, admin_client: Client, query: dict[str, str], pending: str
    ) -> None:
        Bucket("orders").extend([1, 2])
        Bucket("mails").extend([1, 2, 3, 4])
        Bucket("mails").pause()
        assert figures_of(admin_client.get(PAGE, query))["Pending"] == pending


class TestNoWorker:
    def test_is_said_while_events_wait(self, admin_client: Client) -> None:
        said = "No worker is active, and events wait."
        Bucket("orders").processor(print)
        assert said not in content(admin_client.get(PAGE))
        Bucket("orders").append(1)
        assert said in content(admin_client.get(PAGE))
        register("web1:1:a", Names(["orders"]), configuration())
        assert said not in content(admin_client.get(PAGE))


def test_counts_all_workers_whatever_they_drain(admin_client: Client) -> None:
    for name in ("orders", "mails"):
        Bucket(name).append(1)
    for worker, name in (("web1:1:a", "orders"), ("web2:2:b", "mails"), ("web2:3:c", "mails")):
        register(worker, Names([name]), configuration())
    assert figures_of(admin_client.get(PAGE))["Workers"] == "3"
