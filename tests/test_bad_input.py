"""What people, other clients and servers may come up with: see docs/bad-input.md."""

import ctypes
import os
import pickle
import signal
import subprocess
import sys
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from traceback import format_exception
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.db import connection, transaction
from django.test import Client
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from django_jsonbuffer import Batch, Bucket, catalog
from django_jsonbuffer.appending import producers
from django_jsonbuffer.appending.producers import Producer
from django_jsonbuffer.catalog import known_buckets
from django_jsonbuffer.exceptions import (
    BufferMisconfigured,
    BufferOutOfMemory,
    BufferUnavailable,
    EventTooLarge,
    InvalidEvent,
    JSONBufferError,
    KeyOccupied,
)
from django_jsonbuffer.store import catalog_entries, pending
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.links import BLOCKING
from example_project.embedded_redis import EmbeddedRedis
from tests.admin.pages import BUCKET, PAGE, figures_of, row, rows
from tests.checks.messages import APP
from tests.draining.drains import drain_all, impatient, report
from tests.library.models import Tag
from tests.prepared import keys_of
from tests.server import Redis
from tests.store.steps import dump
from tests.test_drain_buckets import environment, wait_for
from tests.test_encoding import Colour, Point, Size, nested
from tests.test_faults import CALLS, WRITES, answering

NOW = timedelta(0)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders", batch_size=1000)


CALLS_OF_DEAD_LETTERS: dict[str, Callable[[Bucket], object]] = {
    "dead": lambda bucket: list(bucket.dead),
    "replay": lambda bucket: bucket.dead.replay("1-1"),
    "replay_all": lambda bucket: bucket.dead.replay_all(),
    "discard": lambda bucket: bucket.dead.discard("1-1"),
    "discard_all": lambda bucket: bucket.dead.discard_all(),
}


def reject_all(batch: Batch) -> None:
    for event in batch:
        batch.reject(event, "no")


def seen_everywhere(bucket: Bucket, event: Any) -> list[str]:
    """The event as peek, a dead letter, and a processor after a replay show it."""
    bucket.extend(["before", event, "after"])
    seen = [bucket.peek()]
    bucket.processor(reject_all)
    assert bucket.drain() == report(batches=1, buried=3)
    seen.append([letter.event for letter in bucket.dead])
    assert bucket.dead.replay_all() == 3
    got: list[Any] = []
    bucket.processor(got.extend)
    assert bucket.drain().processed == 3
    assert all((events[0], events[2]) == ("before", "after") for events in [*seen, got])
    return [repr(events[1]) for events in [*seen, got]]


class Unspeakable(Exception):
    """An error whose own text cannot be made, as errors of other libraries may be."""

    def __str__(self) -> str:
        raise AttributeError("no message")


def kind(value: object) -> str:
    return type(value).__name__


def circle() -> list[Any]:
    around: list[Any] = []
    around.append([around])
    return around


def start_process(body: str) -> "subprocess.Popen[str]":
    """Run the lines in another process, with the bucket of this test."""
    program = f"{_PROLOGUE}\n{dedent(body)}"
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environment(), stdout=subprocess.PIPE, text=True
    )


def in_a_process(body: str) -> str:
    """Run the lines in another process. Returns its output."""
    with start_process(body) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return said


_PROLOGUE = """
import os, time, django
from datetime import timedelta
django.setup()
from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import InvalidEvent
bucket = Bucket("orders", lease=timedelta(seconds=0.3))
"""


class TestEvent:
    @pytest.mark.parametrize(
        "event",
        [
            *([], {}, None, "", "   ", 0, -0.0, True, [[], {}], {"": None}, {"__proto__": {}}),
            *(2**53 - 1, 2**53 + 1, 2**63, 2**64, -(2**64), int("9" * 4300), 0.1 + 0.2, 1e308),
            *("\x00", "\x7f", "\u2028", "\ufeff", "\u202e", "😀", "\n\r\t", "a\\", '"', "\\"),
            *('{"a":1},{"b":2}', "1],[2", '"\\', "]", "<script>alert(1)</script>", "{{7*7}}"),
            {"k" * 1_000_000: 1},
        ],
        ids=lambda event: repr(event)[:20],
    )
    def test_is_the_same_wherever_it_is_seen(self, event: Any) -> None:
        bucket = Bucket("orders", max_event_bytes=2_000_000)
        assert seen_everywhere(bucket, event) == [repr(event)] * 3

    @pytest.mark.parametrize(
        ("event", "form"),
        [
            (Decimal("0.10"), "0.10"),
            (Decimal("NaN"), "NaN"),
            (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
            (date(2026, 1, 2), "2026-01-02"),
            (time_of_day(3, 4, 5), "03:04:05"),
            (timedelta(seconds=1), "P0DT00H00M01S"),
            (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
            (gettext_lazy("Buckets"), "Buckets"),
            (mark_safe("<b>"), "<b>"),
            (Colour.RED, "red"),
            (Point(1, 2), [1, 2]),
            (Size(3, date(2026, 1, 2)), {"width": 3, "made": "2026-01-02"}),
            ({1: "first", "1": "last"}, {"1": "last"}),
            (nested(31), nested(31)),
            (nested(100), nested(100)),
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_has_its_json_form_wherever_it_is_seen(
        self, bucket: Bucket, event: Any, form: Any
    ) -> None:
        assert seen_everywhere(bucket, event) == [repr(form)] * 3

    @pytest.mark.parametrize(
        "event",
        [
            *(float("nan"), float("inf"), 1e400, int("9" * 4300) * 10, b"x", {1}, object()),
            *("\ud800", {"\udfff": 1}, {(1, 2): 3}, [[[float("-inf")]]]),
            *(nested(101), nested(1000), nested(100_000), circle()),
        ],
        ids=kind,
    )
    def test_that_is_refused_takes_its_call_with_it(self, bucket: Bucket, event: Any) -> None:
        bucket.append("before")
        with pytest.raises(InvalidEvent):
            bucket.extend([1, event, 2])
        assert bucket.take() == ["before"]

    @pytest.mark.parametrize(
        "error", [RuntimeError("no"), MemoryError(), RecursionError(), Unspeakable()], ids=kind
    )
    def test_whose_encoding_raises(self, bucket: Bucket, error: Exception) -> None:
        class Hostile:
            def model_dump(self, mode: str) -> Any:
                raise error

        with pytest.raises(InvalidEvent, match=r"deeper|memory|encoded as JSON: \S"):
            bucket.append(Hostile())
        assert bucket.status().batches == 0

    def test_whose_encoding_has_no_end(self, bucket: Bucket) -> None:
        class Endless:
            def model_dump(self, mode: str) -> Any:
                return Endless()

        with pytest.raises(InvalidEvent, match="deeper"):
            bucket.append(Endless())
        assert bucket.status().batches == 0

    @pytest.mark.parametrize("events", [5, None, object()], ids=kind)
    def test_is_no_series_of_events(self, bucket: Bucket, events: Any) -> None:
        with pytest.raises(InvalidEvent, match="append"):
            bucket.extend(events)

    def test_for_which_there_is_no_memory_is_refused(self) -> None:
        """512 MB and one byte, in a process that may use 1 GB."""
        said = in_a_process(
            """
            import resource
            resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
            try:
                bucket.append("x" * (512 * 1024 * 1024 + 1))
            except InvalidEvent as error:
                print(type(error).__name__, error)
            """
        )
        assert said.startswith(("InvalidEvent", "EventTooLarge"))
        assert "memory" in said or "max_event_bytes" in said

    def test_at_the_limit_and_to_either_side(self) -> None:
        bucket = Bucket("orders", max_event_bytes=100)
        for length in (97, 98):
            bucket.append("x" * length)
        with pytest.raises(EventTooLarge, match="101 bytes"):
            bucket.append("x" * 99)
        assert bucket.status().pending == 2

    @pytest.mark.parametrize("megabytes", [10, 100])
    def test_that_is_huge_is_refused(self, bucket: Bucket, megabytes: int) -> None:
        with pytest.raises(EventTooLarge, match="max_event_bytes"):
            bucket.append("x" * megabytes * 1_000_000)
        assert bucket.status().batches == 0

    def test_that_is_huge_and_allowed(self) -> None:
        bucket = Bucket("orders", max_event_bytes=20_000_000)
        bucket.append("x" * 10_000_000)
        got: list[Any] = []
        bucket.processor(got.extend)
        assert bucket.drain().processed == 1
        assert got == ["x" * 10_000_000]

    @pytest.mark.parametrize("count", [0, 1, 1000, 1001, 7999, 8000, 100_000])
    def test_any_number_in_one_call(self, bucket: Bucket, count: int) -> None:
        bucket.extend(range(count))
        assert bucket.status().pending == count
        assert bucket.take() == [*range(count)]


class TestNames:
    def test_a_hundred_thousand_leave_nothing_in_the_process(self) -> None:
        def open_some(first: int) -> None:
            for number in range(first, first + 50_000):
                Bucket(f"name-{number}")

        open_some(0)
        tracemalloc.start()
        try:
            open_some(50_000)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept < 1_000_000

    def test_many_appended_to_leave_a_bounded_register_in_the_process(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(catalog_entries, "_MOST_WRITTEN", 20)
        for number in range(100):
            Bucket(f"name-{number}").append(1)
        assert len(catalog_entries.written) <= 20


PUT: dict[str, Callable[[Redis, str], object]] = {
    "string": lambda plain, key: plain.set(key, "theirs"),
    "list": lambda plain, key: plain.rpush(key, "theirs"),
    "set": lambda plain, key: plain.sadd(key, "theirs"),
    "zset": lambda plain, key: plain.zadd(key, {"theirs": 1}),
    "hash": lambda plain, key: plain.hset(key, "theirs", "x"),
    "stream": lambda plain, key: plain.xadd(key, {"theirs": "x"}),
}
OURS = {
    "open": "string",
    "batches": "stream",
    "dead": "stream",
    "stats": "hash",
    "appends": "hash",
    "attempts": "hash",
    "workers": "hash",
    "history": "list",
    "paused": "string",
}


def all_calls(bucket: Bucket) -> dict[str, Callable[[], object]]:
    its_store = bucket._definition.parts.store
    return {
        "append": lambda: bucket.append(1),
        "extend": lambda: bucket.extend(range(10)),
        "drain": bucket.drain,
        "status": bucket.status,
        "peek": bucket.peek,
        "take": bucket.take,
        "purge": bucket.purge,
        "seal": its_store.seal,
        "beat": lambda: its_store.beat("worker", lease=NOW),
        "retire": lambda: its_store.retire("worker", lease=NOW),
        "lose": lambda: finish(pending.count_lost(its_store, 1, BLOCKING)),
        "dead": lambda: list(bucket.dead),
        "replay": bucket.dead.replay_all,
        "discard": bucket.dead.discard_all,
        "deliveries": lambda: catalog.deliveries(bucket),
        "pause": bucket.pause,
        "resume": bucket.resume,
    }


def next_producer(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the producer that appends next."""
    monkeypatch.setattr(producers, "_idle", [producer := Producer()])
    return producer._id


def without_heartbeat(plain: Redis, prefix: str) -> dict[bytes, bytes | None]:
    """The values of all keys, without what a worker writes when it starts."""
    keys = keys_of("orders")
    if plain.type(keys.stats) == b"hash":
        plain.hdel(keys.stats, "clock", "resumed")
    values = dump(plain, prefix)
    if OURS["history"] == plain.type(keys.history).decode():
        del values[keys.history.encode()]
    return values


def refuses(call: Callable[[], object]) -> bool:
    """Whether the call raises the error for a key of another type."""
    try:
        call()
    except KeyOccupied as error:
        return "'orders'" in str(error)
    return False


class TestKey:
    @pytest.mark.parametrize(
        ("key", "kind"), [(key, kind) for key in OURS for kind in PUT if OURS[key] != kind]
    )
    def test_of_another_type_is_said_and_left_alone(
        self, client_of_server: Redis, prefix: str, key: str, kind: str
    ) -> None:
        bucket = impatient(batch_size=2)
        bucket.processor(lambda batch: None)
        bucket.extend([1, 2, 3])
        place = getattr(bucket._definition.parts.store.keys, key)
        client_of_server.delete(place)
        PUT[kind](client_of_server, place)
        theirs = client_of_server.dump(place)
        refused = []
        for name, call in all_calls(bucket).items():
            before = without_heartbeat(client_of_server, prefix)
            if refuses(call):
                refused.append(name)
                assert without_heartbeat(client_of_server, prefix) == before, name
            assert client_of_server.dump(place) == theirs, name
        assert refused

    @pytest.mark.parametrize("value", ["theirs", str(2**63 - 1), "-1", "", "1.5", b"\xff"])
    def test_of_a_producer_that_is_spoilt_refuses_no_append(
        self,
        bucket: Bucket,
        client_of_server: Redis,
        monkeypatch: pytest.MonkeyPatch,
        value: str | bytes,
    ) -> None:
        appends = bucket._definition.parts.store.keys.appends
        client_of_server.hset(appends, next_producer(monkeypatch), value)
        bucket.append(1)
        assert bucket.take() == [1]

    @pytest.mark.parametrize("kind", sorted(set(PUT) - {"set"}))
    def test_of_the_register_of_another_type_is_said(
        self,
        bucket: Bucket,
        client_of_server: Redis,
        prefix: str,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
    ) -> None:
        monkeypatch.setattr(catalog_entries, "written", set())
        PUT[kind](client_of_server, f"{prefix}:buckets")
        before = dump(client_of_server, prefix)
        for call in (lambda: bucket.append(1), known_buckets):
            with pytest.raises(KeyOccupied):
                call()
        assert dump(client_of_server, prefix) == before

    @pytest.mark.parametrize("outcome", ["succeeds", "fails", "rejects"])
    @pytest.mark.parametrize("key", [key for key in OURS if key != "paused"])
    def test_of_another_type_for_as_long_as_a_batch_is_processed_costs_no_event(
        self, client_of_server: Redis, key: str, outcome: str
    ) -> None:
        bucket = impatient(batch_size=2, max_attempts=1)
        bucket.append(0)
        bucket.processor(reject_all)
        bucket.drain()
        bucket.extend([1, 2, 3])
        place = getattr(bucket._definition.parts.store.keys, key)
        away = f"{place}:away"
        got: list[int] = []

        def interfere(batch: Batch) -> None:
            if not client_of_server.exists(away):
                bucket.append(4)
                PUT["hash"](client_of_server, bucket._definition.parts.store.keys.attempts)
                client_of_server.rename(place, away)
                PUT["set"](client_of_server, place)
            if outcome == "fails":
                raise ValueError
            if outcome == "rejects":
                reject_all(batch)
            else:
                got.extend(batch)

        bucket.processor(interfere)
        with suppress(KeyOccupied):
            bucket.drain()
        client_of_server.rename(away, place)
        bucket.processor(got.extend)
        drain_all(bucket)
        assert {*got, *(letter.event for letter in bucket.dead)} == {0, 1, 2, 3, 4}

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("key", OURS)
    def test_of_another_type_is_said_in_the_admin_beside_the_others(
        self, client_of_server: Redis, admin_client: Client, key: str
    ) -> None:
        for name in ("orders", "views"):
            Bucket(name).append(1)
        place = getattr(Bucket("orders")._definition.parts.store.keys, key)
        client_of_server.delete(place)
        client_of_server.geoadd(place, (1, 1, "theirs"))
        response = admin_client.get(PAGE)
        assert response.status_code == 200
        assert row(response, "views")["pending"] == "1"
        state, message = rows(response)["orders"]
        assert state.startswith("unreadable")
        assert "holds a value of another type" in state
        assert message == "cannot be read"

    def test_that_holds_a_pickle_is_never_loaded(
        self, client_of_server: Redis, tmp_path: Path
    ) -> None:
        class Bomb:
            def __reduce__(self) -> Any:
                return os.mkdir, (str(tmp_path / "loaded"),)

        bucket = impatient(max_attempts=1)
        keys = bucket._definition.parts.store.keys
        bomb = pickle.dumps(Bomb())
        bucket.append(1)
        client_of_server.set(keys.open, bomb)
        client_of_server.xadd(keys.batches, {"events": bomb, "count": 1, "opened": 1})
        client_of_server.xadd(keys.dead, {"event": bomb, "error": bomb, "first_failed": bomb})
        for place in (keys.stats, keys.appends, keys.attempts, keys.workers):
            client_of_server.hset(place, mapping={"theirs": bomb, "open": bomb, "sealed": bomb})
        bucket.processor(lambda batch: None)
        for call in all_calls(bucket).values():
            call()
        client_of_server.xadd(keys.dead, {"event": bomb})
        for letter in bucket.dead:
            with pytest.raises(InvalidEvent):
                letter.event  # noqa: B018
        assert not (tmp_path / "loaded").exists()

    @pytest.mark.parametrize("key", OURS)
    def test_that_is_missing_costs_no_other_event(self, client_of_server: Redis, key: str) -> None:
        bucket = impatient(batch_size=2, max_attempts=2)
        bucket.extend([1, 2, 3])
        bucket.processor(lambda batch: 1 / 0)
        bucket.drain()
        client_of_server.delete(getattr(bucket._definition.parts.store.keys, key))
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.append(4)
        bucket.drain()
        bucket.drain()
        assert sorted(got) == ([4] if key == "batches" else [1, 2, 3, 4])
        assert bucket.status().batches == 0

    @pytest.mark.parametrize("value", [str(2**63 - 1), "-1", "x", "", "1.5"])
    def test_counters_that_are_spoilt_are_counted_anew(
        self, client_of_server: Redis, value: str
    ) -> None:
        bucket = Bucket("orders", batch_size=2)
        bucket.extend([1, 2, 3])
        stats = bucket._definition.parts.store.keys.stats
        client_of_server.hset(stats, mapping=dict.fromkeys(client_of_server.hkeys(stats), value))
        bucket.append(4)
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.drain()
        assert got == [1, 2, 3, 4]
        status = bucket.status()
        assert (status.pending, status.in_flight, status.bytes, status.batches) == (0, 0, 0, 0)

    @pytest.mark.parametrize(
        "value", [str(2**63 - 1), "9" * 15, "-1 -1 -1", "x", "", "1 2", f"{2**63} {2**63} {2**63}"]
    )
    @pytest.mark.parametrize("outcome", ["succeeds", "fails"])
    def test_attempts_that_are_spoilt_cost_no_event(
        self, client_of_server: Redis, value: str, outcome: str
    ) -> None:
        bucket = impatient(batch_size=2, max_attempts=2)
        bucket.extend([1, 2])
        keys = bucket._definition.parts.store.keys
        [(id, _)] = client_of_server.xrange(keys.batches)
        client_of_server.hset(keys.attempts, id, value)
        got: list[int] = []

        def process(batch: Batch) -> None:
            if outcome == "fails" and 2 in batch:
                raise KeyError
            got.extend(batch)

        bucket.processor(process)
        drain_all(bucket)
        assert sorted([*got, *(letter.event for letter in bucket.dead)]) == [1, 2]
        assert not client_of_server.exists(keys.attempts)

    @pytest.mark.parametrize("value", [str(2**63 - 1), "9" * 15, "-1", "x", ""])
    def test_workers_that_are_spoilt_are_forgotten(
        self, bucket: Bucket, client_of_server: Redis, value: str
    ) -> None:
        workers = bucket._definition.parts.store.keys.workers
        client_of_server.hset(workers, "theirs", value)
        assert bucket.status().workers == 0
        bucket._definition.parts.store.beat("ours", lease=NOW)
        assert client_of_server.hkeys(workers) == [b"ours"]

    @pytest.mark.parametrize(
        "field",
        [
            *("open", "opened", "since", "sealed", "claimed", "sealed_bytes", "sealed_batches"),
            *("appended", "processed", "buried"),
        ],
    )
    def test_counter_that_is_missing_is_counted_anew(
        self, client_of_server: Redis, field: str
    ) -> None:
        bucket = impatient(batch_size=2)
        bucket.extend([1, 2, 3])
        bucket.processor(lambda batch: None)
        keys = bucket._definition.parts.store.keys
        for key in (keys.stats, keys.appends):
            client_of_server.hdel(key, field)
        status = bucket.status()
        assert (status.pending, status.in_flight, status.batches, status.bytes) == (3, 0, 2, 8)
        bucket.append(4)
        assert bucket.peek() == [1, 2, 3, 4]
        assert bucket.drain().processed == 4
        status = bucket.status()
        assert (status.pending, status.in_flight, status.batches, status.bytes) == (0, 0, 0, 0)

    def test_bucket_of_an_older_version(self, client_of_server: Redis) -> None:
        """It has no key that was added later, and its dead letters have four fields."""
        bucket = Bucket("orders", batch_size=2)
        bucket.extend([1, 2, 3])
        keys = bucket._definition.parts.store.keys
        client_of_server.delete(keys.attempts, keys.workers)
        client_of_server.xadd(
            keys.dead, {"event": "[9]", "error": "old", "batch": "", "attempts": 1}
        )
        [letter] = bucket.dead
        assert (letter.event, letter.error, letter.traceback) == ([9], "old", "")
        assert letter.first_failed is None
        assert bucket.dead.replay_all() == 1
        got: list[Any] = []
        bucket.processor(got.extend)
        bucket.drain()
        assert got == [1, 2, [9], 3]

    def test_bucket_of_a_newer_version(self, client_of_server: Redis) -> None:
        """It has fields that this version does not know."""
        bucket = Bucket("orders", batch_size=2)
        bucket.extend([1, 2, 3])
        keys = bucket._definition.parts.store.keys
        client_of_server.hset(keys.stats, "unheard_of", "x")
        client_of_server.xadd(
            keys.batches, {"events": "[4]", "count": 1, "opened": 1, "unheard_of": "x"}
        )
        got: list[Any] = []
        bucket.processor(got.extend)
        bucket.drain()
        assert got == [1, 2, 4, 3]
        assert client_of_server.hget(keys.stats, "unheard_of") == b"x"


ALL_CALLS = {**CALLS, **CALLS_OF_DEAD_LETTERS}


def all_that_is_told(error: BaseException) -> str:
    """The error as a log shows it, with the errors that caused it."""
    return f"{error!r}{''.join(format_exception(error))}"


def is_clear(call: Callable[[Bucket], object], bucket: Bucket) -> bool:
    """Whether the call returns, or raises an error of this app."""
    try:
        call(bucket)
    except JSONBufferError:
        return True
    except Exception:  # noqa: BLE001
        return False
    return True


@contextmanager
def refusing(refusal: str) -> Iterator[str]:
    """A server that refuses to serve. Yields its URL, which contains a password."""
    lines = {
        "password": b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        "permission": b"-NOPERM this user has no permissions to run the command\r\n",
        "read-only": b"-READONLY You can't write against a read only replica.\r\n",
        "silent": b"",
    }
    if refusal == "away":
        yield "redis://:hunter2@127.0.0.1:1/0"
        return
    with answering(lines[refusal]) as port:
        yield f"redis://:hunter2@127.0.0.1:{port}/0?protocol=2&socket_timeout=0.1"


class TestServer:
    @pytest.mark.parametrize(
        "line",
        [
            "-MISCONF Redis is configured to save RDB snapshots, but it can't persist on disk.",
            "-CLUSTERDOWN The cluster is down",
            "-MOVED 1 127.0.0.1:1",
            "-ASK 1 127.0.0.1:1",
            "-TRYAGAIN Multiple keys request during rehashing of slot",
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "-NOREPLICAS Not enough good replicas to write.",
            "-UNHEARDOF of",
            "-NOSCRIPT No matching script.",
            "-ERR max number of clients reached",
        ],
    )
    def test_refusal_is_said_by_every_call(self, use_cache: Callable[..., str], line: str) -> None:
        bucket = Bucket("orders", batch_size=2, append_timeout=timedelta(seconds=0.1))
        bucket.processor(lambda batch: None)
        with answering(f"{line}\r\n".encode()) as port:
            use_cache(f"redis://:hunter2@127.0.0.1:{port}/0?protocol=2&socket_timeout=5")
            for name, call in ALL_CALLS.items():
                with pytest.raises(BufferUnavailable) as caught:
                    call(bucket)
                assert "hunter2" not in all_that_is_told(caught.value), name

    @pytest.mark.parametrize("refusal", ["password", "permission", "read-only", "away", "silent"])
    def test_that_refuses_is_said_of_dead_letters_too(
        self, bucket: Bucket, use_cache: Callable[..., str], refusal: str
    ) -> None:
        with refusing(refusal) as url:
            use_cache(url)
            for name, call in CALLS_OF_DEAD_LETTERS.items():
                with pytest.raises(BufferUnavailable) as caught:
                    call(bucket)
                assert "hunter2" not in all_that_is_told(caught.value), name

    @pytest.mark.parametrize("protocol", [2, 3])
    @pytest.mark.parametrize(
        "line",
        [
            "-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'u' 'hunter2' ",
            "-ERR unknown command `AUTH`, with args beginning with: `hunter2`, ",
        ],
    )
    def test_that_knows_no_passwords_repeats_none(
        self,
        use_cache: Callable[..., str],
        caplog: pytest.LogCaptureFixture,
        line: str,
        protocol: int,
    ) -> None:
        """So answer servers before Redis 6 that are asked for RESP3, or whose AUTH was renamed."""
        caplog.set_level("DEBUG")
        bucket = Bucket("orders", append_timeout=timedelta(seconds=0.05))
        bucket.processor(lambda batch: None)
        with answering(f"{line}\r\n".encode()) as port:
            use_cache(f"redis://u:hunter2@127.0.0.1:{port}/0?protocol={protocol}&socket_timeout=5")
            for name, call in ALL_CALLS.items():
                with pytest.raises(BufferUnavailable) as caught:
                    call(bucket)
                assert "hunter2" not in all_that_is_told(caught.value), name
            Bucket("orders", on_unavailable="drop").append(1)
            messages = run_checks(app_configs=[APP], include_deployment_checks=True)
        assert "hunter2" not in f"{messages}{caplog.text}{bucket!r}{bucket._definition.parts!r}"

    @pytest.mark.parametrize(
        "location",
        [
            "redis://:hunter2/x@127.0.0.1:1/0",
            "redis://:hunter2#x@127.0.0.1:1/0",
            "redis://:hunter2?x@127.0.0.1:1/0",
            "redis://u:hunter2\u2100@127.0.0.1:1/0",
            "redis//:hunter2@127.0.0.1:1/0",
            "redis://:hunter2@127.0.0.1:port/0",
            "redis://:hunter2@127.0.0.1:1/0?socket_timeout=soon",
            "redis://:hunter2@127.0.0.1:1/0?unheard_of=1",
        ],
    )
    def test_whose_url_is_wrong_is_said_without_the_password(
        self, bucket: Bucket, use_cache: Callable[..., str], location: str
    ) -> None:
        """The password contains `/`, `?` or `#` unquoted, or the URL has another mistake."""
        alias = use_cache(location)
        with pytest.raises(BufferMisconfigured, match=alias) as caught:
            bucket.append(1)
        assert "hunter2" not in all_that_is_told(caught.value)
        messages = run_checks(app_configs=[APP])
        assert any(alias in message.msg for message in messages)
        assert "hunter2" not in str(messages)

    @pytest.mark.parametrize(
        "reply",
        [
            *(b"+OK", b":1", b"$-1", b"*-1", b"*0", b"*1\r\n:1", b"*1\r\n$3\r\nabc", b"+\xff\xfe"),
            *(b"\x00\xff", b"", b"$99999999999999999999", b"$x", b"*x", b"-", b"-\xff\xfe"),
            b"*4\r\n$1\r\nx\r\n:0\r\n:0\r\n:0",
            b"*1\r\n*2\r\n$3\r\na-b\r\n*1\r\n$1\r\nx",
            b"*3\r\n-ERR x\r\n:1\r\n:1",
        ],
    )
    def test_that_answers_garbage_is_said(
        self, use_cache: Callable[..., str], reply: bytes
    ) -> None:
        """No call raises a Python error. A reply that fits is accepted, but no event is stored."""
        bucket = Bucket("orders", append_timeout=timedelta(seconds=0.02))
        bucket.processor(lambda batch: None)
        with answering(reply + b"\r\n") as port:
            use_cache(f"redis://127.0.0.1:{port}/0?protocol=2&socket_timeout=0.1")
            wrong = [name for name, call in ALL_CALLS.items() if not is_clear(call, bucket)]
            assert wrong == []
            run_checks(app_configs=[APP], include_deployment_checks=True)
            with pytest.raises(BufferUnavailable):
                bucket.append(1)

    @pytest.mark.parametrize("name", ALL_CALLS)
    def test_that_restarts_between_two_commands(
        self, lasting_server: EmbeddedRedis, name: str
    ) -> None:
        bucket = Bucket("orders", batch_size=2)
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.extend([1, 2, 3])
        lasting_server.stop()
        lasting_server.start()
        with suppress(BufferUnavailable):
            ALL_CALLS[name](bucket)
        drain_all(bucket)
        is_removed = name in ("purge", "take")
        assert got[:3] == [1, 2, 3] or is_removed

    @pytest.mark.parametrize("outcome", ["succeeds", "fails", "rejects"])
    def test_that_restarts_while_a_batch_is_processed(
        self, lasting_server: EmbeddedRedis, outcome: str
    ) -> None:
        bucket = impatient(batch_size=2)
        bucket.extend([1, 2, 3])
        restarted: list[int] = []
        got: list[int] = []

        def process(batch: Batch) -> None:
            if not restarted:
                lasting_server.stop()
                restarted.append(lasting_server.start().pid or 0)
                if outcome == "fails":
                    raise ValueError
                if outcome == "rejects":
                    batch.reject(batch[0], "no")
            got.extend(batch)

        bucket.processor(process)
        with suppress(BufferUnavailable):
            bucket.drain()
        drain_all(bucket)
        assert {*got} == {1, 2, 3}

    @pytest.fixture
    def lasting_server(
        self, tmp_path: Path, use_cache: Callable[..., str]
    ) -> Iterator[EmbeddedRedis]:
        """A server that keeps all confirmed writes over a restart."""
        embedded = EmbeddedRedis(
            *("--dir", str(tmp_path), "--appendonly", "yes", "--appendfsync", "always")
        )
        use_cache(embedded.url)
        with embedded:
            yield embedded

    @pytest.mark.parametrize("protocol", [2, 3])
    def test_either_protocol(
        self, private_server: Redis, use_cache: Callable[..., str], protocol: int
    ) -> None:
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://{path}?db=0&protocol={protocol}")
        bucket = impatient(batch_size=2, max_attempts=1)

        def refuse(batch: Batch) -> None:
            if 2 in batch:
                raise ValueError
            batch.reject(batch[0], "no")

        bucket.processor(refuse)
        bucket.extend([1, 2, 3, 4, 5])
        while bucket.status().batches:
            bucket.drain()
        assert {letter.event for letter in bucket.dead} == {1, 2, 3, 5}
        assert bucket.dead.replay_all() == 4
        assert sorted(bucket.take()) == [1, 2, 3, 5]

    @pytest.mark.parametrize("name", WRITES)
    def test_that_forgets_its_scripts_between_any_two_commands(
        self, bucket: Bucket, private_server: Redis, name: str
    ) -> None:
        bucket.processor(lambda batch: None)
        for _ in range(3):
            private_server.script_flush()
            CALLS[name](bucket)

    def test_that_is_full_says_so(self, bucket: Bucket, private_server: Redis) -> None:
        private_server.config_set("maxmemory", 1)
        with pytest.raises(BufferOutOfMemory, match="maxmemory"):
            bucket.append(1)


@pytest.mark.django_db(transaction=True)
class TestAdmin:
    @pytest.mark.parametrize(
        "path",
        [
            *("%3Cscript%3Ealert(1)%3C/script%3E/", "orders%0a/", "orders%0d%0aX-A:%201/"),
            *("%2e%2e/", "..%2f..%2fetc/passwd", "orders/dead/1-1/", "orders/", "%00/"),
            *("{{7*7}}/", "javascript:alert(1)/", "%ff/", "%00/change/", "%ff/change/"),
            *("nobody/change/", "{{7*7}}/purge/", "%3Cscript%3Ealert(1)/change/"),
        ],
    )
    def test_has_no_page_of_what_is_no_bucket(self, admin_client: Client, path: str) -> None:
        for method in (admin_client.get, admin_client.post):
            response = method(PAGE + path)
            assert response.status_code in (404, 405)
            assert "X-A" not in response
            assert b"<script>alert" not in response.content

    def test_query_that_makes_no_sense_is_not_heeded(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        script = "<script>alert(1)</script>"
        hostile = {"o": "-1", "p": "x", "sort": script, "state": script, "all": "", "e": "1"}
        response = admin_client.get(PAGE, hostile)
        assert response.status_code == 200
        assert b"<script>alert" not in response.content
        assert row(response, "orders")["pending"] == "1"
        assert b"<script>alert" not in admin_client.get(PAGE, {"q": script}).content

    @pytest.mark.parametrize("action", ["replay_all", "discard_all", "purge", "delete_selected"])
    def test_changes_nothing(self, admin_client: Client, admin_user: User, action: str) -> None:
        bucket = Bucket("orders", batch_size=1)
        bucket.extend([1, 2])
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(admin_user)
        form = {"action": action, "_selected_action": "orders"}
        assert strict.post(PAGE, form).status_code == 403
        assert admin_client.post(PAGE, form).status_code == 405
        assert admin_client.get(PAGE, form).status_code == 200
        assert bucket.take() == [1, 2]

    @pytest.mark.parametrize(
        "event",
        [
            *("</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>"),
            *("javascript:alert(1)", "{{7*7}}", "{% debug %}"),
        ],
    )
    def test_shows_no_event(self, admin_client: Client, event: str) -> None:
        bucket = Bucket("orders", batch_size=1)
        bucket.extend([event, event])

        def refuse_first(batch: Batch) -> None:
            batch.reject(batch[0], event)

        bucket.processor(refuse_first)
        bucket.drain()
        bucket.append(event)
        response = admin_client.get(PAGE)
        assert row(response, "orders")["dead"] == "2"
        page = response.content.decode()
        assert event not in page
        assert "alert(1)" not in page
        assert ">49<" not in page

    def test_event_of_ten_megabytes_is_a_figure(self, admin_client: Client) -> None:
        Bucket("orders", max_event_bytes=20_000_000).append("x" * 10_000_000)
        response = admin_client.get(PAGE)
        assert row(response, "orders")["pending"] == "1"
        assert len(response.content) < 100_000
        assert figures_of(admin_client.get(BUCKET))["Bytes"] == "9.5 MB"

    def test_a_million_dead_letters_are_a_figure(
        self, admin_client: Client, private_server: Redis
    ) -> None:
        bucket = Bucket("orders")
        bucket.append(1)
        fill = "for n = 1, 1000000 do redis.call('XADD', KEYS[1], n, 'event', n) end"
        private_server.eval(fill, 1, bucket._definition.parts.store.keys.dead)
        response = admin_client.get(PAGE)
        assert row(response, "orders")["dead"] == "1,000,000"
        assert [letter.event for letter in bucket.dead.page(2)] == [1, 2]
        assert bucket.dead["1000000-0"].event == 1_000_000
        assert bucket.dead.replay("1000000-0") == 1
        assert bucket.take() == [1_000_000, 1]

    @pytest.mark.parametrize("refusal", ["password", "permission", "read-only", "away", "silent"])
    def test_server_that_refuses_is_said_without_the_password(
        self, admin_client: Client, use_cache: Callable[..., str], refusal: str
    ) -> None:
        with refusing(refusal) as url:
            use_cache(url)
            response = admin_client.get(PAGE)
        assert response.status_code == 503
        assert b"Check that Redis is running" in response.content
        assert b"hunter2" not in response.content

    @pytest.mark.parametrize("action", ["pause", "purge"])
    @pytest.mark.parametrize("refusal", ["password", "permission", "away", "silent"])
    def test_server_that_refuses_is_said_to_who_acts(
        self, admin_client: Client, use_cache: Callable[..., str], refusal: str, action: str
    ) -> None:
        with refusing(refusal) as url:
            use_cache(url)
            response = admin_client.post(f"{PAGE}orders/{action}/")
        assert response.status_code == 503
        assert b"Check that Redis is running" in response.content
        assert b"hunter2" not in response.content

    @pytest.mark.parametrize("reply", [b"*0", b":1", b"*1\r\n*1\r\n$1\r\nx", b"HTTP/1.1 400"])
    def test_server_that_answers_garbage_is_said(
        self, admin_client: Client, use_cache: Callable[..., str], reply: bytes
    ) -> None:
        with answering(reply + b"\r\n") as port:
            use_cache(f"redis://127.0.0.1:{port}/0?protocol=2&socket_timeout=0.1")
            assert admin_client.get(PAGE).status_code == 503

    def test_register_of_another_type_is_said(
        self, admin_client: Client, client_of_server: Redis, prefix: str
    ) -> None:
        client_of_server.rpush(f"{prefix}:buckets", "theirs")
        response = admin_client.get(PAGE)
        assert response.status_code == 503
        assert b"holds a value of another type" in response.content
        assert b"Correct the settings" not in response.content


class Panic(BaseException):
    """A BaseException, as extensions that are written in Rust raise it after a panic."""


def recurse(batch: Batch) -> None:
    recurse(batch)


def run_out_of_memory(batch: Batch) -> None:
    bytearray(2**60)


class TestProcessor:
    @pytest.mark.parametrize(
        "processor",
        [
            lambda batch: 1 / 0,
            lambda batch: sys.exit(),
            lambda batch: sys.exit("no"),
            recurse,
            run_out_of_memory,
            lambda batch: os.kill(os.getpid(), signal.SIGUSR1),
            lambda batch: ctypes.pythonapi.PyErr_SetNone(ctypes.py_object(ValueError)),
        ],
        ids=[
            "raises",
            "exits",
            "exits-with-a-word",
            "recurses",
            "memory",
            "signal",
            "in-C",
        ],
    )
    def test_that_fails_keeps_the_batch(
        self, bucket: Bucket, processor: Callable[[Batch], object], user_signal: None
    ) -> None:
        bucket.processor(processor)
        bucket.extend([1, 2])
        assert bucket.drain() == report(failed=3)  # the batch, and its halves
        assert bucket.status().pending == 2

    def test_that_panics_ends_its_worker_and_has_failed(self) -> None:
        """A BaseException that is not an Exception is raised, but counts as a failure."""
        bucket = impatient(max_attempts=2)
        bucket.extend([1, 2])
        got: list[int] = []

        def process(batch: Batch) -> None:
            if 2 in batch:
                raise Panic
            got.extend(batch)

        bucket.processor(process)
        for _ in range(3):
            with pytest.raises(Panic):
                drain_all(bucket)
        drain_all(bucket)
        assert got == [1]
        assert [letter.event for letter in bucket.dead] == [2]

    @pytest.mark.parametrize("end", [KeyboardInterrupt, GeneratorExit])
    def test_that_is_interrupted_has_not_failed(self, end: type[BaseException]) -> None:
        bucket = impatient(max_attempts=1)
        bucket.append(1)

        def process(batch: Batch) -> None:
            raise end

        bucket.processor(process)
        with pytest.raises(end):
            bucket.drain()
        assert bucket.status().pending == 1

    @pytest.fixture
    def user_signal(self) -> Iterator[None]:
        """A signal handler that raises, wherever the program is."""

        def handle(number: int, frame: object) -> None:
            raise RuntimeError("a signal")

        before = signal.signal(signal.SIGUSR1, handle)
        yield
        signal.signal(signal.SIGUSR1, before)

    @pytest.mark.parametrize(
        "error",
        [
            *(ValueError("\ud800"), Unspeakable(), Panic("no"), StopIteration(), SystemExit()),
            *(ValueError("x" * 1_000_000), ValueError("\x00"), ExceptionGroup("", [KeyError()])),
        ],
        ids=kind,
    )
    @pytest.mark.parametrize("is_rejected", [False, True], ids=["raised", "rejected"])
    def test_that_says_anything_of_an_event_has_it_buried(
        self, error: BaseException, is_rejected: bool
    ) -> None:
        def process(batch: Batch) -> None:
            if 1 not in batch:
                return
            if not is_rejected:
                raise error
            batch.reject(1, error)

        bucket = Bucket("orders", max_attempts=1, batch_size=1, lease=timedelta(milliseconds=200))
        bucket.extend([1, 2])
        bucket.processor(process)
        # Only the yes or no is asserted: the suite cannot report the texts of some of these errors.
        for pause_seconds in (0, 0.25, 0):
            with suppress(Panic):
                assert is_clear(Bucket.drain, bucket)
            time.sleep(0 if bucket.status().dead else pause_seconds)
        [letter] = bucket.dead
        assert (letter.event, bucket.status().batches) == (1, 0)
        assert kind(error) in letter.error or "ExceptionGroup" in letter.error

    @pytest.mark.parametrize(
        "reason", ["\ud800", "", "\x00", None, 5, b"x", ["x"], ValueError, object()], ids=kind
    )
    def test_that_rejects_for_no_reason(self, reason: Any) -> None:
        """Whatever the reason is, the event is buried, and the worker goes on."""
        bucket = impatient(max_attempts=1)
        bucket.append(1)
        bucket.processor(lambda batch: batch.reject(batch[0], reason))
        assert is_clear(Bucket.drain, bucket)
        assert [letter.event for letter in bucket.dead] == [1]
        assert bucket.status().batches == 0

    def test_that_ends_its_process_leaves_the_batch_to_another(self) -> None:
        bucket = impatient()
        bucket.extend([1, 2])
        with start_process("bucket.processor(lambda batch: os._exit(7)); bucket.drain()") as worker:
            assert worker.wait(timeout=60) == 7
        assert bucket.status().in_flight == 2
        got: list[int] = []
        bucket.processor(got.extend)
        assert bucket.drain().processed == 2
        assert got == [1, 2]
        assert bucket.status().batches == 0

    def test_that_hangs_keeps_its_batch_until_its_process_is_killed(self) -> None:
        lease = timedelta(seconds=0.3)
        bucket = Bucket("orders", lease=lease)
        bucket.append(1)
        got: list[int] = []
        bucket.processor(got.extend)
        with start_process(
            "bucket.processor(lambda batch: time.sleep(600)); bucket.drain()"
        ) as worker:
            wait_for(lambda: bucket.status().in_flight == 1)
            for _ in range(4):
                time.sleep(lease.total_seconds() / 2)
                assert bucket.drain().processed == 0
            assert bucket.status().workers == 1
            worker.kill()
        wait_for(lambda: bucket.drain().processed == 1)
        assert got == [1]

    @pytest.mark.parametrize("result", [False, 0, "rubbish", NotImplemented, ValueError("x")])
    def test_that_returns_rubbish_has_returned(self, bucket: Bucket, result: object) -> None:
        bucket.processor(lambda batch: result)
        bucket.append(1)
        assert bucket.drain() == report(processed=1, batches=1)

    def test_that_changes_its_batch_changes_nothing_else(self, bucket: Bucket) -> None:
        def spoil(batch: Batch) -> None:
            batch[0]["a"].append("spoilt")
            batch.id = "spoilt"
            raise ValueError

        seen: list[Any] = []
        bucket = impatient()
        bucket.append({"a": []})
        bucket.processor(spoil)
        bucket.drain()
        bucket.processor(seen.extend)
        assert bucket.drain().processed == 1
        assert seen == [{"a": []}]

    def test_that_appends_to_its_own_bucket(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: bucket.append("again"))
        bucket.append(1)
        assert bucket.drain().batches == 1
        assert bucket.peek() == ["again"]

    @pytest.mark.django_db(transaction=True)
    def test_that_leaves_a_broken_transaction(self, bucket: Bucket) -> None:
        def spoil(batch: Batch) -> None:
            transaction.atomic().__enter__()
            Tag.objects.create(name="half")
            connection.needs_rollback = True

        bucket.processor(spoil)
        bucket.append(1)
        assert bucket.drain() == report(failed=1)
        assert not connection.in_atomic_block
        assert Tag.objects.count() == 0

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("atomic", [None, "default"])
    def test_that_closes_its_connection(self, bucket: Bucket, atomic: str | None) -> None:
        def close(batch: Batch) -> None:
            Tag.objects.count()
            connection.close()

        bucket.processor(close, atomic=atomic)
        bucket.append(1)
        outcome = bucket.drain()
        assert outcome in (report(processed=1, batches=1), report(failed=1))
        assert (bucket.status().pending == 0) == (outcome.failed == 0)
        assert not connection.in_atomic_block
