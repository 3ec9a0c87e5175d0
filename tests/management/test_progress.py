import fcntl
import os
import struct
import subprocess
import termios

import pytest

from django_jsonbuffer.management.progress import Reporter, describe_drain
from tests.declaring.buckets import page_views
from tests.prepared import drain_of
from tests.test_drain_buckets import COMMAND, drain, environment

# The command renews database connections before each batch.
# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = pytest.mark.django_db(transaction=True)


class TestReporter:
    def test_a_long_run_says_now_and_then_how_it_does(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Reporter, "INTERVAL_SECONDS", 0.0)
        page_views.extend(range(200))
        assert drain().splitlines() == [
            "page-views: 100 events in 1 batch",
            "page-views: 200 events in 2 batches",
        ]

    def test_verbose_says_each_batch(self) -> None:
        page_views.extend(range(150))
        assert drain(verbosity=2).splitlines() == [
            "page-views: 100 events in 1 batch",
            "page-views: 150 events in 2 batches",
        ]


def test_repeated_events_are_counted_apart() -> None:
    with drain_of(page_views) as drain_of_one:
        drain_of_one.report.batches, drain_of_one.report.repeated = 1, 2
        assert describe_drain(drain_of_one) == "page-views: 0 events in 1 batch, 2 repeated events"


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
