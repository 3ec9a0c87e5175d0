import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path

import pytest

from example_project.demo import Child, DemoError, Totals, differences
from example_project.traffic import Change

PROJECT = Path(__file__).resolve().parent.parent

SHOP_WITHOUT_REDIS = """
from django.core.management import call_command
from django.test import Client

call_command("migrate", verbosity=0)
visitor = Client(headers={"host": "localhost"})
assert visitor.get("/").status_code == 200
assert visitor.post("/products/ledger/order/", {"quantity": 2}).status_code == 302
assert visitor.get("/admin/login/").status_code == 200
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
    def test_each_request_becomes_a_row(self, port: int) -> None:
        status, said = run_demo("--seconds", "3", "--port", str(port), "--rate", "40")
        assert status == 0, said
        totals = re.findall(r"(\d+) requests, (\d+) rows; .* (\d+) pending", said)
        sent, stored, pending = map(int, totals[-1])
        assert sent == stored > 0
        assert pending == 0
        orders = re.findall(r"(\d+) changes, (\d+) audited, (\d+) rolled back", said)
        changes, audited, rolled_back = map(int, orders[-1])
        assert changes == audited > 0
        assert rolled_back > 0
        assert f"http://127.0.0.1:{port}/admin/" in said

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
        assert "nothing is pending" in said
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
        with Child("check", "--nonsense") as child, pytest.raises(DemoError, match=said):
            child.wait()


FIGURES = {"changes": 5, "audited": 4, "rolled_back": 1}


class TestTotals:
    def test_without_fault(self) -> None:
        totals = Totals(**FIGURES, sent=7, stored=7, pending=0, in_flight=0, dead=0)
        assert list(totals.faults()) == []

    def test_each_difference_is_a_fault(self) -> None:
        totals = Totals(**FIGURES, sent=7, stored=3, pending=1, in_flight=1, dead=2)
        assert list(totals.faults()) == [
            "3 rows stored of 7 requests sent",
            "1 pending",
            "1 in flight",
            "2 among the dead letters",
        ]


class TestDifferences:
    MADE = (
        Change("7", "shop.order.created", "new"),
        Change("8", "shop.order.created", "new"),
        Change("7", "shop.order.updated", "paid"),
    )

    def test_none(self) -> None:
        others_first = [self.MADE[1], self.MADE[0], self.MADE[2]]
        assert list(differences(self.MADE, others_first)) == []

    @pytest.mark.parametrize(
        ("audited", "order"),
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
    def test_is_told(self, audited: Sequence[Change], order: str) -> None:
        [fault] = differences(self.MADE, audited)
        assert fault.startswith(f"order {order} should be audited as ")


class TestShop:
    def test_answers_while_redis_is_away(self, tmp_path: Path) -> None:
        environment = {
            **os.environ,
            "REDIS_URL": "unix:///nowhere/redis.sock?db=0",
            "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        }
        shell = [sys.executable, f"{PROJECT}/manage.py", "shell", "--command", SHOP_WITHOUT_REDIS]
        said = subprocess.run(shell, env=environment, capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        assert said.stderr.count("No page view of /") == 2
        assert said.stderr.count("Bucket orders: 1 events are lost.") == 1
