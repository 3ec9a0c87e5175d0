import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Batch, Bucket, DrainReport, drain_all
from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.declarations import declared
from django_jsonbuffer.exceptions import BufferUnavailable, KeyOccupied, NoProcessor
from tests.declaring.buckets import page_views, scripted, timed
from tests.draining.drains import report
from tests.server import Redis
from tests.spilling import put
from tests.test_drain_buckets import seen
from tests.threads import at_once

# A run renews database connections before each batch.
# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = pytest.mark.django_db(transaction=True)

NOTHING = DrainReport()


class TestDrainAll:
    def test_drains_each_bucket_that_has_a_processor_in_turn(self, client_of_server: Redis) -> None:
        Bucket("foreign").append(1)
        page_views.extend(range(200))
        scripted.extend([{}] * 20)
        assert drain_all() == {
            "page-views": report(processed=200, batches=2),
            "scripted": report(processed=20, batches=2),
            "timed": NOTHING,
        }
        kinds = ["s" if event == {} else "p" for event in seen(client_of_server)]
        assert "".join(kinds[:110]) == "p" * 100 + "s" * 10

    def test_drains_the_named_buckets_only(self) -> None:
        page_views.append(1)
        scripted.append({})
        assert drain_all("scripted", "scripted") == {"scripted": report(processed=1, batches=1)}
        assert page_views.status().pending == 1

    @pytest.mark.parametrize("name", ["nobody", "foreign"])
    def test_of_a_bucket_without_processor(self, name: str) -> None:
        page_views.append(1)
        with pytest.raises(NoProcessor, match=name):
            drain_all("page-views", name)
        assert page_views.status().pending == 1

    def test_without_any_processor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(declared, "processors", {})
        with pytest.raises(NoProcessor, match=r"buckets\.py"):
            drain_all()

    def test_counts_failures_and_raises_none(self) -> None:
        scripted.append({"fail": "no"})
        assert drain_all()["scripted"] == report(failed=1)

    def test_of_a_broken_bucket_raises_after_the_others_are_drained(
        self, client_of_server: Redis
    ) -> None:
        client_of_server.set(f"{page_views.key}:batches", "foreign")
        scripted.append({})
        with pytest.raises(KeyOccupied, match="another type"):
            drain_all()
        assert scripted.status().pending == 0

    def test_without_redis(self, unreachable: str) -> None:
        with pytest.raises(BufferUnavailable):
            drain_all()


class TestMaxSeconds:
    def test_stops_between_two_batches(self) -> None:
        scripted.extend([{"sleep": 0.03}] * 40)
        assert drain_all(max_seconds=0.4)["scripted"].batches in (1, 2, 3)
        assert scripted.status().in_flight == 0

    def test_batch_that_takes_longer_is_finished(self) -> None:
        scripted.extend([{"sleep": 0.5}, *[{}] * 19])
        assert drain_all(max_seconds=0.1)["scripted"] == report(processed=10, batches=1)
        assert scripted.status().pending == 10


class TestSkipBusy:
    def test_leaves_a_bucket_alone_that_has_a_living_worker(self) -> None:
        during: list[dict[str, DrainReport]] = []
        page_views.processor(lambda batch: during.append(drain_all(skip_busy=True)))
        page_views.extend(range(300))
        scripted.append({})
        page_views.drain()
        assert during[0]["page-views"] == NOTHING
        assert during[0]["scripted"] == report(processed=1, batches=1)
        page_views.append(1)
        assert drain_all(skip_busy=True)["page-views"].batches == 1

    def test_forwards_the_spilled_events_of_this_machine(
        self, spilling: Spill, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"page-views": {"spill_dir": spilling.path.parent}})
        put(spilling, b"1", bucket=page_views.key)
        store = page_views._definition.parts.store
        store.beat("on another machine", lease=timedelta(minutes=1))
        assert drain_all(skip_busy=True)["page-views"] == NOTHING
        assert page_views.peek() == [1]

    def test_lets_one_of_many_runs_begin(self) -> None:
        began: list[int] = []
        is_over = threading.Event()

        def hold(batch: Batch) -> None:
            began.append(len(batch))
            is_over.wait(10)

        page_views.processor(hold)
        page_views.extend(range(1000))
        runs: list[DrainReport] = []

        def run() -> None:
            runs.append(drain_all("page-views", skip_busy=True)["page-views"])
            if len(runs) == 7:
                is_over.set()

        at_once([run] * 8)
        assert [run.batches for run in runs] == [0] * 7 + [10]
        assert began == [100] * 10

    def test_a_bucket_that_is_drained_is_not_busy_while_the_run_goes_on(self) -> None:
        during: list[DrainReport] = []

        def look(batch: Batch) -> None:
            page_views.append(2)
            during.append(drain_all("page-views", skip_busy=True)["page-views"])

        scripted.processor(look)
        page_views.append(1)
        scripted.extend([{}] * 300)
        assert drain_all(skip_busy=True)["page-views"] == report(processed=1, batches=1)
        processed = [run.processed for run in during]
        assert processed[0] == 0
        assert sum(processed) == 30

    def test_goes_on_after_three_heartbeats_of_a_worker_are_missing(
        self, client_of_server: Redis
    ) -> None:
        page_views.append(1)
        store = page_views._definition.parts.store
        store.beat("dead", lease=timedelta(minutes=1))

        def let_pass(seconds: int) -> dict[str, DrainReport]:
            now = int(client_of_server.time()[0] * 1000)
            client_of_server.hset(store.keys.workers, "dead", now - seconds * 1000)
            return drain_all("page-views", skip_busy=True)

        assert let_pass(28) == {"page-views": NOTHING}
        assert let_pass(31) == {"page-views": report(processed=1, batches=1)}

    def test_worker_whose_processor_hangs_is_not_alive(
        self, configure: Callable[..., None]
    ) -> None:
        lease, timeout = timedelta(seconds=0.3), timedelta(seconds=0.1)
        configure(BUCKETS={"timed": {"lease": lease, "processor_timeout": timeout}})
        hangs, is_over = threading.Event(), threading.Event()
        done: list[Any] = []

        def store(batch: Batch) -> None:
            if batch.attempt == 1 and "hangs" in batch:
                hangs.set()
                is_over.wait(20)
            done.extend(batch)

        timed.processor(store)
        timed.extend(["hangs", 1, 2])
        hanging = threading.Thread(target=drain_all, args=["timed"])
        hanging.start()
        assert hangs.wait(10)
        deadline = time.monotonic() + 10
        while len(done) < 3 and time.monotonic() < deadline:
            drain_all("timed", skip_busy=True)
        by_others = sorted(map(str, done))
        is_over.set()
        hanging.join()
        assert by_others == ["1", "2", "hangs"]
