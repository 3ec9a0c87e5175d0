import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_jsonbuffer import Batch, Bucket, catalog
from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.declarations import declared
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.store import Store
from tests import server
from tests.declaring.buckets import (
    done_key,
    for_a_foreign_consumer,
    page_views,
    scripted,
    timed,
)
from tests.draining.drains import claim_and_die
from tests.server import Redis
from tests.spilling import put
from tests.threads import at_once

# The command renews database connections before each batch.
# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = pytest.mark.django_db(transaction=True)


def drain(*args: str, **options: Any) -> str:
    """The output of the command, which must succeed."""
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

    def test_quiet(self) -> None:
        page_views.append(1)
        assert drain(verbosity=0) == ""
        assert page_views.status().pending == 0

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
        monkeypatch.setattr(declared, "processors", {})
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
        assert [1] + [{"n": n} for n in range(10)] == sorted(seen(client_of_server), key=str)
        assert scripted.peek() == [{"fail": "no"}]
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
        assert "1 event in 1 batch, 1 failure" in out

    def test_waits_for_the_end_of_an_outage(self) -> None:
        scripted.extend([{"fail": "no"}] * 20)
        assert exit_code("scripted")[0] == 3
        code, message = exit_code("scripted")
        assert code == 3
        assert "They are kept" in message
        assert scripted.status().pending == 20

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


class TestSpilled:
    @pytest.fixture(autouse=True)
    def _page_views_spill(self, spilling: Spill, configure: Callable[..., None]) -> None:
        configure(BUCKETS={"page-views": {"spill_dir": spilling.path.parent}})
        put(spilling, b"1", bucket=page_views.key)

    def spoil(self, spilling: Spill) -> None:
        with closing(sqlite3.connect(spilling.path)) as other, other:
            other.execute("UPDATE appends SET events = x'00'")

    def test_events_are_forwarded_and_drained(self, spilling: Spill) -> None:
        assert "page-views: 1 event in 1 batch" in drain()
        assert not spilling.holds(page_views.key)

    def test_events_that_cannot_be_forwarded_are_no_success(self, spilling: Spill) -> None:
        self.spoil(spilling)
        page_views.append(2)
        code, message = exit_code()
        assert code == 3
        assert message.startswith(
            "Spilled events of bucket page-views could not be forwarded (1 append, 5 bytes): Row 1"
        )
        assert page_views.status().pending == 0

    def test_events_of_a_bucket_that_is_not_drained_do_not_count(self, spilling: Spill) -> None:
        self.spoil(spilling)
        drain("scripted")

    def test_events_that_another_process_forwards_still_wait(self, spilling: Spill) -> None:
        assert spilling._file.begin_forwarding()
        try:
            code, message = exit_code()
        finally:
            spilling._file.end_forwarding()
        assert (code, "another process" in message) == (3, True)

    def test_watch_reports_them_in_the_log_only(
        self, spilling: Spill, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.spoil(spilling)
        caplog.clear()
        drain("--watch", "--interval", "0.01", "--max-seconds", "0.2")
        assert caplog.text.count("still wait") == 1

    def test_failed_batches_are_said_beside_them(self, spilling: Spill) -> None:
        self.spoil(spilling)
        scripted.append({"fail": "no"})
        code, message = exit_code()
        assert code == 3
        assert [line.split()[0] for line in message.splitlines()] == ["Some", "Spilled"]


COMMAND = [sys.executable, "-W", "error", "-m", "django", "drain_buckets"]


def environment(**variables: str) -> dict[str, str]:
    """The environment in which a process uses the server and the prefix of this test."""
    # Output is buffered, as by default, because a signal may interrupt a write.
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
    """Undo the ignored SIGINT that a suite in the background inherits."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


class TestTimeout:
    @pytest.mark.parametrize("watch", [[], ["--watch"]])
    def test_ends_the_process_and_says_where_the_processor_hangs(
        self, client_of_server: Redis, watch: list[str]
    ) -> None:
        timed.extend([{"sleep": 600}, {"n": 1}])
        process = run_command("timed", *watch)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 4
        assert "has not returned within 0:00:00.200000" in errors
        assert "in obey" in errors
        [worker] = catalog.deliveries(timed, 10).batches
        assert (worker.worker, worker.deaths) == ("", 1)
        # The process that a supervisor starts instead begins with another batch.
        drain("timed", "--max-batches", "1")
        assert seen(client_of_server) == [{"n": 1}]
