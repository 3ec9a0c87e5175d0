import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import translation

from django_jsonbuffer import Bucket, isolation
from django_jsonbuffer.admin import BucketAdmin, attention
from django_jsonbuffer.admin.attention import Attention
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.models import Bucket as BucketModel
from django_jsonbuffer.store.breakers import breakers
from django_jsonbuffer.templatetags.jsonbuffer_attention import with_attention
from example_project.embedded_redis import EmbeddedRedis
from tests.admin.pages import PAGE
from tests.cluster import hung
from tests.prepared import bury, make_old, store_of
from tests.server import Redis
from tests.test_embedded_redis import wait_until
from tests.test_show_buckets import bury as bury_foreign

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]

THREAD = "attention to buckets"


def line(client: Client, *, path: str = "/admin/") -> str:
    """What the index says behind the name of the buckets. Empty if it says nothing."""
    response = client.get(path)
    assert response.status_code == 200
    page = response.content.decode()
    _, _, link = page.partition(f'<a href="{path}django_jsonbuffer/bucket/">Buckets')
    text, end, _ = link.partition("</a>")
    assert end
    if not text:
        return ""
    start = ': <span class="jsonbuffer-attention">'
    assert text.startswith(start)
    return text.removeprefix(start).removesuffix("</span>")


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that gets the name of the thread of each reading."""
    made: list[str] = []
    read = Attention.read

    def counted() -> Attention:
        made.append(threading.current_thread().name)
        return read()

    monkeypatch.setattr(Attention, "read", counted)
    return made


def has_ended() -> bool:
    return all(thread.name != THREAD for thread in threading.enumerate())


@pytest.fixture
def stalled(client_of_server: Redis) -> None:
    Bucket("orders").append(1)
    make_old(client_of_server, "orders")


class TestLine:
    def test_is_missing_if_all_is_well(self, admin_client: Client) -> None:
        Bucket("flowing").append(1)
        Bucket("empty").processor(print)
        Bucket("paused").append(1)
        Bucket("paused").pause()
        assert line(admin_client) == ""

    def test_counts_the_buckets_that_need_attention(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        for name in ("a", "b"):
            Bucket(name).append(1)
            make_old(client_of_server, name)
        bury(*range(1037))
        assert line(admin_client) == "2 stalled, 1 needs a decision (1,037 dead letters)"
        assert line(admin_client, path="/second/") == line(admin_client)

    @pytest.mark.usefixtures("stalled")
    def test_is_in_the_language_of_the_visitor(self, admin_client: Client) -> None:
        with translation.override("fr"):
            page = admin_client.get("/admin/").content.decode()
        said = "1\xa0× bloqué"
        assert f'>Buckets\xa0: <span class="jsonbuffer-attention">{said}</span></a>' in page

    def test_counts_the_dead_letters_of_buckets_that_need_a_decision(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        bury(1, 2)
        bury_foreign(client_of_server, "mails")
        bury_foreign(client_of_server, "paused")
        Bucket("paused").pause()
        assert line(admin_client) == "2 need a decision (3 dead letters)"

    def test_begins_with_the_most_urgent(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        bury_foreign(client_of_server, "mails")
        for name in ("behind", "broken"):
            Bucket(name).append(1)
        store_of("behind").beat("worker", lease=timedelta(minutes=1))
        make_old(client_of_server, "behind")
        client_of_server.delete(Bucket("broken").key)
        client_of_server.lpush(Bucket("broken").key, "theirs")
        said = "1 unreadable, 1 behind, 1 needs a decision (1 dead letter)"
        assert line(admin_client) == said

    @pytest.mark.usefixtures("stalled")
    def test_is_for_those_who_may_view_buckets(
        self, staff_client: Client, staff: User, readings: list[str]
    ) -> None:
        staff.user_permissions.add(Permission.objects.get(codename="view_user"))
        page = staff_client.get("/admin/").content.decode()
        assert "attention" not in page
        assert readings == []
        staff.user_permissions.add(Permission.objects.get(codename="view_bucket"))
        assert line(staff_client) == "1 stalled"

    @pytest.mark.usefixtures("stalled")
    @pytest.mark.parametrize(
        ("perms", "is_shown"), [({"view": True}, True), ({"add": True}, False)]
    )
    def test_is_for_nobody_who_may_only_do_something_else(
        self, perms: dict[str, bool], is_shown: bool
    ) -> None:
        """A project may give other permissions in a subclass of `BucketAdmin`."""
        models = [{"model": BucketModel, "name": "Buckets", "perms": perms}]
        [app] = with_attention([{"models": models}])
        assert (app["models"] == models) == (not is_shown)
        assert models[0]["name"] == "Buckets"

    @pytest.mark.usefixtures("stalled")
    def test_is_on_the_index_alone(self, admin_client: Client, readings: list[str]) -> None:
        for path in ("/admin/django_jsonbuffer/", "/admin/auth/user/", PAGE):
            assert "jsonbuffer-attention" not in admin_client.get(path).content.decode()
        assert readings == []

    def test_is_missing_if_the_settings_are_wrong(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(PREFIX="{")
        assert line(admin_client) == ""
        configure(PREFIX="right", CACHE="missing")
        assert line(admin_client) == "cannot be read"


class TestSite:
    def test_keeps_a_template_of_its_own(self) -> None:
        class Site(AdminSite):
            index_template = "mine.html"

        site = Site()
        BucketAdmin(BucketModel, site)
        assert site.index_template == "mine.html"
        assert AdminSite.index_template is None

    def test_may_do_without_the_line(self) -> None:
        class Admin(BucketAdmin):
            index_template = None

        site = AdminSite()
        Admin(BucketModel, site)
        assert site.index_template is None


@pytest.mark.usefixtures("stalled")
class TestReading:
    def test_serves_all_visits_of_some_seconds(
        self, admin_client: Client, readings: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(3):
            assert line(admin_client) == "1 stalled"
        assert readings == [THREAD]
        Bucket("orders").pause()
        assert line(admin_client) == "1 stalled"
        monkeypatch.setattr(attention, "FRESH_SECONDS", 0.0)
        assert line(admin_client) == ""
        assert readings == [THREAD] * 2

    def test_is_of_one_place(
        self, admin_client: Client, configure: Callable[..., None], prefix: str
    ) -> None:
        assert line(admin_client) == "1 stalled"
        configure(PREFIX=f"{prefix}-other")
        assert line(admin_client) == ""

    def test_leaves_no_thread(self, admin_client: Client) -> None:
        line(admin_client)
        wait_until(has_ended)

    def test_is_forgotten_in_a_child_process(self, admin_client: Client) -> None:
        line(admin_client)
        assert attention._glances
        child = os.fork()
        if child == 0:
            os._exit(len(attention._glances))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_is_forgotten_with_its_isolation(self, admin_client: Client) -> None:
        with isolation.isolated("memory"):
            assert line(admin_client) == ""
            place = (configuration().cache, configuration().prefix)
            assert place in attention._glances
        assert place not in attention._glances
        assert line(admin_client) == "1 stalled"

    def test_that_takes_long_is_waited_for_once(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        may_end, read, begun = threading.Event(), Attention.read, []

        def slow() -> Attention:
            begun.append(1)
            may_end.wait(60)
            return read()

        monkeypatch.setattr(Attention, "read", slow)
        attention.describe_attention()  # it has waited for the first one
        for _ in range(5):
            began = time.monotonic()
            assert attention.describe_attention() == ""
            assert time.monotonic() - began < 0.1
        assert begun == [1]
        may_end.set()
        wait_until(lambda: attention.describe_attention() == "1 stalled")
        assert begun == [1]

    def test_shows_the_last_one_while_the_next_one_takes_long(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert line(admin_client) == "1 stalled"
        may_end = threading.Event()
        monkeypatch.setattr(Attention, "read", lambda: may_end.wait(60))
        monkeypatch.setattr(attention, "FRESH_SECONDS", 0.0)
        assert line(admin_client) == "1 stalled"
        monkeypatch.setattr(attention, "SHOWN_SECONDS", 0.0)
        assert line(admin_client) == ""
        may_end.set()
        wait_until(has_ended)


def timed_line(client: Client) -> tuple[str, float]:
    began = time.monotonic()
    return line(client), time.monotonic() - began


class TestRedisAway:
    def test_is_asked_once_in_a_while(
        self,
        admin_client: Client,
        unreachable: str,
        readings: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for _ in range(3):
            assert line(admin_client) == "cannot be read"
        assert readings == [THREAD]
        monkeypatch.setattr(attention, "PAUSE_SECONDS", 0.0)
        assert line(admin_client) == "cannot be read"
        assert readings == [THREAD] * 2

    @pytest.mark.usefixtures("stalled")
    def test_is_not_asked_while_the_circuit_breaker_is_open(
        self, admin_client: Client, readings: list[str]
    ) -> None:
        error = BufferUnavailable("away")
        error.is_unreachable = True
        breakers[configuration().cache].learn(error, seconds=1)
        assert line(admin_client) == "cannot be read"
        assert readings == []
        breakers.clear()
        assert line(admin_client) == "1 stalled"

    @pytest.mark.usefixtures("stalled")
    def test_is_shown_when_it_is_back(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read, refused = Attention.read, BufferUnavailable("away")

        def refuse() -> Any:
            raise refused

        monkeypatch.setattr(Attention, "read", refuse)
        assert line(admin_client) == "cannot be read"
        monkeypatch.setattr(Attention, "read", read)
        assert line(admin_client) == "cannot be read"
        monkeypatch.setattr(attention, "PAUSE_SECONDS", 0.0)
        assert line(admin_client) == "1 stalled"

    def test_that_hangs_costs_one_visit_a_fifth_of_a_second(
        self, admin_client: Client, use_cache: Callable[..., str], readings: list[str]
    ) -> None:
        with EmbeddedRedis() as embedded:
            use_cache(embedded.url, OPTIONS={})
            assert line(admin_client) == ""  # connects
            attention._glances.clear()
            with hung(embedded):
                said, seconds = timed_line(admin_client)
                assert said == ""
                assert seconds >= attention.WAIT_SECONDS
                visits = [timed_line(admin_client) for _ in range(3)]
                assert {said for said, _ in visits} == {""}
                assert min(seconds for _, seconds in visits) < attention.WAIT_SECONDS
                assert readings == [THREAD] * 2
            wait_until(has_ended)
