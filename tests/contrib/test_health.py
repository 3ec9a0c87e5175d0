import asyncio
import importlib
import socket
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from django.test import AsyncClient, Client
from django.urls import path
from health_check.exceptions import ServiceUnavailable
from health_check.views import HealthCheckView
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.acl import OF_CLUSTER, ROLES
from django_jsonbuffer.contrib import health
from django_jsonbuffer.contrib.health import JSONBuffer
from django_jsonbuffer.declarations import Declaration, Definition, declared
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.store import redis_cluster
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, hung, node_with, port_of, url_of
from tests.prepared import bury, make_old
from tests.server import Redis
from tests.test_embedded_redis import client_of, wait_until

CHECK = "django_jsonbuffer.contrib.health.JSONBuffer"
REFUSED = "Redis cannot be reached, or refuses appends."

urlpatterns = [
    path("health", HealthCheckView.as_view(checks=[CHECK])),
    path(
        "workers",
        HealthCheckView.as_view(checks=[(CHECK, {"states": ["stalled", "unreadable"]})]),
    ),
]

pytestmark = pytest.mark.usefixtures("nothing_declared")


@pytest.fixture(autouse=True)
def orders(settings: Settings, nothing_declared: None) -> Bucket:
    settings.ROOT_URLCONF = __name__
    bucket = Bucket("orders")
    bucket.processor(print)
    return bucket


@pytest.fixture
def silent(use_cache: Callable[..., str]) -> Iterator[None]:
    """A server that takes connections and never answers. The client has default options."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        use_cache(f"redis://127.0.0.1:{server.getsockname()[1]}/0", OPTIONS={})
        yield


def get(client: Client, page: str = "/health") -> tuple[int, str]:
    """The status, and the message of the only check."""
    response = client.get(page, headers={"accept": "application/json"})
    [message] = response.json().values()
    return response.status_code, message


class TestHealthy:
    def test_when_redis_answers(self, client: Client) -> None:
        assert get(client) == (200, "OK")

    def test_without_a_worker_by_default(
        self, client: Client, client_of_server: Redis, orders: Bucket
    ) -> None:
        orders.append(1)
        make_old(client_of_server, "orders")
        assert get(client) == (200, "OK")

    def test_of_a_site_that_may_only_append(
        self, client: Client, use_cache: Callable[..., str]
    ) -> None:
        allowed = ROLES["producer"].permissions()
        with EmbeddedRedis() as embedded, redis.Redis.from_url(embedded.url) as plain:
            plain.execute_command("ACL", "SETUSER", "site", "on", ">s3cret", "~*", *allowed)
            use_cache(embedded.url.replace("unix://", "unix://site:s3cret@"))
            assert get(client) == (200, "OK")
            assert get(client, "/workers") == (500, f"Unavailable: {REFUSED}")

    def test_under_asgi(self) -> None:
        async def main() -> int:
            response = await AsyncClient().get("/health?format=json")
            return response.status_code

        assert asyncio.run(main()) == 200


class TestUnhealthy:
    def test_when_redis_is_away(self, client: Client, unreachable: str) -> None:
        began = time.monotonic()
        status, message = get(client)
        assert time.monotonic() - began < 1
        assert (status, message) == (500, f"Unavailable: {REFUSED}")

    @pytest.mark.parametrize("is_async", [False, True], ids=["wsgi", "asgi"])
    def test_when_redis_does_not_answer_says_so_after_two_seconds(
        self, silent: None, is_async: bool
    ) -> None:
        async def main() -> str:
            return str((await AsyncClient().get("/health?format=text")).content)

        began = time.monotonic()
        content = (
            asyncio.run(main()) if is_async else str(Client().get("/health?format=text").content)
        )
        assert 2 <= time.monotonic() - began < 3
        assert "Redis does not answer in time." in content

    def test_when_redis_is_full(self, client: Client, private_server: Redis) -> None:
        private_server.config_set("maxmemory", 1)
        assert get(client) == (500, f"Unavailable: {REFUSED}")

    @pytest.mark.usefixtures("unhurried")
    def test_when_a_bucket_is_in_a_state_that_counts(
        self, client: Client, client_of_server: Redis, orders: Bucket
    ) -> None:
        orders.append(1)
        assert get(client, "/workers") == (200, "OK")
        make_old(client_of_server, "orders")
        assert get(client, "/workers") == (500, "Unavailable: orders is stalled.")
        client_of_server.delete(orders.key)
        client_of_server.lpush(orders.key, "no string")
        assert get(client, "/workers") == (500, "Unavailable: orders is unreadable.")

    def test_when_a_bucket_needs_a_decision_says_so(self, orders: Bucket) -> None:
        bury(1)
        check = JSONBuffer(states=["needs-decision"])
        with pytest.raises(ServiceUnavailable, match=r" orders needs a decision\.$"):
            asyncio.run(check.run())

    def test_when_the_settings_are_wrong(
        self, client: Client, configure: Callable[..., None]
    ) -> None:
        configure(CACHE="missing")
        assert get(client)[0] == 500

    def test_when_no_bucket_is_declared(self, client: Client) -> None:
        declared.processors.clear()
        assert get(client) == (500, "Unavailable: No bucket is declared in a buckets.py.")


class TestCluster:
    """A node that hangs takes no site out of service that other nodes can serve."""

    @pytest.fixture
    def nodes(
        self,
        nodes: list[EmbeddedRedis],
        use_cache: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[list[EmbeddedRedis]]:
        monkeypatch.setattr(redis_cluster, "_PAUSES_SECONDS", (0,))
        declared.processors.clear()
        use_cache([url_of(node) for node in nodes], OPTIONS={"CONNECTION_FACTORY": FACTORY})
        yield nodes
        wait_until(lambda: not redis_cluster._lost)
        health._refusing.clear()

    def test_any_node_of_a_declared_bucket_is_enough(
        self, client: Client, nodes: list[EmbeddedRedis], caplog: pytest.LogCaptureFixture
    ) -> None:
        for name in ("a", "b", "c"):  # on three nodes
            Bucket(name).processor(print)
        assert get(client) == (200, "OK")
        for node in nodes:
            caplog.clear()
            with hung(node):
                for _ in range(2):
                    began = time.monotonic()
                    assert get(client) == (200, "OK")
                    assert time.monotonic() - began < 1
            assert get(client) == (200, "OK")
            name = f"127.0.0.1:{port_of(node)}"
            assert [record.getMessage() for record in caplog.records if name in record.message] == [
                f"Node {name} accepts no appends, other nodes do. It does not answer in time.",
                f"Node {name} accepts appends again.",
            ]

    def test_no_node_of_a_declared_bucket_is_too_few(
        self, client: Client, nodes: list[EmbeddedRedis]
    ) -> None:
        """The other nodes do not count."""
        Bucket("orders").processor(print)
        assert get(client) == (200, "OK")
        with hung(node_with(Bucket("orders").key, nodes)):
            assert get(client) == (500, "Unavailable: Redis does not answer in time.")

    def test_nodes_of_all_shards_count(self, client: Client, nodes: list[EmbeddedRedis]) -> None:
        Bucket("orders", shards=9).processor(print)
        declared.buckets.append(Declaration(Definition("orders", {"shards": 9}), "here"))
        assert get(client) == (200, "OK")
        with hung(node_with(Bucket("orders").key, nodes)):
            assert get(client) == (200, "OK")

    def test_node_that_is_full_or_read_only_refuses(
        self, client: Client, nodes: list[EmbeddedRedis]
    ) -> None:
        Bucket("orders").processor(print)
        with client_of(node_with(Bucket("orders").key, nodes)) as plain:
            for option, value, usual in (("maxmemory", 1, 0), ("min-replicas-to-write", 1, 0)):
                plain.config_set(option, value)
                try:
                    assert get(client) == (500, f"Unavailable: {REFUSED}")
                finally:
                    plain.config_set(option, usual)
        assert get(client) == (200, "OK")

    def test_probe_leaves_nothing_behind(self, client: Client, nodes: list[EmbeddedRedis]) -> None:
        Bucket("orders").processor(print)
        assert get(client) == (200, "OK")
        with client_of(node_with(Bucket("orders").key, nodes)) as plain:
            assert plain.exists(Bucket("orders").key) == 0
            plain.set(Bucket("orders").key, "[1]")
            assert get(client) == (200, "OK")
            assert plain.get(Bucket("orders").key) == b"[1]"
            plain.delete(Bucket("orders").key)
            plain.lpush(Bucket("orders").key, "no string")
            assert get(client) == (200, "OK")

    def test_permissions_of_a_producer_are_enough(
        self, client: Client, nodes: list[EmbeddedRedis], use_cache: Callable[..., str]
    ) -> None:
        Bucket("orders").processor(print)
        rules = ["~*", *ROLES["producer"].permissions(), *OF_CLUSTER]
        for node in nodes:
            with client_of(node) as plain:
                plain.execute_command("ACL", "SETUSER", "site", "on", ">s3cret", *rules)
        login = {"USERNAME": "site", "PASSWORD": "s3cret"}
        use_cache([url_of(nodes[0])], OPTIONS={"CONNECTION_FACTORY": FACTORY, **login})
        assert get(client) == (200, "OK")


def test_unknown_state_is_refused() -> None:
    with pytest.raises(
        BufferMisconfigured, match=r"no state 'stuck'\. The states are unreadable, "
    ):
        JSONBuffer(states=["stuck"])


def test_module_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "health_check.base", None)
    with pytest.raises(BufferMisconfigured, match=r"pip install 'django-jsonbuffer\[health\]'"):
        importlib.reload(health)
