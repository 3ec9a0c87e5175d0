"""The catalog, the commands, the admin and the checks, while a node of a cluster is down."""

import json
import time
from collections.abc import Callable, Iterator
from io import StringIO
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from django.contrib.admin.models import LogEntry
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from django_jsonbuffer import Bucket, drain_all
from django_jsonbuffer.catalog import histories, known_buckets, read_known, statuses
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.contrib import celery, tasks
from django_jsonbuffer.declarations import declared
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.states import State, read_states
from django_jsonbuffer.store.keys import catalog_key, shards_key
from django_jsonbuffer.store.status import BucketStatus
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, hung, names_on, node_with, port_of, url_of
from tests.server import Redis
from tests.test_embedded_redis import client_of

TIMEOUT_SECONDS = 0.3
OPTIONS = {
    "CONNECTION_FACTORY": FACTORY,
    "SOCKET_CONNECT_TIMEOUT": TIMEOUT_SECONDS,
    "SOCKET_TIMEOUT": TIMEOUT_SECONDS,
}

pytestmark = pytest.mark.usefixtures("nothing_declared")
# Since Django 6.1, the checks look into the database.
checks_databases = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def alias(
    nodes: list[EmbeddedRedis],
    prefix: str,
    configure: Callable[..., None],
    use_cache: Callable[..., str],
    nodes_come_back: None,
) -> str:
    """The names of the buckets and those of their shards are on two nodes."""
    configure(
        PREFIX=next(each for each in prefixes(prefix) if len(nodes_of_names(each, nodes)) > 1)
    )
    return use_cache([url_of(node) for node in nodes], OPTIONS=OPTIONS)


def prefixes(first: str) -> Iterator[str]:
    return (f"{first}-{number}" for number in range(100))


def nodes_of_names(prefix: str, nodes: list[EmbeddedRedis]) -> dict[int, str]:
    """The places of the nodes that have the names of the buckets, and those of their shards."""
    keys = (catalog_key(prefix), shards_key(prefix))
    return {nodes.index(node_with(key, nodes)): key for key in keys}


class Outage(NamedTuple):
    """A node of a cluster that hangs."""

    node: str
    """Its host and port."""
    lost: str
    """The name of the only bucket on this node. It is not declared."""
    others: list[str]
    """The names of the other buckets. Each has one event, and only the first is declared."""


def begin(nodes: list[EmbeddedRedis], key: str = "") -> tuple[EmbeddedRedis, Outage]:
    """Let the node be lost that has a key. By default it has no names."""
    places = nodes_of_names(configuration().prefix, nodes)
    if key:
        node = node_with(key, nodes)
    else:
        [node] = [node for place, node in enumerate(nodes) if place not in places]
    names = [name for [name] in names_on(nodes)]
    for name in names:
        Bucket(name, batch_size=None).append(1)
    lost = names.pop(nodes.index(node))
    others = sorted(names)
    Bucket(others[0]).processor(print)
    return node, Outage(f"127.0.0.1:{port_of(node)}", lost, others)


@pytest.fixture
def outage(nodes: list[EmbeddedRedis]) -> Iterator[Outage]:
    node, outage = begin(nodes)
    with hung(node):
        yield outage


@pytest.fixture
def outage_of_catalog(nodes: list[EmbeddedRedis]) -> Iterator[Outage]:
    node, outage = begin(nodes, catalog_key(configuration().prefix))
    with hung(node):
        yield outage


@pytest.fixture
def outage_of_shards(nodes: list[EmbeddedRedis]) -> Iterator[Outage]:
    """An outage of the node that knows the shards."""
    node, outage = begin(nodes, shards_key(configuration().prefix))
    with hung(node):
        yield outage


def said(command: str, *args: str) -> tuple[int, str, str]:
    """The exit code of a command, its output, and its errors."""
    out, err = StringIO(), StringIO()
    try:
        call_command(command, *args, stdout=out, stderr=err)
    except CommandError as error:
        return error.returncode, out.getvalue(), f"{err.getvalue()}{error}"
    return 0, out.getvalue(), err.getvalue()


def shown(*args: str) -> tuple[int, str, str]:
    return said("show_buckets", *args)


class TestNodeThatHangs:
    def test_statuses_of_the_others_are_read(self, outage: Outage) -> None:
        buckets = known_buckets()
        assert {bucket.name for bucket in buckets} == {outage.lost, *outage.others}
        found = dict(zip([bucket.name for bucket in buckets], statuses(buckets), strict=True))
        for name in outage.others:
            status = found[name]
            assert isinstance(status, BucketStatus)
            assert status.pending == 1
        error = found[outage.lost]
        assert isinstance(error, BufferUnavailable)
        assert error.node == outage.node
        assert f"for bucket '{outage.lost}' at {outage.node}" in str(error)
        assert histories(buckets) == [[], [], []]

    def test_of_all_buckets_that_are_asked_for_is_an_error(self, outage: Outage) -> None:
        with pytest.raises(BufferUnavailable, match=outage.node):
            statuses([Bucket(outage.lost)])

    def test_show_buckets_shows_the_others(self, outage: Outage) -> None:
        code, out, err = shown()
        assert code == 3
        assert all(name in out for name in outage.others)
        assert f"for bucket '{outage.lost}' at {outage.node}" in out
        assert err == f"Cannot be read: {outage.lost}."
        assert shown(*outage.others)[0] == 0
        assert outage.node in shown(outage.lost)[2]

    @pytest.mark.parametrize(
        ("command", "options", "done"),
        [
            ("pause_buckets", [], "paused"),
            ("resume_buckets", [], "was not paused"),
            ("replay_dead_events", [], "0 dead letters replayed"),
            ("purge_buckets", ["--no-input"], "1 pending event discarded"),
            ("purge_buckets", ["--dead", "--no-input"], "0 dead letters discarded"),
        ],
    )
    def test_command_does_its_work_for_the_others(
        self, outage: Outage, command: str, options: list[str], done: str
    ) -> None:
        out = StringIO()
        with pytest.raises(CommandError) as caught:
            call_command(command, outage.lost, *outage.others, *options, stdout=out)
        assert out.getvalue().splitlines() == [f"{name}: {done}" for name in outage.others]
        assert caught.value.returncode == 1
        error, last = str(caught.value).splitlines()
        assert f"for bucket '{outage.lost}' at {outage.node}" in error
        assert last == f"Not done, or only in part: {outage.lost}."

    def test_purge_asks_for_what_it_can_count(
        self, outage: Outage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("builtins.input", lambda prompt: "no")
        out = StringIO()
        with pytest.raises(CommandError, match="Nothing was done"):
            call_command("purge_buckets", outage.lost, *outage.others, stdout=out)
        for name in outage.others:
            assert f"  {name}: 1 pending event\n" in out.getvalue()
        assert f"  {outage.lost}: not known, because it cannot be read\n" in out.getvalue()

    def test_command_waits_for_the_node_once(
        self, outage: Outage, nodes: list[EmbeddedRedis]
    ) -> None:
        """Not for each of its buckets."""
        place = next(place for place, node in enumerate(nodes) if outage.node in url_of(node))
        names = names_on(nodes, per_node=20)[place]
        for name in names:
            Bucket(name).processor(print)
        began = time.monotonic()
        with pytest.raises(CommandError, match=f": {', '.join(sorted(names))}"):
            call_command("pause_buckets", "*", stdout=StringIO())
        assert time.monotonic() - began < 10 * TIMEOUT_SECONDS

    def test_admin_lists_the_others(self, outage: Outage, admin_client: Client) -> None:
        response = admin_client.get(reverse("admin:django_jsonbuffer_bucket_changelist"))
        assert response.status_code == 200
        [lost] = [row for row in response.context["rows"] if row.figures is None]
        assert lost.bucket_state.bucket.name == outage.lost
        assert outage.node in response.text
        assert response.context["listing"].gap is None

    def test_admin_shows_that_the_lost_bucket_is_unreadable(
        self, outage: Outage, admin_client: Client
    ) -> None:
        url = reverse("admin:django_jsonbuffer_bucket_change", args=[outage.lost])
        response = admin_client.get(url)
        assert response.status_code == 200
        assert '<span class="state state-unreadable">unreadable</span>' in response.text
        assert outage.node in response.text
        assert "No action has been taken on this bucket in the admin." in response.text
        url = reverse("admin:django_jsonbuffer_bucket_change", args=[outage.others[0]])
        assert "state-unreadable" not in admin_client.get(url).text

    def test_admin_leaves_the_lost_bucket_out(self, outage: Outage, admin_client: Client) -> None:
        url = reverse("admin:django_jsonbuffer_bucket_bulk")
        asked = admin_client.post(url, {"action": "pause", "across": "1"})
        assert "Left out, because they cannot be read: 1." in asked.text
        assert f'name="names" value="{" ".join(outage.others)}"' in asked.text

    def test_admin_acts_on_the_others(self, outage: Outage, admin_client: Client) -> None:
        """If the node is lost after the question."""
        url = reverse("admin:django_jsonbuffer_bucket_bulk")
        names = " ".join(sorted([outage.lost, *outage.others]))
        sent = {"action": "pause", "names": names, "confirmed": "1"}
        response = admin_client.post(url, sent, follow=True)
        [message] = [str(each) for each in response.context["messages"]]
        assert message.startswith(f"Paused: 2 buckets. With trouble: 1. {outage.lost}: Redis")
        assert outage.node in message
        assert all(Bucket(name).status().paused is not None for name in outage.others)
        entries = LogEntry.objects.filter(change_message__startswith="Ended halfway: pause.")
        assert [entry.object_id for entry in entries] == [outage.lost]

    def test_states_are_unreadable(self, outage: Outage) -> None:
        names = [outage.lost, *outage.others]
        found = {each.bucket.name: each.state for each in read_states([*map(Bucket, names)])}
        assert found.pop(outage.lost) is State.UNREADABLE
        assert State.UNREADABLE not in found.values()

    @checks_databases
    def test_check_warns_and_names_the_node(self, outage: Outage) -> None:
        Bucket(outage.lost).processor(print)
        errors = [str(error) for error in run_checks(include_deployment_checks=True)]
        assert any("W017" in error for error in errors)
        assert not any("E007" in error for error in errors)


class TestNodeOfTheCatalogHangs:
    def test_declared_buckets_are_known(
        self, outage_of_catalog: Outage, caplog: pytest.LogCaptureFixture
    ) -> None:
        known, gap = read_known()
        assert [bucket.name for bucket in known] == outage_of_catalog.others[:1]
        assert gap is not None
        assert gap.node == outage_of_catalog.node
        assert len(known_buckets()) == 1
        assert "Only declared buckets are known" in caplog.text

    def test_show_buckets_says_so(self, outage_of_catalog: Outage) -> None:
        [name, *_] = outage_of_catalog.others
        code, out, err = shown()
        assert (code, name in out) == (3, True)
        assert "Only declared buckets are known" in err
        assert outage_of_catalog.node in err
        assert shown(name)[::2] == (0, "")
        assert shown(f"{name}*")[0] == 3
        code, out, _ = shown("--format", "json")
        assert [row["bucket"] for row in json.loads(out)] == [name]

    def test_admin_says_so(self, outage_of_catalog: Outage, admin_client: Client) -> None:
        [name, other] = outage_of_catalog.others
        response = admin_client.get(reverse("admin:django_jsonbuffer_bucket_changelist"))
        assert response.status_code == 200
        assert "Only declared buckets are listed." in response.text
        assert [row.bucket_state.bucket.name for row in response.context["rows"]] == [name]
        for page, status in ((name, 200), (other, 503)):
            url = reverse("admin:django_jsonbuffer_bucket_change", args=[page])
            assert admin_client.get(url).status_code == status

    def test_admin_acts_on_those_that_it_knows(
        self, outage_of_catalog: Outage, admin_client: Client
    ) -> None:
        """It refuses an action on buckets that it cannot look up, and does nothing then."""
        [name, other] = outage_of_catalog.others
        url = reverse("admin:django_jsonbuffer_bucket_bulk")
        question, answer = {"action": "pause"}, {"action": "pause", "confirmed": "1"}
        for sent in ({**question, "bucket": [name, other]}, {**answer, "names": f"{name} {other}"}):
            response = admin_client.post(url, sent)
            assert response.status_code == 503
            assert outage_of_catalog.node in response.text
        assert Bucket(name).status().paused is None
        assert admin_client.post(url, {**question, "bucket": name}).status_code == 200
        assert admin_client.post(url, {**answer, "names": name}).status_code == 302
        assert Bucket(name).status().paused is not None
        assert Bucket(other).status().paused is None
        assert [entry.object_id for entry in LogEntry.objects.all()] == [name]


@pytest.mark.django_db(transaction=True)
class TestPatternWhileTheNodeOfTheCatalogHangs:
    """Buckets of a pattern are not known then."""

    @pytest.fixture
    def got(self, outage_of_catalog: Outage) -> list[Any]:
        """The events that were processed. One bucket is declared, the other is of a pattern."""
        got: list[Any] = []
        known, other = (Bucket(name) for name in outage_of_catalog.others)
        for bucket in (known, Bucket("bucket-*")):
            bucket.processor(got.extend)
        known.append("declared")
        other.append("other")
        return got

    def test_drain_says_so(self, outage_of_catalog: Outage, got: list[Any]) -> None:
        code, _, err = said("drain_buckets")
        assert (code, got) == (1, [1, "declared"])
        assert "Only declared buckets are known" in err
        assert outage_of_catalog.node in err
        [_, other] = outage_of_catalog.others
        assert said("drain_buckets", other)[::2] == (0, "")
        assert got == [1, "declared", 1, "other"]

    def test_drain_that_knows_no_bucket_says_so(self, outage_of_catalog: Outage) -> None:
        declared.processors.clear()
        Bucket("bucket-*").processor(print)
        for arguments in ([], ["bucket-*"]):
            code, _, err = said("drain_buckets", *arguments)
            assert code == 1
            assert outage_of_catalog.node in err

    def test_drain_all_raises_the_error(self, outage_of_catalog: Outage, got: list[Any]) -> None:
        with pytest.raises(BufferUnavailable, match=outage_of_catalog.node):
            drain_all()
        assert got == [1, "declared"]
        assert drain_all(outage_of_catalog.others[1])

    @pytest.mark.parametrize("module", [celery, tasks])
    def test_tasks_are_sent_for_the_others(
        self,
        module: Any,
        outage_of_catalog: Outage,
        got: list[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        sent: list[str] = []
        task = SimpleNamespace(
            apply_async=lambda args, **options: sent.append(args[0]),
            enqueue=lambda name, *args: sent.append(name),
        )
        monkeypatch.setattr(module, "drain_bucket", task)
        task = module.drain_buckets
        with pytest.raises(BufferUnavailable, match=outage_of_catalog.node):
            getattr(task, "func", task)()
        assert sent == outage_of_catalog.others[:1]

    def test_other_commands_say_so(self, outage_of_catalog: Outage, got: list[Any]) -> None:
        [known, _] = outage_of_catalog.others
        for command, expected in (("pause_buckets", 1), ("dead_events", 3)):
            for arguments in (["bucket-*"], ["nothing-*", known]):
                code, out, err = said(command, *arguments)
                assert (code, "paused" in out) == (expected, command == "pause_buckets")
                assert "Only declared buckets are known" in err
                assert outage_of_catalog.node in err
            assert said(command, known)[::2] == (0, "")


@pytest.mark.django_db(transaction=True)
class TestNodeOfTheShardsHangs:
    def test_commands_say_so(self, outage_of_shards: Outage) -> None:
        name, _ = outage_of_shards.others
        for command, expected in (
            *(("show_buckets", 3), ("dead_events", 3)),
            *(("drain_buckets", 1), ("pause_buckets", 1)),
        ):
            code, out, err = said(command, name)
            assert (code, bool(out)) == (expected, True)
            assert "If a bucket had more shards than its option" in err
            assert outage_of_shards.node in err

    def test_drain_all_raises_the_error_in_the_end(self, outage_of_shards: Outage) -> None:
        got: list[Any] = []
        Bucket("*").processor(got.extend)
        with pytest.raises(BufferUnavailable, match=outage_of_shards.node):
            drain_all(*outage_of_shards.others)
        assert got == [1]

    def test_user_of_an_older_version_needs_no_shards(
        self, private_server: Redis, use_cache: Callable[..., str]
    ) -> None:
        private_server.execute_command(
            "ACL", "SETUSER", "old", "on", ">x", "~*", "+@all", "-smembers"
        )
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://old:x@{path}?db=0", OPTIONS={})
        Bucket("orders").processor(print)
        Bucket("orders").append(1)
        assert said("drain_buckets", "orders")[::2] == (0, "")


class TestAllNodes:
    @checks_databases
    def test_are_counted_for_each_check(self, nodes: list[EmbeddedRedis]) -> None:
        Bucket("orders").append(1)
        with client_of(nodes[2]) as plain:
            plain.config_set("maxmemory-policy", "allkeys-lru")
            plain.config_set("cluster-require-full-coverage", "yes")
            found = {error.id for error in run_checks(include_deployment_checks=True)}
            assert {"django_jsonbuffer.W006", "django_jsonbuffer.W016"} <= found
            plain.config_set("maxmemory-policy", "noeviction")
            plain.config_set("cluster-require-full-coverage", "no")
        found = {error.id for error in run_checks(include_deployment_checks=True)}
        assert not {"django_jsonbuffer.W006", "django_jsonbuffer.W016"} & found
