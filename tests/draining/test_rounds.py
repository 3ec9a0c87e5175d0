import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest

from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.draining.wakeups import Wakeups
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.management.commands.drain_buckets import Command
from django_jsonbuffer.store.store import Store
from tests.declaring.buckets import page_views, scripted
from tests.server import Redis
from tests.spilling import put
from tests.test_drain_buckets import drain, exit_code, run_command, seen

# The command renews database connections before each batch.
# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = pytest.mark.django_db(transaction=True)


class TestRounds:
    def test_buckets_take_turns(self, client_of_server: Redis) -> None:
        page_views.extend(range(300))
        scripted.extend([{"n": number} for number in range(20)])
        drain()
        kinds = ["s" if isinstance(event, dict) else "p" for event in seen(client_of_server)]
        assert "".join(kinds[:110]) == "p" * 100 + "s" * 10
        assert len(kinds) == 320

    def test_database_connections_are_renewed_before_each_batch(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        renewals: list[int] = []
        monkeypatch.setattr(
            "django_jsonbuffer.draining.rounds.close_old_connections",
            lambda: renewals.append(page_views.status().pending),
        )
        page_views.extend(range(200))
        drain("page-views")
        assert renewals[:2] == [200, 100]


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
    def test_that_make_no_sense_are_wrong_usage(
        self, option: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as end:
            Command().run_from_argv(["manage.py", "drain_buckets", option])
        assert end.value.code == 2
        assert "usage:" in capsys.readouterr().err

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
        assert "Watching page-views, scripted, timed." in out
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

    def test_forwards_what_is_spilled_meanwhile(
        self, spilling: Spill, configure: Callable[..., None], client_of_server: Redis
    ) -> None:
        configure(BUCKETS={"page-views": {"spill_dir": spilling.path.parent}})
        spiller = threading.Timer(0.3, lambda: put(spilling, b"1", bucket=page_views.key))
        spiller.start()
        drain("--watch", "--interval", "0.05", "--max-batches", "1", "--max-seconds", "60")
        spiller.join()
        assert seen(client_of_server) == [1]

    def test_batch_is_found_without_a_message_although_the_open_one_lingers(
        self, configure: Callable[..., None], client_of_server: Redis
    ) -> None:
        """As with producers that may not publish, or an older version of this app."""
        configure(BUCKETS={"page-views": {"linger": timedelta(hours=1)}})
        page_views.append(1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Wakeups, "taken", lambda wakeups: {})
            writer = threading.Timer(0.5, lambda: page_views.extend(range(99)))
            writer.start()
            drain("--watch", "--interval", "0.05", "--max-batches", "1", "--max-seconds", "60")
            writer.join()
        assert len(seen(client_of_server)) == 100

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
