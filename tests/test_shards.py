"""Buckets with several shards: what is appended, drained, looked at and removed."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from enum import Enum
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import transaction

from django_jsonbuffer import Batch, Bucket, catalog, drain_all, gathered
from django_jsonbuffer.appending.sharding import STAY, TURN, Turn, shard_of
from django_jsonbuffer.appending.spill import spill
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.contrib.receipts.models import Receipt
from django_jsonbuffer.draining.rounds import Rounds
from django_jsonbuffer.draining.stop import Stop
from django_jsonbuffer.exceptions import BucketFull, BufferMisconfigured, InvalidEvent
from django_jsonbuffer.management.commands.drain_buckets import Command
from django_jsonbuffer.management.selection import Selection
from django_jsonbuffer.store.keys import shard_name, shards_key, split_shard
from django_jsonbuffer.store.store import Store
from tests.draining.drains import report
from tests.server import Redis, both_servers
from tests.store.steps import commands_of
from tests.test_embedded_redis import wait_until
from tests.threads import at_once

pytestmark = [pytest.mark.usefixtures("nothing_declared")]

SHARDS = 4


def shard(number: int) -> Store:
    return Store("orders", configuration(), number)


def key_of(number: int, *, shards: int = SHARDS) -> str:
    """An ordering key that chooses this shard."""
    return next(str(key) for key in range(1000) if shard_of(str(key), shards) == number)


def fill(bucket: Bucket, *, shards: int = SHARDS, events: int = 1) -> None:
    """Append events to each shard, which say in which shard and in which place they are."""
    for number in range(shards):
        key = key_of(number, shards=shards)
        bucket.extend([[number, place] for place in range(events)], ordering_key=key)


def in_shards(plain: Redis, *, shards: int = SHARDS) -> list[list[Any]]:
    """The events in the open batch of each shard."""
    return [json.loads(plain.get(shard(number).keys.open) or "[]") for number in range(shards)]


@pytest.fixture
def orders() -> Bucket:
    return Bucket("orders", shards=SHARDS)


@pytest.fixture
def got(nothing_declared: None, orders: Bucket) -> list[Any]:
    """The events that the processor of the bucket got."""
    got: list[Any] = []
    orders.processor(got.extend)
    return got


class TestNames:
    @pytest.mark.parametrize("number", [0, 1, 999])
    def test_of_a_shard_names_its_bucket_and_its_number(self, number: int) -> None:
        assert split_shard(shard_name("orders", number)) == ("orders", number)

    @pytest.mark.parametrize(
        "name", ["orders#0", "orders#1000", "orders#", "orders#x", "orders#1#2"]
    )
    def test_of_no_shard(self, name: str) -> None:
        assert split_shard(name)[1] == -1

    def test_first_shard_has_the_keys_of_the_bucket(self, orders: Bucket) -> None:
        assert shard(0).keys.open == orders.key
        assert shard(3).keys.open == orders.key.replace("{orders}", "{orders#3}")

    @pytest.mark.parametrize("count", [0, 1001, None, "2", True])
    def test_number_of_shards_has_limits(self, count: Any) -> None:
        with pytest.raises(BufferMisconfigured, match="shards must be"):
            Bucket("orders", shards=count)


def test_processes_begin_at_different_shards() -> None:
    """Even if each is in a container of its own, and so has the same id as the others."""
    assert len({Turn().number % 1000 for _ in range(20)}) > 10


@both_servers
class TestAppend:
    def test_spreads_events_over_all_shards_alike(
        self, client_of_server: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(TURN, "_events", 0)
        orders = Bucket("orders", shards=SHARDS, batch_size=2 * STAY)
        for number in range(0, SHARDS * STAY, 100):
            orders.append(number)
            orders.extend(range(number + 1, number + 100))
        found = in_shards(client_of_server)
        assert [*map(len, found)] == [STAY] * SHARDS
        assert sorted(event for events in found for event in events) == [*range(SHARDS * STAY)]

    def test_leaves_a_shard_that_has_no_room(self, client_of_server: Redis) -> None:
        orders = Bucket("orders", shards=SHARDS, max_pending=10)
        refused = 0
        for number in range(20 * SHARDS):
            try:
                orders.append(number)
            except BucketFull:
                refused += 1
        assert [*map(len, in_shards(client_of_server))] == [10] * SHARDS
        assert refused == 10 * SHARDS

    @pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
    def test_that_drops_events_leaves_the_shard(
        self, client_of_server: Redis, overflow: str
    ) -> None:
        orders = Bucket("orders", shards=SHARDS, max_pending=10, overflow=overflow)
        for _ in range(SHARDS):
            orders.extend(range(9))
            orders.extend(range(9))
        assert [*map(len, in_shards(client_of_server))] == [9] * SHARDS

    def test_of_several_events_goes_to_one_shard(
        self, orders: Bucket, client_of_server: Redis
    ) -> None:
        orders.extend(range(100))
        assert sorted(map(len, in_shards(client_of_server))) == [0, 0, 0, 100]

    def test_with_one_key_goes_to_one_shard(self, orders: Bucket, client_of_server: Redis) -> None:
        for key in (7, "7", b"7"):
            orders.append(key if isinstance(key, str) else 0, ordering_key=key)
            orders.extend([1, 2], ordering_key=key)
        asyncio.run(orders.aappend(3, ordering_key=7))
        asyncio.run(orders.aextend([4, 5], ordering_key=7))
        [events] = filter(None, in_shards(client_of_server))
        assert events == [0, 1, 2, "7", 1, 2, 0, 1, 2, 3, 4, 5]

    def test_member_of_an_enum_is_the_same_key_as_its_text(self) -> None:
        class Color(str, Enum):  # noqa: UP042  (a StrEnum has no other text)
            RED = "red"

        assert shard_of(Color.RED, 1000) == shard_of("red", 1000)

    def test_without_shards_takes_a_key_as_well(self, client_of_server: Redis) -> None:
        for number in range(10):
            Bucket("orders").append(number, ordering_key=number)
        assert in_shards(client_of_server)[0] == [*range(10)]
        assert not client_of_server.exists(shards_key(configuration().prefix))

    @pytest.mark.parametrize("key", [1.5, True, ["7"], object()])
    def test_with_a_key_of_another_type_is_an_error(self, orders: Bucket, key: Any) -> None:
        for bucket in (orders, Bucket("carts")):
            with pytest.raises(InvalidEvent, match="ordering_key must be a str, bytes or an int"):
                bucket.append(1, ordering_key=key)
        assert orders.status().pending == 0

    def test_a_rolled_back_event_is_in_no_shard(self, orders: Bucket, db: None) -> None:
        with transaction.atomic():
            orders.append(1, ordering_key=1)
            transaction.set_rollback(True)
        assert orders.status().appended == 0


class TestRoundTrips:
    def trips(self, plain: Redis, call: Callable[[], object]) -> int:
        return commands_of(plain, call).get("evalsha", 0)

    @pytest.fixture
    def warm(self, private_server: Redis, orders: Bucket) -> Redis:
        fill(orders)
        return private_server

    def test_events_of_a_block_leave_in_one(self, warm: Redis, orders: Bucket) -> None:
        def append() -> None:
            with gathered():
                for number in range(50):
                    orders.append(number)

        assert self.trips(warm, append) == 1

    def test_events_with_keys_leave_in_one_for_each_shard(
        self, warm: Redis, orders: Bucket
    ) -> None:
        def append() -> None:
            with gathered():
                for number in range(50):
                    orders.append(number, ordering_key=number)

        assert self.trips(warm, append) == SHARDS

    def test_bucket_with_one_shard_asks_for_no_other(self, private_server: Redis) -> None:
        bucket = Bucket("orders")
        bucket.append(1)
        assert "smembers" not in commands_of(private_server, lambda: bucket.append(2))


@both_servers
class TestStatus:
    def test_sums_the_shards(self, orders: Bucket) -> None:
        fill(orders, events=3)
        shard(1).seal()
        claim = shard(1).claim("worker", lease=timedelta(minutes=1), linger=None).claim
        assert claim is not None
        status = orders.status()
        assert (status.pending, status.in_flight, status.appended) == (9, 3, 12)
        assert (status.batches, status.batches_open, status.batches_in_flight) == (4, 3, 1)
        assert status.batches_sealed == 0
        assert catalog.statuses([orders])[0].pending == 9  # type: ignore[union-attr]

    def test_age_is_that_of_the_oldest_shard(self, orders: Bucket, client_of_server: Redis) -> None:
        fill(orders)
        client_of_server.hset(shard(2).keys.appends, "opened", 1)
        oldest = orders.status().oldest
        assert oldest is not None
        assert oldest > timedelta(days=365)

    def test_errors_are_those_of_the_shard_that_fails_most(self, orders: Bucket) -> None:
        fill(orders)
        for number, error in ((1, ""), (2, "ValueError: no")):
            store, lease = shard(number), timedelta(minutes=1)
            store.seal()
            claim = store.claim("worker", lease=lease, linger=None).claim
            assert claim is not None
            if error:
                store.release(claim, lease=lease, backoff=lease, error=error)
        status = orders.status()
        assert (status.failing, status.attempt, status.error) == (1, 1, "ValueError: no")

    def test_history_sums_the_shards(self, orders: Bucket, client_of_server: Redis) -> None:
        for number, minutes in ((0, (1, 2)), (1, (2, 3))):
            for minute in minutes:
                sample = f"{60_000 * minute + number} {10 * minute} 1 {minute} 0"
                client_of_server.rpush(shard(number).keys.history, sample)
        [samples] = catalog.histories([orders])
        assert [each.pending for each in samples] == [10 + 20, 20 + 20, 20 + 30]
        assert {each.dead for each in samples} == {2}

    def test_shards_beyond_the_option_count_as_well(self, orders: Bucket) -> None:
        fill(orders)
        for count in (1, 2, SHARDS, 9):
            assert Bucket("orders", shards=count).status().pending == SHARDS


@both_servers
class TestContents:
    """Every operation reaches all shards, also those beyond the option."""

    @pytest.fixture(params=[1, SHARDS])
    def orders(self, request: pytest.FixtureRequest) -> Bucket:
        fill(Bucket("orders", shards=SHARDS), events=2)
        return Bucket("orders", shards=request.param)

    def test_peek(self, orders: Bucket) -> None:
        everything = [[number, place] for number in range(SHARDS) for place in range(2)]
        assert orders.peek(100) == everything
        assert orders.peek(3) == everything[:3]
        assert orders.status().pending == 2 * SHARDS
        leading = catalog.leading_events(orders, 3, most_bytes=100)
        assert leading == [(b"[0,0]", True), (b"[0,1]", True), (b"[1,0]", True)]

    def test_take(self, orders: Bucket) -> None:
        assert len(orders.take()) == 2 * SHARDS
        assert orders.status().pending == 0

    def test_take_returns_what_it_has_if_a_shard_fails(
        self, orders: Bucket, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        client_of_server.delete(shard(1).keys.open)
        client_of_server.hset(shard(1).keys.open, "not", "a string")
        others = [number for number in range(SHARDS) if number != 1]
        assert orders.take() == [[number, place] for number in others for place in range(2)]
        assert "not all of its events were taken" in caplog.text

    def test_purge(self, orders: Bucket) -> None:
        assert orders.purge() == 2 * SHARDS
        assert orders.status().dropped.purged == 2 * SHARDS

    def test_pause(self, orders: Bucket, got: list[Any]) -> None:
        assert orders.pause()
        assert not orders.pause()
        assert orders.status().paused is not None
        assert orders.drain() == report()
        assert orders.resume()
        assert not orders.resume()
        assert orders.drain().processed == 2 * SHARDS

    def test_resume_finds_what_was_paused_under_another_number(
        self, orders: Bucket, got: list[Any]
    ) -> None:
        Bucket("orders", shards=7).pause()
        assert Bucket("orders", shards=2).resume()
        fill(Bucket("orders", shards=7), shards=7)
        assert orders.drain().processed == 2 * SHARDS + 7

    def test_deliveries(self, orders: Bucket) -> None:
        for number in range(SHARDS):
            shard(number).seal()
            shard(number).claim("worker", lease=timedelta(minutes=1), linger=None, beats=True)
        deliveries = catalog.deliveries(orders)
        assert [*deliveries.workers] == ["worker"]
        ids = [each.batch for each in deliveries.batches]
        assert sorted(split_shard(id)[1] for id in ids) == [*range(SHARDS)]


@pytest.mark.django_db(transaction=True)
class TestDrain:
    def test_takes_all_shards(self, orders: Bucket, got: list[Any]) -> None:
        fill(orders, events=3)
        assert orders.drain() == report(processed=3 * SHARDS, batches=SHARDS)
        assert sorted(got) == [[number, place] for number in range(SHARDS) for place in range(3)]
        assert orders.drain() == report()

    def test_lets_shards_take_turns(self) -> None:
        served: list[int] = []
        orders = Bucket("orders", shards=SHARDS, batch_size=1)
        orders.processor(lambda batch: served.append(batch[0][0]))
        fill(orders, events=5)
        orders.drain()
        turns = [sorted(served[at : at + SHARDS]) for at in range(0, len(served), SHARDS)]
        assert turns == 5 * [[*range(SHARDS)]]

    def test_of_all_buckets_reports_a_bucket_once(self, orders: Bucket, got: list[Any]) -> None:
        fill(orders)
        assert drain_all() == {"orders": report(processed=SHARDS, batches=SHARDS)}

    def test_that_watches_waits_for_an_open_batch(self, got: list[Any]) -> None:
        linger = timedelta(seconds=0.2)
        orders = Bucket("orders", shards=SHARDS, linger=linger)
        orders.processor(got.extend)
        orders.append(1, ordering_key=key_of(2))
        with orders.drain_steps(watch=True) as drain:
            while drain.step() or drain.wait():
                pass
        assert got == [1]

    def test_skips_a_busy_bucket_and_no_other(self, orders: Bucket, got: list[Any]) -> None:
        fill(orders)
        assert drain_all(skip_busy=True)["orders"].processed == SHARDS
        fill(orders)
        shard(2).beat("other", lease=timedelta(minutes=1))
        assert drain_all(skip_busy=True)["orders"].processed == SHARDS - 1

    def test_batches_of_shards_have_ids_of_their_own(self, orders: Bucket) -> None:
        batches: list[Batch] = []
        orders.processor(batches.append)
        fill(orders)
        orders.drain()
        assert {batch.bucket for batch in batches} == {"orders"}
        assert sorted(split_shard(batch.id)[1] for batch in batches) == [*range(SHARDS)]

    def test_failures_and_retries_are_those_of_the_shard(self, orders: Bucket) -> None:
        def refuse(batch: Batch) -> None:
            if batch[0][0] == 2:
                raise ValueError("no")

        orders.processor(refuse)
        fill(orders)
        assert orders.drain() == report(processed=SHARDS - 1, batches=SHARDS - 1, failed=1)
        assert shard(2).keys.open != orders.key
        assert orders.status().pending == 1
        [failed] = catalog.deliveries(orders).batches
        assert split_shard(failed.batch)[1] == 2

    def test_leases_of_all_shards_are_renewed(self, got: list[Any]) -> None:
        orders = Bucket("orders", shards=SHARDS, lease=timedelta(seconds=0.3))
        workers: list[str] = []

        def take_long(batch: Batch) -> None:
            time.sleep(0.5)
            others = shard(batch[0][0]).claim("other", lease=orders_lease, linger=None)
            workers.append(others.claim.worker if others.claim else "")

        orders_lease = timedelta(seconds=0.3)
        orders.processor(take_long)
        fill(orders)
        assert orders.drain() == report(processed=SHARDS, batches=SHARDS)
        assert workers == [""] * SHARDS

    def test_transactions_of_all_shards_are_committed(self, orders: Bucket) -> None:
        orders.processor(lambda batch: Group.objects.create(name=str(batch[0])), atomic="default")
        fill(orders)
        assert orders.drain() == report(processed=SHARDS, batches=SHARDS)
        assert Group.objects.count() == SHARDS

    def test_receipts_of_all_shards_are_written(self) -> None:
        orders = Bucket("orders", shards=SHARDS, receipts="default")
        orders.processor(lambda batch: Group.objects.create(name=str(batch[0])), atomic="default")
        fill(orders)
        assert orders.drain() == report(processed=SHARDS, batches=SHARDS)
        assert Receipt.objects.count() == SHARDS

    def test_command_reports_a_bucket_once(self, orders: Bucket, got: list[Any]) -> None:
        fill(orders, events=2)
        out = StringIO()
        call_command("drain_buckets", "orders", stdout=out)
        assert out.getvalue() == f"orders: {2 * SHARDS} events in {SHARDS} batches\n"

    @pytest.mark.parametrize("shards", [1, 2, SHARDS, 7])
    def test_serves_shards_that_were_used_under_another_number(
        self, orders: Bucket, got: list[Any], shards: int
    ) -> None:
        fill(orders)
        assert Bucket("orders", shards=shards).drain().processed == SHARDS
        fill(orders)
        Bucket("orders", shards=shards)
        assert drain_all()["orders"].processed == SHARDS

    def test_forwards_what_is_spilled_for_a_shard_that_nobody_knows(
        self, tmp_path: Path, use_cache: Callable[..., str], got: list[Any]
    ) -> None:
        options: dict[str, Any] = {"on_unavailable": "spill", "spill_dir": tmp_path}
        cache = configuration().cache
        use_cache(f"unix://{tmp_path}/nobody")
        away = Bucket("orders", shards=SHARDS, **options)
        fill(away)
        spilled = catalog.spilled(away)
        assert spilled is not None
        assert spilled.appends == SHARDS
        configure_back(cache)
        assert Bucket("orders", **options).drain().processed == SHARDS


def configure_back(cache: str) -> None:
    from django.conf import settings

    settings.JSONBUFFER = {**settings.JSONBUFFER, "CACHE": cache}


def configure_buckets(**buckets: Any) -> None:
    from django.conf import settings

    settings.JSONBUFFER = {**settings.JSONBUFFER, "BUCKETS": buckets}


@pytest.mark.django_db(transaction=True)
class TestWatch:
    """A worker that watches, and learns of shards while it runs."""

    @pytest.fixture
    def watch_spilling(self, tmp_path: Path, got: list[Any], request: Any) -> None:
        configure_buckets(orders={"on_unavailable": "spill", "spill_dir": tmp_path})
        request.getfixturevalue("watch")

    @pytest.fixture
    def watch(self, got: list[Any]) -> Iterator[None]:
        options = {"watch": True, "verbosity": 0, "interval": 0.05, "max_seconds": 60.0}
        stop = Stop()
        rounds = _rounds(stop, **options)

        def run() -> None:
            with rounds:
                for _ in rounds:
                    pass

        worker = threading.Thread(target=run)
        worker.start()
        yield
        stop.set()
        worker.join()

    def test_forwards_what_is_spilled_for_a_shard_that_nobody_knows(
        self, tmp_path: Path, got: list[Any], watch_spilling: None
    ) -> None:
        file = spill(tmp_path)
        for number in (0, 5):
            file.put(shard(number).keys.open, [b"%d" % number], stamp=None, max_bytes=1000)
        wait_until(lambda: sorted(got) == [0, 5])

    def test_serves_shards_beyond_the_option(
        self, orders: Bucket, got: list[Any], watch: None
    ) -> None:
        fill(orders)
        wait_until(lambda: len(got) == SHARDS)
        fill(Bucket("orders", shards=7), shards=7)
        wait_until(lambda: len(got) == SHARDS + 7)
        assert orders.status().workers == 1


def _rounds(stop: Stop, **options: Any) -> Rounds:
    command = Command()
    return command._rounds(
        Selection(["orders"]), stop, {"max_batches": None, "max_seconds": None, **options}
    )


@both_servers
class TestDeadLetters:
    @pytest.fixture
    def buried(self, orders: Bucket) -> list[str]:
        """Two dead letters in each shard. Their ids, the oldest first."""

        def reject(batch: Batch) -> None:
            for event in batch:
                batch.reject(event, "no good")

        orders.processor(reject)
        for _ in range(2):
            fill(orders)
            orders.drain()
        orders.processor(lambda batch: None)
        return [letter.id for letter in orders.dead]

    def test_of_all_shards_are_in_the_order_of_their_burial(
        self, orders: Bucket, buried: list[str]
    ) -> None:
        letters = [*orders.dead]
        assert len(letters) == 2 * SHARDS
        assert [letter.place for letter in letters] == sorted(letter.place for letter in letters)
        assert Counter(split_shard(id)[1] for id in buried) == dict.fromkeys(range(SHARDS), 2)
        assert all(split_shard(each.batch)[1] == each.event[0] for each in letters)
        assert orders.dead.newest() == buried[-1]

    @pytest.mark.parametrize("size", [1, 3, 100])
    def test_pages_have_each_of_them_once(
        self, orders: Bucket, buried: list[str], size: int
    ) -> None:
        found: list[str] = []
        while page := orders.dead.page(size, after=found[-1] if found else None):
            assert len(page) <= size
            found += [letter.id for letter in page]
        assert found == buried

    def test_of_one_moment_are_paged_by_shard(
        self, orders: Bucket, client_of_server: Redis
    ) -> None:
        fill(orders)
        for number in range(SHARDS):
            client_of_server.xadd(shard(number).keys.dead, {"event": str(number)}, id="5-5")
        ids = ["5-5", "5-5#1", "5-5#2", "5-5#3"]
        assert [letter.id for letter in orders.dead.page(9, after="5-5#1")] == ids[2:]
        assert orders.dead.discard_all(up_to="5-5#1") == 2
        assert [letter.id for letter in orders.dead] == ids[2:]

    def test_one_is_found_by_its_id(self, orders: Bucket, buried: list[str]) -> None:
        for id in buried:
            assert orders.dead[id].id == id
        with pytest.raises(KeyError):
            orders.dead[f"{split_shard(buried[0])[0]}#9"]

    def test_are_replayed_to_their_shards(self, orders: Bucket, buried: list[str]) -> None:
        assert orders.dead.replay(*buried[:3]) == 3
        assert orders.dead.replay_all(up_to=buried[4]) == 2
        assert orders.dead.replay_all() == 3
        assert orders.status().dead == 0
        assert [shard(number).seal()[0] is not None for number in range(SHARDS)] == SHARDS * [True]

    def test_up_to_no_dead_letter_are_not_replayed(self, orders: Bucket, buried: list[str]) -> None:
        for method in (orders.dead.replay_all, orders.dead.discard_all):
            with pytest.raises(ValueError, match="not the id of a dead letter"):
                method(up_to="x")
        assert orders.status().dead == len(buried)

    def test_are_discarded(self, orders: Bucket, buried: list[str]) -> None:
        assert orders.dead.discard(*buried[:3]) == 3
        assert orders.dead.discard_all() == 2 * SHARDS - 3

    def test_commands_work_over_all_shards(self, orders: Bucket, buried: list[str]) -> None:
        out = StringIO()
        call_command("dead_events", "orders", format="json", stdout=out)
        assert [each["id"] for each in json.loads(out.getvalue())] == buried
        call_command("replay_dead_events", "orders", id=[buried[-1]], verbosity=0)
        assert orders.status().dead == len(buried) - 1
        call_command("purge_buckets", "orders", dead=True, interactive=False, verbosity=0)
        assert orders.status().dead == 0


class TestUnderLoad:
    @both_servers
    @pytest.mark.parametrize("is_async", [False, True], ids=["threads", "tasks"])
    def test_events_with_one_key_stay_in_order(self, orders: Bucket, is_async: bool) -> None:
        """Of those that append, each has a key, and appends as many events without a key."""
        order: dict[int | None, list[int]] = {key: [] for key in [None, *range(16)]}

        @orders.processor
        def store(batch: Batch) -> None:
            for key, number in batch:
                order[key].append(number)

        def append(key: int) -> None:
            for number in range(20):
                orders.append([key, number], ordering_key=key, now=True)
                orders.append([None, number], now=True)

        async def aappend(key: int) -> None:
            for number in range(20):
                await orders.aappend([key, number], ordering_key=key, now=True)
                await orders.aappend([None, number], now=True)

        async def tasks() -> None:
            await asyncio.gather(*map(aappend, range(16)))

        if is_async:
            asyncio.run(tasks())
        else:
            at_once(partial(append, key) for key in range(16))
        assert orders.drain().processed == 2 * 16 * 20
        assert Counter(order.pop(None)) == dict.fromkeys(range(20), 16)
        assert order == {key: [*range(20)] for key in range(16)}

    def test_another_number_of_shards_loses_nothing(self, orders: Bucket) -> None:
        seen: Counter[int] = Counter()
        orders.processor(seen.update)
        done = threading.Event()

        def append(thread: int) -> None:
            for number in range(50):
                handle = Bucket("orders", shards=1 + (thread + number) % 8, batch_size=5)
                handle.append(1000 * thread + number, now=True)

        def drain() -> None:
            while not done.is_set():
                Bucket("orders", shards=2).drain()

        worker = threading.Thread(target=drain)
        worker.start()
        at_once([lambda thread=thread: append(thread) for thread in range(6)])  # type: ignore[misc]
        done.set()
        worker.join()
        Bucket("orders").drain()
        assert seen == {1000 * thread + number: 1 for thread in range(6) for number in range(50)}
