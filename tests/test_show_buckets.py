import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from prometheus_client.parser import text_string_to_metric_families

from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from tests import server
from tests.server import Redis
from tests.test_admin import make_old, put_history

pytestmark = pytest.mark.usefixtures("nothing_declared")


MANAGE = [sys.executable, str(Path(__file__).parent.parent / "manage.py")]


def show(*args: str, **options: Any) -> str:
    out = StringIO()
    call_command("show_buckets", *args, stdout=out, **options)
    return out.getvalue()


def facts(*args: str) -> dict[str, dict[str, Any]]:
    return {each["bucket"]: each for each in json.loads(show(*args, "--format", "json"))}


def refused(*args: str) -> tuple[str, int]:
    with pytest.raises(CommandError) as caught:
        show(*args)
    return str(caught.value), caught.value.returncode


def bury(plain: Redis, name: str) -> None:
    plain.set(Bucket(name).key, "no JSON")
    Bucket(name).append(1)


class TestTable:
    def test_has_a_line_for_each_bucket_and_says_why(self, client_of_server: Redis) -> None:
        Bucket("orders").extend(range(1234))
        Bucket("mails").append(1)
        make_old(client_of_server, "mails")
        lines = [re.sub(" {2,}", " | ", line) for line in show().splitlines()]
        heading, mails, *reasons, orders = lines
        assert heading == (
            "bucket | state | pending | oldest | in/min | out/min | dead | in flight | batches | "
            "bytes | workers"
        )
        assert mails == "mails | stalled | 1 | 1 hour | - | - | 0 | 0 | 1 | 3 bytes | 0"
        assert reasons == [
            " | The oldest event has waited for 1 hour.",
            " | Nobody drains it: no processor is declared.",
        ]
        assert re.fullmatch(
            r"orders \| flowing \| 1,234 \| \d+ seconds? \| - \| - \| 0 \| 0 \| 2 \| 4.9 KB \| 0",
            orders,
        )

    def test_of_no_bucket_is_a_heading(self) -> None:
        assert show().startswith("bucket  state  pending")

    def test_shows_those_that_are_named(self) -> None:
        for name in ("orders", "order-lines", "views"):
            Bucket(name).append(1)
        lines = show("views", "order*").splitlines()
        assert [line.split()[0] for line in lines] == ["bucket", "views", "order-lines", "orders"]

    def test_shows_one_that_cannot_be_read_beside_the_others(
        self, client_of_server: Redis, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("orders", "broken"):
            Bucket(name).append(1)
        client_of_server.delete(Bucket("broken").key)
        client_of_server.lpush(Bucket("broken").key, "theirs")
        with pytest.raises(CommandError, match="Cannot be read: broken") as caught:
            call_command("show_buckets")
        assert caught.value.returncode == 3
        said = capsys.readouterr().out
        assert "broken  unreadable        ?" in said
        assert "orders  flowing           1" in said


class TestJson:
    def test_has_all_facts(self, client_of_server: Redis) -> None:
        Bucket("orders", batch_size=2).extend([1, 2, 3])
        bury(client_of_server, "mails")
        Bucket("mails").pause()
        shown = facts()
        assert {
            name: shown["orders"][name] for name in ("state", "pending", "batches", "bytes")
        } == {
            "state": "flowing",
            "pending": 3,
            "batches": {"open": 1, "sealed": 1, "in_flight": 0},
            "bytes": 8,
        }
        assert 0 <= shown["orders"]["oldest_seconds"] < 60
        assert (shown["mails"]["state"], shown["mails"]["dead"]) == ("paused", 1)
        assert 0 <= shown["mails"]["paused_seconds"] < 60
        assert shown["mails"]["dropped"] == {"newest": 0, "oldest": 0, "purged": 0, "discarded": 0}

    def test_has_rates(self, client_of_server: Redis) -> None:
        put_history(client_of_server, "orders", pending=[1, 2, 3])
        assert facts()["orders"]["appended_per_minute"] == pytest.approx(20 * 2 / 3, rel=0.1)

    def test_of_one_that_cannot_be_read_has_its_reason(self, client_of_server: Redis) -> None:
        client_of_server.lpush(Bucket("broken").key, "theirs")
        client_of_server.sadd(f"{configuration().prefix}:buckets", "broken")
        out = StringIO()
        with pytest.raises(CommandError):
            call_command("show_buckets", format="json", stdout=out)
        [broken] = json.loads(out.getvalue())
        assert broken["state"] == "unreadable"
        assert "holds a value of another type" in broken["reasons"][0]


class TestPrometheus:
    def samples(self) -> dict[tuple[str, ...], float]:
        families = [*text_string_to_metric_families(show("--format", "prometheus"))]
        assert all(family.documentation and family.samples for family in families)
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }

    def test_is_read_by_its_own_parser(self, client_of_server: Redis) -> None:
        Bucket("orders", batch_size=2).extend([1, 2, 3])
        bury(client_of_server, "mails")
        samples = self.samples()
        assert samples["jsonbuffer_pending_events", "orders"] == 3
        assert samples["jsonbuffer_batches", "orders", "sealed"] == 1
        assert samples["jsonbuffer_batches", "open", "orders"] == 1
        assert samples["jsonbuffer_dead_events", "mails"] == 1
        assert samples["jsonbuffer_appended_events_total", "orders"] == 3
        assert samples["jsonbuffer_dropped_events_total", "oldest", "orders"] == 0
        assert samples["jsonbuffer_state", "flowing", "orders"] == 1
        assert samples["jsonbuffer_state", "orders", "stalled"] == 0

    def test_of_no_bucket_is_read_too(self) -> None:
        assert [*text_string_to_metric_families(show("--format", "prometheus"))]


class TestLimits:
    def test_are_silent_while_they_hold(self, client_of_server: Redis) -> None:
        Bucket("orders").extend([1, 2])
        bury(client_of_server, "mails")
        show("--max-pending", "2", "--max-age", "60", "--max-dead", "1")

    @pytest.mark.parametrize(
        ("limit", "message"),
        [
            (("--max-pending", "1"), "orders: 2 pending, more than 1."),
            (
                ("--max-pending", "0"),
                "mails: 1 pending, more than 0.\norders: 2 pending, more than 0.",
            ),
            (("--max-age", "60"), "orders: the oldest is 3,600 s old, more than 60 s."),
            (("--max-dead", "0"), "mails: 1 dead letters, more than 0."),
        ],
    )
    def test_that_are_crossed_are_said_with_exit_code_1(
        self, client_of_server: Redis, limit: tuple[str, str], message: str
    ) -> None:
        Bucket("orders").extend([1, 2])
        make_old(client_of_server, "orders")
        bury(client_of_server, "mails")
        assert refused(*limit) == (message, 1)

    def test_are_those_of_the_buckets_that_are_named(self) -> None:
        Bucket("orders").extend([1, 2])
        Bucket("mails").append(1)
        show("mails", "--max-pending", "1")
        assert refused("orders", "--max-pending", "1")[1] == 1


class TestRefusals:
    def test_unknown_bucket(self) -> None:
        Bucket("orders").append(1)
        message, code = refused("order")
        assert message.startswith("No bucket matches 'order'. There are: orders.")
        assert code == 2

    @pytest.mark.parametrize(
        "args",
        [
            *(("--max-pending", "-1"), ("--max-pending", "x"), ("--max-age", "0")),
            *(("--max-age", "nan"), ("--max-dead", "1.5"), ("--format", "xml")),
            ("--interval", "0"),
        ],
    )
    def test_what_makes_no_sense(self, args: tuple[str, str]) -> None:
        with pytest.raises(CommandError, match="argument"):
            show(*args)

    def test_redis_that_is_away(self, unreachable: str) -> None:
        message, code = refused()
        assert "Redis cannot be reached" in message
        assert code == 3

    def test_unusable_settings(self, configure: Callable[..., None]) -> None:
        configure(CACHE="missing")
        assert refused()[1] == 3


def environment(prefix: str) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "REDIS_URL": server.URL,
        "REDIS_APP_URL": server.APP_URL,
        "TEST_PREFIX": prefix,
    }


class TestProcess:
    def test_exit_code_is_that_of_the_limit(self, prefix: str) -> None:
        Bucket("orders").extend([1, 2])
        command = [*MANAGE, "show_buckets", "orders", "--max-pending"]
        for most, code in (("2", 0), ("1", 1)):
            done = subprocess.run(
                [*command, most],
                env=environment(prefix),
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert (done.returncode, "orders" in done.stdout) == (code, True)
            assert ("more than 1" in done.stderr) == (code == 1)

    def test_exit_code_of_what_is_misconfigured_is_not_that_of_a_limit(self, prefix: str) -> None:
        settings = "from tests.settings import *; JSONBUFFER = {'CACHE': 'missing'}"
        code = (
            "import sys, types; module = types.ModuleType('unusable'); "
            f"exec({settings!r}, vars(module)); sys.modules['unusable'] = module; "
            "from django.core.management import execute_from_command_line as run; "
            "run(['manage.py', 'show_buckets', '--settings', 'unusable'])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(prefix),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 3
        assert "'missing'" in done.stderr

    def test_watch_goes_on_until_it_is_interrupted(self, prefix: str) -> None:
        Bucket("orders").append(1)
        command = [*MANAGE, "show_buckets", "--watch", "--interval", "0.05", "--format", "json"]
        with subprocess.Popen(
            command,
            env=environment(prefix),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as watching:
            assert watching.stdout is not None
            first = [each for each in json.loads(watching.stdout.readline()) if each["pending"]]
            assert [each["pending"] for each in first] == [1]
            Bucket("orders").append(2)
            deadline = time.monotonic() + 30
            while '"pending": 2' not in watching.stdout.readline():
                assert time.monotonic() < deadline
            watching.send_signal(signal.SIGINT)
            _, errors = watching.communicate(timeout=30)
        assert (watching.returncode, errors) == (0, "")

    def test_watch_on_a_terminal_writes_over_what_it_wrote(self, prefix: str) -> None:
        Bucket("orders").append(1)
        ours, theirs = pty.openpty()
        command = [*MANAGE, "show_buckets", "--watch", "--interval", "0.05"]
        with subprocess.Popen(command, env=environment(prefix), stdout=theirs) as watching:
            os.close(theirs)
            said = b""
            deadline = time.monotonic() + 30
            while said.count(b"\033[H\033[2J") < 3:
                assert time.monotonic() < deadline
                if select.select([ours], [], [], 1)[0]:
                    said += os.read(ours, 65536)
            watching.send_signal(signal.SIGINT)
            assert watching.wait(timeout=30) == 0
        os.close(ours)
        assert b"orders" in said

    def test_watch_waits_for_a_redis_that_is_away(self, private_server: Redis, prefix: str) -> None:
        path = private_server.get_connection_kwargs()["path"]
        env = {**environment(prefix), "REDIS_APP_URL": f"unix://{path}?db=0"}
        Bucket("orders").append(1)
        command = [*MANAGE, "show_buckets", "--watch", "--interval", "0.05", "--format", "json"]
        with subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as watching:
            assert watching.stdout is not None
            assert watching.stderr is not None
            assert "orders" in watching.stdout.readline()
            private_server.ping()
            os.rename(path, f"{path}.away")
            private_server.client_kill_filter(_type="normal", skipme=True)
            assert "Redis cannot be reached" in watching.stderr.readline()
            os.rename(f"{path}.away", path)
            deadline = time.monotonic() + 30
            while "orders" not in watching.stdout.readline():
                assert time.monotonic() < deadline
            watching.send_signal(signal.SIGINT)
            watching.communicate(timeout=30)
        assert watching.returncode == 0
