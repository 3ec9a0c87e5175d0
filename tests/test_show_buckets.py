import json
import os
import pty
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

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending.spill import Spill
from tests import server
from tests.server import Redis
from tests.spilling import put
from tests.test_drain_buckets import heed_interrupts

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


class TestRefusals:
    def test_unknown_bucket(self) -> None:
        Bucket("orders").append(1)
        message, code = refused("oders")
        assert message.startswith(
            "No bucket matches 'oders'. Did you mean 'orders'? There are: orders."
        )
        assert code == 2
        assert refused("mails*")[0].startswith("No bucket matches 'mails*'. There are: orders.")

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

    def test_redis_that_is_away_says_what_is_spilled(
        self, spilling: Spill, use_cache: Callable[..., str], tmp_path: Path
    ) -> None:
        Bucket("orders").processor(print)
        put(spilling, b"1", bucket=Bucket("orders").key)
        use_cache(f"unix://{tmp_path}/nobody.sock?db=0")
        message, code = refused()
        first, second = message.splitlines()
        assert "Redis cannot be reached" in first
        assert second.startswith("orders: 1 append (")
        assert second.endswith("is spilled on this machine and waits for Redis.")
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
            preexec_fn=heed_interrupts,
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
        with subprocess.Popen(
            command, env=environment(prefix), stdout=theirs, preexec_fn=heed_interrupts
        ) as watching:
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
            command,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
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
