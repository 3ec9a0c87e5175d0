import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import pytest

from example_project.books import Delivery, Refusals, Totals, differences, uneven_rows
from example_project.children import Child, ChildFailed
from example_project.traffic import Change

PROJECT = Path(__file__).resolve().parents[2]

SHOP_WITHOUT_REDIS = """
from django.core.management import call_command
from django.test import Client

call_command("migrate", verbosity=0)
visitor = Client(headers={"host": "localhost"})
assert visitor.get("/").status_code == 200
assert visitor.post("/products/ledger/order/", {"quantity": 2}).status_code == 302
assert visitor.get("/products/ledger/").status_code == 200
assert visitor.get("/admin/login/").status_code == 200
"""

SET_UP = """
import contextlib, os, django
from example_project.embedded_redis import redis_url

ending = contextlib.ExitStack()
os.environ["REDIS_URL"] = ending.enter_context(redis_url())
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""

BOOKS = """
from types import SimpleNamespace
from django.utils import timezone
from example_project.books import Books
from example_project.shop import models
from example_project.traffic import Change

ledger = models.Product.objects.get(slug="ledger")
traffic = SimpleNamespace(
    user_agent="demo/1/",
    answered=["demo/1/0/1", "demo/1/0/2"],
    product_pages=1,
    changes=[Change("7", "shop.order.created", "new")],
    rolled_back=0,
    failed=0,
)
books = Books(traffic, products=[ledger.get_absolute_url()])

def view(user_agent, path="/"):
    return models.PageView.objects.create(
        path=path, method="GET", status_code=200, user_agent=user_agent, duration_ms=1,
        at=timezone.now(),
    )

def change(model, event_id):
    return model.objects.create(
        event_id=event_id, type="shop.order.created", subject="7", at=timezone.now(),
        data={"status": "new"},
    )

def faults():
    return list(books.faults())

view("demo/1/0/1")
view("demo/1/0/2", ledger.get_absolute_url())
view("somebody else", ledger.get_absolute_url())
counter = models.ProductViews.objects.create(product=ledger, day=timezone.localdate(), views=2)
audited = change(models.AuditEntry, "1")
received = change(models.ReceivedChange, "1")
assert faults() == [], faults()
"""

DOUBLE_ROW = """
view("demo/1/0/2")
assert faults() == [
    "3 rows stored of 2 requests sent",
    "request demo/1/0/2 should have 1 rows, and has 2",
], faults()
"""

DOUBLE_ROW_IN_PLACE_OF_ANOTHER = """
models.PageView.objects.filter(user_agent="demo/1/0/1").update(user_agent="demo/1/0/2")
assert faults() == [
    "request demo/1/0/1 should have 1 rows, and has 0",
    "request demo/1/0/2 should have 1 rows, and has 2",
], faults()
"""

WRONG_COUNTER = """
counter.views = 3
counter.save()
assert faults() == ["3 views counted of 2 product pages"], faults()
"""

MISSING_DELIVERY = """
received.delete()
assert faults() == [
    "order 7 should be delivered as shop.order.created new, and is as nothing"
], faults()
"""

MISSING_AUDIT = """
audited.delete()
assert faults() == [
    "order 7 should be audited as shop.order.created new, and is as nothing"
], faults()
"""

PENDING_WEBHOOK = """
from example_project.shop.buckets import webhooks
webhooks.append({"type": "shop.order.created"})
assert books.webhooks_wait()
assert faults() == ["1 pending"], faults()
"""

ENDPOINT = """
import json
from datetime import datetime, timedelta, timezone
from django.conf import settings
from django.test import Client
from standardwebhooks.webhooks import Webhook
from example_project.shop.buckets import page_views
from example_project.shop.models import ReceivedChange, WebhookRequest
from example_project.shop.webhook_endpoint import Service, service

change = {
    "specversion": "1.0", "id": "1", "source": "/shop", "type": "shop.order.created",
    "subject": "7", "time": "2026-11-25T10:15:30Z", "data": {"status": "new"},
}
client = Client(headers={"host": "localhost"}, enforce_csrf_checks=True)

def post(secret=settings.WEBHOOK_SECRET, at=None, changes=(change,), **more):
    at, body = at or datetime.now(timezone.utc), json.dumps(list(changes))
    headers = {
        "webhook-id": "batch", "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("batch", at, body), **more,
    }
    kind = "application/cloudevents-batch+json"
    return client.post("/webhooks/", body, content_type=kind, headers=headers)

hours_ago = datetime.now(timezone.utc) - timedelta(hours=1)
assert client.post("/webhooks/").status_code == 401
assert post(secret="whsec_" + "AAAA" * 8).status_code == 401
assert post(at=hours_ago).status_code == 401
assert post(**{"webhook-id": "another"}).status_code == 401
assert post(**{"webhook-timestamp": "now"}).status_code == 401
assert not WebhookRequest.objects.exists()

moods = Service()
assert moods.answer(now_seconds=0) == (503, 2)
assert moods.answer(now_seconds=0.5) == (503, 2)
assert moods.answer(now_seconds=1.5) == (503, 1)
assert moods.answer(now_seconds=2) == (204, 0)

assert service.answer(now_seconds=-10) == (503, 2)
assert [post().status_code for _ in range(3)] == [204] * 3
assert ReceivedChange.objects.get().data == {"status": "new"}
answers = [post(changes=[{**change, "id": "2"}]) for _ in range(6)]
assert [answer.status_code for answer in answers] == [500, 204, 204, 204, 429, 429]
assert answers[4]["Retry-After"] == "1"
assert ReceivedChange.objects.count() == 2
assert WebhookRequest.objects.filter(status_code__gte=400).count() == 3
assert not page_views.status().pending
assert client.get("/webhooks/").status_code == 405
"""


@pytest.fixture(autouse=True)
def environment_of_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of its own, since two demos must not count each other's rows."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "example_project.settings")


@pytest.fixture
def port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])


@pytest.fixture
def running_demo(port: int) -> Iterator[subprocess.Popen[str]]:
    """A demo whose traffic has begun."""
    with start_demo("--port", str(port)) as demo:
        try:
            assert demo.stdout
            for line in demo.stdout:
                if re.search(r"[1-9]\d* requests", line):
                    break
            yield demo
        finally:
            demo.kill()


def start_demo(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "example_project.demo", *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_demo(*arguments: str) -> tuple[int, str]:
    with start_demo(*arguments) as demo:
        said, _ = demo.communicate(timeout=60)
    return demo.returncode, said


def run_in_shop(code: str, folder: Path) -> str:
    """Run code with the settings of the shop and a database of its own. Returns what it logs."""
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3"}
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 0, said.stderr
    return said.stderr


def visit(port: int) -> None:
    """Look at the shop as somebody whose page view the demo must store, but not count."""
    visitor = HTTPConnection("127.0.0.1", port)
    visitor.request("GET", "/")
    assert visitor.getresponse().status == 200
    visitor.close()


def running_processes() -> dict[int, int]:
    """The parent of each process that is not a zombie."""
    table: list[Sequence[str]]
    if Path("/proc/self/stat").exists():
        stats = Path("/proc").glob("[0-9]*/stat")
        table = [(stat.parent.name, *read_stat(stat)) for stat in stats]
    else:
        ps = subprocess.run(["ps", "-A", "-o", "pid=,stat=,ppid="], capture_output=True, text=True)
        table = [line.split() for line in ps.stdout.splitlines()]
    return {int(pid): int(parent) for pid, state, parent in table if state[0] not in "ZX"}


def read_stat(stat: Path) -> tuple[str, str]:
    try:
        state, parent, *_ = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return "X", "0"
    return state, parent


def descendants(ancestor: int) -> set[int]:
    processes = running_processes()
    found = {ancestor}
    while more := {pid for pid, parent in processes.items() if parent in found} - found:
        found |= more
    return found


def wait_until_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 10
    while left := pids & running_processes().keys():
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)


class TestDemo:
    def test_everything_arrives_and_is_counted(self, port: int) -> None:
        status, said = run_demo("--seconds", "3", "--port", str(port), "--rate", "40")
        assert status == 0, said
        totals = re.findall(r"(\d+) requests, (\d+) rows; .* (\d+) pending", said)
        sent, stored, pending = map(int, totals[-1])
        assert sent == stored > 0
        assert pending == 0
        orders = re.findall(r"(\d+) changes, (\d+) audited, (\d+) delivered", said)
        changes, audited, delivered = map(int, orders[-1])
        assert changes == audited == delivered > 0
        details = re.findall(r"(\d+) product pages, (\d+) counted; (\d+) payments", said)
        viewed, counted, rolled_back = map(int, details[-1])
        assert viewed == counted > 0
        assert rolled_back > 0
        assert f"http://127.0.0.1:{port}/admin/" in said
        refusal = re.search(r"A webhook with (\d+) changes? is refused \(503\)", said)
        assert refusal, said
        recovery = said[refusal.end() :]
        assert re.search(rf"The webhook with {refusal[1]} changes? has come again after", recovery)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signal_drains_and_leaves_nothing_running(
        self, running_demo: subprocess.Popen[str], port: int, number: signal.Signals
    ) -> None:
        family = descendants(running_demo.pid)
        # The demo; and for folder, server, site and watcher a guard, its listener and its command.
        assert len(family) == 13
        visit(port)
        running_demo.send_signal(number)
        said, _ = running_demo.communicate(timeout=30)
        assert running_demo.returncode == 0, said
        assert "Nothing is pending" in said
        wait_until_gone(family)

    def test_kill_leaves_nothing_running(self, running_demo: subprocess.Popen[str]) -> None:
        family = descendants(running_demo.pid)
        running_demo.kill()
        running_demo.wait()
        wait_until_gone(family)


class TestRefusal:
    def test_port_that_is_taken(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            status, said = run_demo("--port", str(port))
        assert status == 1
        assert said.startswith(f"demo: port {port} of 127.0.0.1 is not free")
        assert said.count("\n") == 1

    def test_redis_that_is_not_there(self, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock?db=0")
        status, said = run_demo("--port", str(port))
        assert status == 1
        assert said.startswith("demo: ")
        assert "Traceback" not in said

    def test_command_that_dies_is_named_and_quoted(self) -> None:
        said = r"(?s)manage.py check --nonsense ended with exit status 2.*unrecognized arguments"
        with Child("check", "--nonsense") as child, pytest.raises(ChildFailed, match=said):
            child.wait()


FIGURES = {"changes": 5, "audited": 4, "delivered": 3, "refused": 2, "rolled_back": 1}


class TestTotals:
    def test_without_fault(self) -> None:
        waiting = {"pending": 0, "in_flight": 0, "dead": 0}
        totals = Totals(**FIGURES, **waiting, sent=7, stored=7, viewed=3, counted=3)
        assert list(totals.faults()) == []

    def test_each_difference_is_a_fault(self) -> None:
        waiting = {"pending": 1, "in_flight": 1, "dead": 2}
        totals = Totals(**FIGURES, **waiting, sent=7, stored=3, viewed=3, counted=4)
        assert list(totals.faults()) == [
            "3 rows stored of 7 requests sent",
            "4 views counted of 3 product pages",
            "1 pending",
            "1 in flight",
            "2 among the dead letters",
        ]


class TestUnevenRows:
    def test_none(self) -> None:
        assert list(uneven_rows(["a", "b"], ["b", "a"])) == []

    def test_missing_double_and_unanswered(self) -> None:
        assert list(uneven_rows(["a", "b"], ["b", "b", "c"])) == [
            "request a should have 1 rows, and has 0",
            "request b should have 1 rows, and has 2",
            "request c should have 0 rows, and has 1",
        ]


class TestRefusals:
    START = datetime(2026, 11, 25, 10, tzinfo=UTC)

    def delivery(self, status: int, *, seconds: float = 0, id: str = "a") -> Delivery:
        return Delivery(id, self.START + timedelta(seconds=seconds), status, changes=2)

    def test_accepted_at_once_is_no_news(self) -> None:
        assert list(Refusals().note(self.delivery(204))) == []

    def test_time_counts_from_the_first_refusal(self) -> None:
        refusals = Refusals()
        for seconds, status in ((0, 503), (1, 500)):
            [line] = refusals.note(self.delivery(status, seconds=seconds))
            assert line == f"A webhook with 2 changes is refused ({status}), and will come again."
        assert list(refusals.note(self.delivery(204, id="b"))) == []
        [line] = refusals.note(self.delivery(204, seconds=3.25))
        assert line == ("The webhook with 2 changes has come again after 3.2 s, and is accepted.")


class TestDifferences:
    MADE = (
        Change("7", "shop.order.created", "new"),
        Change("8", "shop.order.created", "new"),
        Change("7", "shop.order.updated", "paid"),
    )

    def test_none(self) -> None:
        others_first = [self.MADE[1], self.MADE[0], self.MADE[2]]
        assert list(differences(self.MADE, others_first, word="audited")) == []

    @pytest.mark.parametrize(
        ("found", "order"),
        [
            (MADE[:2], "7"),
            ([*MADE, MADE[2]], "7"),
            ([MADE[2], MADE[0], MADE[1]], "7"),
            ([*MADE, Change("8", "shop.order.updated", "paid")], "8"),
            ([MADE[0], MADE[2]], "8"),
            ([*MADE, Change("9", "shop.order.created", "new")], "9"),
        ],
        ids=["missing", "twice", "in another order", "rolled back", "nothing", "never made"],
    )
    def test_is_told(self, found: Sequence[Change], order: str) -> None:
        [fault] = differences(self.MADE, found, word="delivered")
        assert fault.startswith(f"order {order} should be delivered as ")


class TestBooks:
    @pytest.mark.parametrize(
        "fault",
        [
            DOUBLE_ROW,
            DOUBLE_ROW_IN_PLACE_OF_ANOTHER,
            WRONG_COUNTER,
            MISSING_DELIVERY,
            MISSING_AUDIT,
            PENDING_WEBHOOK,
        ],
        ids=[
            "double row",
            "double row in place of another",
            "wrong counter",
            "missing delivery",
            "missing audit",
            "pending webhook",
        ],
    )
    def test_fault_is_found(self, fault: str, tmp_path: Path) -> None:
        run_in_shop(SET_UP + BOOKS + fault, tmp_path)


class TestWebhookEndpoint:
    def test_accepts_signed_requests_except_by_turns(self, tmp_path: Path) -> None:
        run_in_shop(SET_UP + ENDPOINT, tmp_path)


class TestShop:
    def test_answers_while_redis_is_away(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock?db=0")
        said = run_in_shop("import django\ndjango.setup()" + SHOP_WITHOUT_REDIS, tmp_path)
        assert said.count("No page view of /") == 3
        for bucket in ("product-views", "orders", "webhooks"):
            assert said.count(f"Bucket {bucket}: 1 events are lost.") == 1
