import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.buckets import register
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.management.commands.drain_buckets import Reporter
from django_jsonbuffer.store import Store
from tests import server
from tests.declaring.buckets import done_key, for_a_foreign_consumer, page_views, scripted
from tests.server import Redis
from tests.test_draining import claim_and_die
from tests.threads import at_once

# The command renews database connections before each batch.
# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = pytest.mark.django_db(transaction=True)


def drain(*args: str, **options: Any) -> str:
    """What the command says, when it succeeds."""
    out = StringIO()
    call_command("drain_buckets", *args, stdout=out, **options)
    return out.getvalue()


def exit_code(*args: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        drain(*args, **options)
    return caught.value.returncode, str(caught.value)


def seen(plain: Redis) -> list[Any]:
    return [json.loads(event) for event in plain.lrange(done_key(), 0, -1)]


class TestOnce:
    def test_drains_everything_and_says_so(self, client_of_server: Redis) -> None:
        page_views.extend(range(250))
        scripted.append({"n": 1})
        assert drain() == ("page-views: 250 events in 3 batches\nscripted: 1 event in 1 batch\n")
        events = seen(client_of_server)
        assert [event for event in events if event != {"n": 1}] == list(range(250))
        assert page_views.status().batches == 0

    def test_nothing_pending(self) -> None:
        assert drain() == "Nothing to drain.\n"

    def test_says_what_is_left(self) -> None:
        scripted.append({"fail": "no"})
        exit_code()
        page_views.append(1)
        claim_and_die(page_views)
        said = drain()
        assert "scripted: 1 event pending and 0 in flight are left" in said
        assert "page-views: 0 events pending and 1 in flight are left" in said

    def test_a_long_run_says_now_and_then_how_it_does(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Reporter, "INTERVAL_SECONDS", 0.0)
        page_views.extend(range(200))
        assert drain().splitlines() == [
            "page-views: 100 events in 1 batch",
            "page-views: 200 events in 2 batches",
        ]

    def test_quiet(self) -> None:
        page_views.append(1)
        assert drain(verbosity=0) == ""
        assert page_views.status().pending == 0

    def test_verbose_says_each_batch(self) -> None:
        page_views.extend(range(150))
        assert drain(verbosity=2).splitlines() == [
            "page-views: 100 events in 1 batch",
            "page-views: 150 events in 2 batches",
        ]

    def test_buckets_take_turns(self, client_of_server: Redis) -> None:
        page_views.extend(range(300))
        scripted.extend([{"n": number} for number in range(20)])
        drain()
        kinds = ["s" if isinstance(event, dict) else "p" for event in seen(client_of_server)]
        assert "".join(kinds) == "p" * 100 + "s" * 10 + "p" * 100 + "s" * 10 + "p" * 100

    def test_claims_a_lease_that_ran_out(self, configure: Callable[..., None]) -> None:
        configure(BUCKETS={"page-views": {"lease": timedelta(milliseconds=1)}})
        page_views.append(1)
        claim_and_die(page_views)
        time.sleep(0.01)
        assert "1 event " in drain()

    def test_dead_letters_are_said(self, client_of_server: Redis) -> None:
        client_of_server.set(scripted.key, "rubbish")
        page_views.append(1)
        assert drain() == (
            "page-views: 1 event in 1 batch\nscripted: 0 events in 0 batches, 1 dead letter\n"
        )

    def test_database_connections_are_renewed_before_each_batch(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        renewals: list[int] = []
        monkeypatch.setattr(
            "django_jsonbuffer.management.commands.drain_buckets.close_old_connections",
            lambda: renewals.append(page_views.status().pending),
        )
        page_views.extend(range(200))
        drain("page-views")
        assert renewals[:2] == [200, 100]

    def test_in_a_thread_of_its_own(self) -> None:
        said: list[str] = []
        at_once([lambda: said.append(drain())])
        assert said == ["Nothing to drain.\n"]


class TestSelection:
    @pytest.fixture(autouse=True)
    def _both_have_events(self) -> None:
        page_views.append(1)
        scripted.append({"n": 1})

    def test_by_name(self) -> None:
        assert drain("scripted") == "scripted: 1 event in 1 batch\n"
        assert page_views.status().pending == 1

    @pytest.mark.parametrize("patterns", [["*"], ["page*", "scripted"], ["[ps]*", "page-views"]])
    def test_by_glob_each_once(self, patterns: list[str]) -> None:
        assert drain(*patterns).count("1 event in 1 batch") == 2

    @pytest.mark.parametrize("pattern", ["nobody", "x*", "", "a b", "Page-views"])
    def test_that_matches_nothing_is_wrong_usage(self, pattern: str) -> None:
        code, message = exit_code(pattern)
        assert code == 2
        assert repr(pattern) in message
        assert "page-views" in message
        assert page_views.status().pending == 1

    def test_of_a_bucket_without_processor_is_misconfigured(self) -> None:
        code, message = exit_code("foreign")
        assert code == 1
        assert "no processor" in message

    def test_all_leaves_a_bucket_without_processor_alone(self) -> None:
        for_a_foreign_consumer.append(1)
        drain()
        assert for_a_foreign_consumer.status().pending == 1

    def test_no_bucket_has_a_processor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(register, "processors", {})
        code, message = exit_code()
        assert code == 1
        assert "buckets.py" in message


class TestFailure:
    def test_of_one_batch_leaves_the_others_to_go_on(
        self, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        scripted.extend([{"fail": "no"}] + [{"n": n} for n in range(10)])
        page_views.append(1)
        code, message = exit_code()
        assert code == 3
        assert "scripted" in message
        assert "page-views" not in message
        assert seen(client_of_server) == [1, {"n": 9}]
        assert scripted.status().pending == 10
        assert "bucket scripted" in caplog.text.lower()

    def test_that_succeeded_since_is_none(self) -> None:
        attempts: list[int] = []

        def fail_once(batch: Batch) -> None:
            attempts.append(batch.attempt)
            if batch.attempt == 1:
                raise ValueError

        bucket = Bucket("page-views")
        bucket.processor(fail_once)
        bucket.append(1)
        out = drain("page-views", "--watch", "--interval", "0.05", "--max-batches", "2")
        assert attempts == [1, 2]
        assert "1 event in 1 batch, 1 attempt failed" in out

    def test_redis_that_is_away(self, unreachable: str) -> None:
        code, message = exit_code()
        assert code == 1
        assert "Redis cannot be reached" in message
        assert exit_code("--watch")[0] == 1

    def test_broken_bucket_leaves_the_others_to_go_on(
        self, client_of_server: Redis, capsys: pytest.CaptureFixture[str]
    ) -> None:
        client_of_server.set(f"{scripted.key}:batches", "foreign")
        page_views.append(1)
        code, message = exit_code()
        assert code == 3
        assert "scripted" in message
        assert page_views.status().pending == 0
        assert "another type" in capsys.readouterr().err

    def test_redis_that_goes_away_in_between(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any, **options: Any) -> None:
            raise BufferUnavailable("Redis cannot be reached: gone.")

        page_views.append(1)
        monkeypatch.setattr(Store, "claim", fail)
        code, message = exit_code()
        assert code == 1
        assert "gone" in message


class TestLimits:
    def test_max_batches(self) -> None:
        page_views.extend(range(500))
        assert drain("--max-batches", "2").splitlines() == [
            "page-views: 200 events in 2 batches",
            "page-views: 300 events pending and 0 in flight are left",
        ]

    def test_max_seconds(self) -> None:
        scripted.extend([{"sleep": 0.03}] * 40)
        assert "are left" in drain("--max-seconds", "0.4")
        left = scripted.status()
        assert left.pending in (10, 20, 30)
        assert left.in_flight == 0

    def test_max_seconds_of_a_watch(self) -> None:
        page_views.append(1)
        began = time.monotonic()
        drain("--watch", "--max-seconds", "0.3", "--interval", "60")
        assert time.monotonic() - began < 20

    @pytest.mark.parametrize(
        "option",
        [
            *["--max-batches=0", "--max-batches=x", "--max-batches=-1", "--max-seconds=0"],
            *["--max-seconds=nan", "--interval=0", "--interval=-1", "--interval=inf", "--nonsense"],
        ],
    )
    def test_that_make_no_sense_are_wrong_usage(self, option: str) -> None:
        process = run_command(option)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "usage:" in err

    def test_max_batches_counts_those_of_all_buckets(self) -> None:
        page_views.extend(range(200))
        scripted.extend([{"n": 1}] * 20)
        drain("--max-batches", "1")
        assert (page_views.status().pending, scripted.status().pending) == (100, 20)


class TestWatch:
    def test_goes_on_with_what_comes_later(self, client_of_server: Redis) -> None:
        writer = threading.Timer(0.2, lambda: page_views.extend(range(100)))
        writer.start()
        out = drain("--watch", "--interval", "0.02", "--max-batches", "1")
        writer.join()
        assert "Watching page-views, scripted." in out
        assert seen(client_of_server) == list(range(100))

    def test_leaves_an_open_batch_until_it_has_lingered(self) -> None:
        page_views.append(1)
        drain("--watch", "--interval", "0.02", "--max-seconds", "0.3")
        assert page_views.status().pending == 1
        drain("--watch", "--interval", "0.02", "--max-batches", "1")
        assert page_views.status().pending == 0

    def test_waits_only_when_nothing_is_pending(self) -> None:
        page_views.extend(range(200))
        began = time.monotonic()
        drain("--watch", "--interval", "20", "--max-batches", "2", "--max-seconds", "25")
        assert time.monotonic() - began < 10

    def test_quiet(self) -> None:
        assert drain("--watch", "--interval", "0.02", "--max-seconds", "0.1", verbosity=0) == ""

    def test_broken_bucket_is_said_once(self, client_of_server: Redis) -> None:
        client_of_server.set(f"{scripted.key}:batches", "foreign")
        err = StringIO()
        code, _ = exit_code(
            *("scripted", "--watch", "--interval", "0.02", "--max-seconds", "0.15"), stderr=err
        )
        assert code == 3
        assert err.getvalue().count("another type") == 1

    def test_bucket_that_was_repaired_is_no_failure(self, client_of_server: Redis) -> None:
        class Repairing(StringIO):
            def write(self, text: str) -> int:
                client_of_server.delete(f"{scripted.key}:batches")
                scripted.extend([{"n": 1}] * 10)
                return super().write(text)

        client_of_server.set(f"{scripted.key}:batches", "foreign")
        err = Repairing()
        drain("--watch", "--interval", "0.02", "--max-batches", "1", stderr=err)
        assert "another type" in err.getvalue()


COMMAND = [sys.executable, "-W", "error", "-m", "django", "drain_buckets"]


def environment(**variables: str) -> dict[str, str]:
    """Brings a process of its own to the server and the prefix of this test."""
    # Buffered as it is by default, since a signal may come in the middle of a write.
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return {
        **inherited,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "REDIS_URL": server.URL,
        "REDIS_APP_URL": variables.get("REDIS_URL", server.APP_URL),
        "TEST_PREFIX": configuration().prefix,
        **variables,
    }


def run_command(*args: str, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, *args],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )


def heed_interrupts() -> None:
    """Whatever runs the suite in the background lets its children ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def watching(client_of_server: Redis) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a watch, which has begun to process the first of the given events."""
    started: list[subprocess.Popen[str]] = []

    def watch(
        *events: dict[str, Any], options: Sequence[str] = ("--watch",), interval: str = "0.05"
    ) -> "subprocess.Popen[str]":
        scripted.extend([{"announce": True}, *[{}] * (9 - len(events)), *events])
        process = run_command(*options, "--interval", interval)
        started.append(process)
        wait_for(lambda: {"announce": True} in seen(client_of_server))
        return process

    yield watch
    for process in started:
        process.kill()
        process.communicate()


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_first_lets_the_batch_in_hand_be_finished(
        self, watching: Callable[..., Any], client_of_server: Redis, number: int
    ) -> None:
        process = watching({"sleep": 1}, {"n": 7})
        scripted.append({"n": "later"})
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Finishing the batch in hand" in err
        assert "scripted: 10 events in 1 batch" in out
        assert {"n": 7} in seen(client_of_server)
        assert scripted.peek() == [{"n": "later"}]
        assert scripted.status().in_flight == 0

    def test_first_wakes_a_watch_that_waits(self, watching: Callable[..., Any]) -> None:
        process = watching(interval="600")
        wait_for(lambda: scripted.status().batches == 0)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0

    def test_first_ends_a_run_that_is_not_done(self, watching: Callable[..., Any]) -> None:
        process = watching({"sleep": 1}, options=())
        process.send_signal(signal.SIGTERM)
        scripted.append({"n": "later"})
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "waits for the next run" in err
        assert scripted.status().in_flight == 0

    def test_second_stops_at_once_and_releases_the_batch(
        self, watching: Callable[..., Any]
    ) -> None:
        process = watching({"sleep": 60})
        process.send_signal(signal.SIGTERM)
        assert "Finishing" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in err
        status = scripted.status()
        assert (status.pending, status.in_flight) == (10, 0)

    def test_kill_loses_nothing(
        self, watching: Callable[..., Any], configure: Callable[..., None]
    ) -> None:
        process = watching({"sleep": 60})
        process.kill()
        process.wait()
        assert scripted.status().in_flight == 10
        configure(BUCKETS={"scripted": {"lease": timedelta(milliseconds=1)}})
        got: list[Any] = []
        scripted.processor(got.extend)
        assert scripted.drain().processed == 10
        assert got[0] == {"announce": True}

    def test_handlers_are_put_back(self) -> None:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.getsignal(number) for number in numbers]
        drain()
        assert [signal.getsignal(number) for number in numbers] == before

    def test_that_the_shell_ignores_is_ignored(
        self, watching: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(f"{__name__}.COMMAND", ["nohup", *COMMAND])
        process = watching({"sleep": 0.3})
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: scripted.status().batches == 0)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0


class TestOutput:
    def test_that_nobody_reads_any_more_is_no_reason_to_stop(self) -> None:
        page_views.extend(range(300))
        process = run_command("-v", "2")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stderr.close()
        assert page_views.status().batches == 0


class TestOutage:
    def test_watch_waits_until_redis_is_back(
        self, private_server: Redis, client_of_server: Redis
    ) -> None:
        path = private_server.get_connection_kwargs()["path"]
        url = f"unix://{path}?db=0"
        process = run_command("--watch", "--interval", "0.05", REDIS_URL=url)
        assert process.stdout is not None
        assert "Watching" in process.stdout.readline()
        private_server.config_set("requirepass", "locked")
        private_server.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
        assert process.stderr is not None
        assert "Trying again" in process.stderr.readline()
        private_server.config_set("requirepass", "")
        assert "Redis is back" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0

    def test_is_said_once_and_its_end_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        claim: Any = Store.claim
        outages = iter(range(4))

        def away_at_first(*args: Any, **options: Any) -> Any:
            if next(outages, None) is not None:
                raise BufferUnavailable("Redis cannot be reached: gone.")
            return claim(*args, **options)

        monkeypatch.setattr(Store, "claim", away_at_first)
        err = StringIO()
        page_views.extend(range(100))
        drain("--watch", "--interval", "0.02", "--max-batches", "1", stderr=err)
        away, back = err.getvalue().splitlines()
        assert "gone" in away
        assert "Redis is back" in back


class TestProgress:
    def test_long_backlog_on_a_terminal_shows_a_bar(self) -> None:
        page_views.extend(range(12_000))
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        process = subprocess.Popen(
            COMMAND, env=environment(), stdout=subprocess.DEVNULL, stderr=slave
        )
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 4096)
            except OSError:  # the other end is closed
                break
        os.close(master)
        assert process.wait(30) == 0
        assert b"12.0k/12.0k" in shown
        assert b"events/s" in shown

    def test_none_elsewhere(self, capsys: pytest.CaptureFixture[str]) -> None:
        page_views.extend(range(12_000))
        assert drain() == "page-views: 12,000 events in 120 batches\n"
        assert capsys.readouterr().err == ""
