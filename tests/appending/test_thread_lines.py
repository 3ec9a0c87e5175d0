"""Group commit: threads that append to one bucket at the same time."""

import asyncio
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from django_jsonbuffer import Bucket, gathered
from django_jsonbuffer.appending import lines, losses, spill, thread_lines, trips
from django_jsonbuffer.appending.groups import Append
from django_jsonbuffer.appending.spill_rows import pack
from django_jsonbuffer.exceptions import (
    AppendUndecided,
    BucketFull,
    BufferUnavailable,
    InvalidEvent,
    KeyOccupied,
    SpillFull,
)
from django_jsonbuffer.store.breakers import breaker_of
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.links import BLOCKING
from django_jsonbuffer.store.store import Store
from tests.server import Redis
from tests.test_drain_buckets import environment
from tests.test_embedded_redis import wait_until
from tests.threads import at_once


class Gate:
    """Stops the first call of :meth:`Store.append_by` until it is opened, and counts all calls."""

    def __init__(self, append_by: Callable[..., Any]) -> None:
        self._append_by = append_by
        self._is_open = threading.Event()
        self._has_come = threading.Event()
        self.sizes: list[int] = []
        """Number of events of each call."""
        self.fails_with: list[BaseException] = []
        """What the next calls raise, after they have been carried out."""
        self.stops_second: threading.Event | None = None
        """The second call waits until this is set."""

    async def append_by(self, store: Store, link: Any, events: Any, *args: Any, **kw: Any) -> Any:
        self.sizes.append(len(events))
        if len(self.sizes) == 1:
            self._has_come.set()
            assert self._is_open.wait(10)
        elif len(self.sizes) == 2 and self.stops_second is not None:
            assert self.stops_second.wait(10)
        outcome = await self._append_by(store, link, events, *args, **kw)
        if self.fails_with and len(self.sizes) > 1:
            raise self.fails_with.pop(0)
        return outcome

    def wait(self) -> None:
        assert self._has_come.wait(10)

    def open(self) -> None:
        self._is_open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(Store.append_by)

    async def append_by(store: Store, *args: Any, **kw: Any) -> Any:
        return await gate.append_by(store, *args, **kw)

    monkeypatch.setattr(Store, "append_by", append_by)
    return gate


def line_of(bucket: Bucket) -> thread_lines.Line:
    return thread_lines._lines[bucket._definition.parts.store.identity]


class Callers:
    """Threads that append one after the other, and what each of them got."""

    def __init__(self) -> None:
        self.outcomes: dict[Any, BaseException | None] = {}
        self._threads: list[threading.Thread] = []

    def add(self, event: Any, append: Callable[[Any], None]) -> threading.Thread:
        def call() -> None:
            try:
                append(event)
                self.outcomes[event] = None
            except BaseException as error:  # noqa: BLE001
                self.outcomes[event] = error

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "this thread was stranded"


@contextmanager
def in_line(gate: Gate, *buckets: Bucket) -> Iterator[Callers]:
    """A first thread appends 0 by the first bucket. Meanwhile each bucket appends 1, 2, and so on.

    The block runs while the threads wait. Then the first call goes on.
    """
    callers = Callers()
    callers.add(0, buckets[0].append)
    gate.wait()
    line = line_of(buckets[0])
    for number, bucket in enumerate(buckets, 1):
        callers.add(number, bucket.append)
        wait_until(lambda number=number: len(line._waiting) == number)  # type: ignore[misc]
    yield callers
    gate.open()
    callers.join()


class TestTogether:
    def test_those_who_wait_leave_in_one_call_in_their_order(self, gate: Gate) -> None:
        bucket = Bucket("orders")
        with in_line(gate, *[bucket] * 5) as callers:
            pass
        assert gate.sizes == [1, 5]
        assert bucket.take() == [0, 1, 2, 3, 4, 5]
        assert set(callers.outcomes.values()) == {None}

    def test_nothing_is_confirmed_before_it_is_stored(self, gate: Gate) -> None:
        with in_line(gate, *[Bucket("orders")] * 3) as callers:
            assert callers.outcomes == {}

    def test_is_off_if_the_setting_says_so(self, gate: Gate, settings: Settings) -> None:
        settings.JSONBUFFER = {**settings.JSONBUFFER, "GROUP_COMMIT": False}
        bucket, callers = Bucket("orders"), Callers()
        callers.add(0, bucket.append)
        gate.wait()
        callers.add(1, bucket.append)
        wait_until(lambda: bucket.peek() == [1])
        gate.open()
        callers.join()
        assert bucket.take() == [1, 0]

    def test_is_no_longer_than_the_limit(self, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lines, "MOST_BYTES", 6)
        bucket = Bucket("orders")
        with in_line(gate, *[bucket] * 7):
            pass
        assert gate.sizes == [1, 3, 3, 1]
        assert bucket.take() == [*range(8)]

    @pytest.mark.parametrize("limits", [{"max_pending": 3}, {"max_pending_bytes": 6}])
    def test_is_no_larger_than_the_bucket(self, gate: Gate, limits: dict[str, Any]) -> None:
        """A larger one never has room, so no retry could settle it after a lost reply."""
        with in_line(gate, *[Bucket("orders", **limits)] * 7):
            pass
        assert max(gate.sizes) == 3

    def test_large_append_leaves_for_itself(self, gate: Gate) -> None:
        """Others would wait for all its bytes."""
        bucket = Bucket("orders", batch_size=None)
        with in_line(gate, bucket) as callers:
            callers.add("large", lambda event: bucket.extend(["x" * 1000] * 1100))
            wait_until(lambda: "large" in callers.outcomes)
        assert gate.sizes == [1, 1100, 1]
        assert bucket.take()[1100:] == [0, 1]

    def test_to_forward_delays_no_other(
        self, client_of_server: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket, callers = Bucket("orders", spill_dir=str(tmp_path)), Callers()
        may_go_on, has_begun = threading.Event(), threading.Event()

        def hangs(*args: Any, **kw: Any) -> int:
            if not has_begun.is_set():
                has_begun.set()
                assert may_go_on.wait(10)
            return 0

        monkeypatch.setattr(spill, "forward", hangs)
        callers.add(0, bucket.append)
        assert has_begun.wait(10)
        for number in (1, 2, 3):
            callers.add(number, bucket.append)
        wait_until(lambda: len(callers.outcomes) == 3)
        may_go_on.set()
        callers.join()
        assert sorted(bucket.take()) == [0, 1, 2, 3]

    def test_in_many_buckets_leaves_few_lines(
        self, client_of_server: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lines, "MOST_LINES", 3)
        thread_lines._lines.clear()
        at_once([partial(Bucket(f"orders-{number}").append, number) for number in range(7)])
        assert 0 < len(thread_lines._lines) <= 3

    def test_main_thread_leaves_for_itself(self, gate: Gate) -> None:
        """A signal handler that raises there would end a trip that others wait for."""
        bucket = Bucket("orders")
        with in_line(gate, bucket):
            bucket.append("of the main thread")
        assert bucket.take() == ["of the main thread", 0, 1]

    def test_handles_with_other_options_leave_for_themselves(self, gate: Gate) -> None:
        bucket, other = Bucket("orders"), Bucket("orders", max_pending=100)
        with in_line(gate, bucket, bucket, other, bucket):
            pass
        assert gate.sizes == [1, 2, 1, 1]
        assert bucket.take() == [0, 1, 2, 3, 4]

    def test_many_threads_need_few_calls(self, client_of_server: Redis) -> None:
        bucket = Bucket("orders")
        bucket.append(0)
        rows: list[list[Any]] = []

        def append(thread: int) -> None:
            for number in range(30):
                bucket.append([thread, number])

        at_once([lambda thread=thread: append(thread) for thread in range(24)])  # type: ignore[misc]
        rows = bucket.take()[1:]
        assert len(rows) == 24 * 30
        for thread in range(24):
            assert [n for each, n in rows if each == thread] == [*range(30)]
        assert not line_of(bucket)._threads


class TestOutcome:
    def test_invalid_event_is_the_error_of_its_caller_alone(self, gate: Gate) -> None:
        bucket = Bucket("orders")
        with in_line(gate, bucket, bucket), pytest.raises(InvalidEvent):
            bucket.append(object())
        assert bucket.take() == [0, 1, 2]

    @pytest.mark.parametrize("overflow", ["raise", "drop_newest"])
    def test_events_that_do_not_fit_together_are_tried_alone(
        self, gate: Gate, overflow: str, client_of_server: Redis
    ) -> None:
        bucket = Bucket("orders", max_pending=3, overflow=overflow)
        with in_line(gate, *[bucket] * 4) as callers:
            pass
        assert bucket.take() == [0, 1, 2]
        kinds = [type(callers.outcomes[number]) for number in range(5)]
        refused = BucketFull if overflow == "raise" else type(None)
        assert kinds == [type(None)] * 3 + [refused] * 2

    def test_oldest_are_dropped_for_all_of_them(self, gate: Gate) -> None:
        bucket = Bucket("orders", max_pending=4, batch_size=2, overflow="drop_oldest")
        with in_line(gate, *[bucket] * 6) as callers:
            pass
        assert set(callers.outcomes.values()) == {None}
        left = bucket.take()
        assert left == [*range(7)][-len(left) :]
        assert 3 <= len(left) <= 4

    def test_refusal_is_an_error_object_of_each_caller(
        self, gate: Gate, client_of_server: Redis
    ) -> None:
        bucket = Bucket("orders")
        with in_line(gate, bucket, bucket) as callers:
            client_of_server.lpush(bucket.key, "theirs")
        errors = [callers.outcomes[number] for number in (1, 2)]
        assert [type(error) for error in errors] == [KeyOccupied] * 2
        assert errors[0] is not errors[1]
        assert str(errors[0]) == str(errors[1])

    def test_one_retry_settles_the_whole_group(self, gate: Gate) -> None:
        lost = BufferUnavailable("the line broke")
        lost.may_be_done = True
        gate.fails_with = [lost]
        bucket = Bucket("orders", append_timeout=timedelta(0))
        with in_line(gate, bucket, bucket, bucket) as callers:
            pass
        errors = [callers.outcomes[number] for number in (1, 2, 3)]
        undecided = [error for error in errors if isinstance(error, AppendUndecided)]
        assert len(undecided) == 3
        assert len({error.stamp for error in undecided}) == 1
        assert len({id(error) for error in undecided}) == 3
        for error in undecided:
            error.retry()
        assert gate.sizes == [1, 3, 3]
        assert bucket.take() == [0, 1, 2, 3]

    def test_spill_keeps_what_fits(self, unreachable: str, tmp_path: Path, gate: Gate) -> None:
        options: dict[str, Any] = {"on_unavailable": "spill", "spill_dir": tmp_path / "spill"}
        bucket = Bucket("orders", max_spill_bytes=2 * len(pack([b"0"])), **options)
        with in_line(gate, *[bucket] * 3) as callers:
            pass
        kinds = [type(callers.outcomes[number]) for number in range(4)]
        assert kinds == [type(None), type(None), SpillFull, SpillFull]


def trip_of(bucket: Bucket, *events: int) -> trips.Trip:
    """A trip in which each event has a caller of its own."""
    parts = bucket._definition.parts
    groups = [[Append(parts.store, parts.options, [b"%d" % event], 2)] for event in events]
    return trips.Trip([trips.Place(group) for group in groups])


def interrupt_after_storing(patch: pytest.MonkeyPatch) -> None:
    append_by = Store.append_by

    async def interrupted(*args: Any, **kw: Any) -> None:
        await append_by(*args, **kw)
        raise Interrupt

    patch.setattr(Store, "append_by", interrupted)


class Interrupt(BaseException):
    pass


INTERRUPTED = """
import json
import random
import signal
import threading
import django
import redis.connection
django.setup()
from django_jsonbuffer import Bucket

# Hiredis 3.5 crashes if a signal handler raises while it packs the commands of a new connection.
redis.connection.HIREDIS_AVAILABLE = False
bucket, is_over, confirmed = Bucket("orders", batch_size=None), threading.Event(), [0] * 8

class Interrupt(BaseException):
    pass

def interrupt(*args):
    raise Interrupt

def append(thread):
    while not is_over.is_set():
        bucket.append([thread, confirmed[thread]])
        confirmed[thread] += 1

bucket.append("of the main thread")  # imports all modules
threads = [threading.Thread(target=append, args=[thread], daemon=True) for thread in range(8)]
for each in threads:
    each.start()
signal.signal(signal.SIGALRM, interrupt)
for _ in range(150):
    try:
        # Again after a while, because Python ignores what is raised in a finalizer.
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0002, 0.004), 0.3)
        while True:
            bucket.append("of the main thread")
    except Interrupt:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
is_over.set()
for each in threads:
    each.join(5)
    assert not each.is_alive(), "this thread was stranded"
print(json.dumps(confirmed))
"""
"""Threads append, among them the main thread, which a signal interrupts 150 times."""


class TestInterrupt:
    def test_of_the_sender_leaves_its_trip_to_another(self, gate: Gate) -> None:
        """The events are stored once, also those of the sender."""
        gate.fails_with = [Interrupt()]
        bucket = Bucket("orders")
        with in_line(gate, bucket, bucket, bucket) as callers:
            pass
        assert isinstance(callers.outcomes[1], Interrupt)
        assert (callers.outcomes[2], callers.outcomes[3]) == (None, None)
        assert gate.sizes == [1, 3, 3]
        assert bucket.take() == [0, 1, 2, 3]
        bucket.append(4)
        assert bucket.take() == [4]

    def test_of_each_sender_but_the_last(self, gate: Gate) -> None:
        gate.fails_with = [Interrupt(), Interrupt()]
        bucket = Bucket("orders")
        with in_line(gate, bucket, bucket, bucket) as callers:
            pass
        assert callers.outcomes[3] is None
        assert bucket.take() == [0, 1, 2, 3]

    def test_while_a_group_is_put_together_strands_nobody(
        self, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        board, interrupts = lines.board, [Interrupt]

        def interrupted(*args: Any) -> trips.Trip:
            trip = board(*args)
            if interrupts:
                raise interrupts.pop()
            return trip

        monkeypatch.setattr(thread_lines, "board", interrupted)
        bucket = Bucket("orders")
        with in_line(gate, *[bucket] * 4) as callers:
            pass
        assert isinstance(callers.outcomes.pop(1), Interrupt)
        assert callers.outcomes == {0: None, 2: None, 3: None, 4: None}
        assert bucket.take() == [0, 2, 3, 4]

    @pytest.mark.parametrize("policy", ["raise", "spill"])
    def test_of_the_sender_is_not_forgotten_while_redis_is_away(
        self, client_of_server: Redis, tmp_path: Path, policy: str
    ) -> None:
        """The events may be stored, so no caller is told otherwise, and none is spilled anew."""
        bucket = Bucket("orders", on_unavailable=policy, spill_dir=str(tmp_path))
        trip = trip_of(bucket, 1, 2)
        with pytest.MonkeyPatch.context() as patch:
            interrupt_after_storing(patch)
            with pytest.raises(Interrupt):
                finish(trip.make(BLOCKING))
        store = trip.places[0].group[0].store
        breaker = breaker_of(store.cache, store.keys.open)
        breaker.failure, breaker._ends_at = "Redis is away.", time.monotonic() + 60
        finish(trip.make(BLOCKING))
        breaker.close()
        if policy == "raise":
            for place in trip.places:
                assert isinstance(place.failure, AppendUndecided)
                place.failure.retry()
        bucket.append(3)  # forwards what is spilled
        assert sorted(bucket.take()) == [1, 2, 3]

    def test_after_the_events_are_stored_is_a_success_of_the_others(
        self, client_of_server: Redis
    ) -> None:
        bucket = Bucket("orders")
        trip = trip_of(bucket, 1, 2)

        async def interrupted(*args: Any) -> None:
            raise Interrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(losses, "report", interrupted)
            patch.setattr(losses, "unreported", {"orders": 1})
            finish(trip.make(BLOCKING))
            with pytest.raises(Interrupt):
                finish(trip.conclude(BLOCKING))
        assert [(place.is_done, place.failure) for place in trip.places] == [(True, None)] * 2
        assert bucket.take() == [1, 2]

    def test_while_events_are_tried_alone_repeats_none(self, gate: Gate) -> None:
        bucket = Bucket("orders", max_pending=3)
        gate.fails_with = [Interrupt()]
        with in_line(gate, *[bucket] * 4) as callers:
            pass
        assert bucket.take() == [0, 1, 2]
        assert isinstance(callers.outcomes[4], BucketFull)

    def test_by_signals_strands_no_thread(self, client_of_server: Redis) -> None:
        """The main thread is the only one that a signal can interrupt."""
        process = subprocess.run(
            [sys.executable, "-c", INTERRUPTED],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert process.returncode == 0, process.stderr
        confirmed = json.loads(process.stdout)
        stored = [event for event in Bucket("orders").take() if isinstance(event, list)]
        for thread, count in enumerate(confirmed):
            assert [number for each, number in stored if each == thread] == [*range(count)]

    def test_signal_handler_may_append(self, gate: Gate) -> None:
        bucket, is_done, handled = Bucket("orders"), threading.Event(), list[object]()

        def interrupt() -> None:
            gate.wait()
            while not is_done.wait(0.02):  # a signal that comes just before a wait does not end it
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            gate.open()

        def handle(*args: object) -> None:
            handled.append(None)
            if len(handled) == 1:
                bucket.append("of the handler")
                is_done.set()

        before = signal.signal(signal.SIGUSR1, handle)
        helper = threading.Thread(target=interrupt)
        helper.start()
        try:
            bucket.append(1)
            helper.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert bucket.take() == ["of the handler", 1]


def expect(kind: type[Exception], call: Callable[[], None]) -> None:
    try:
        call()
    except Exception as error:
        if type(error) is kind:
            return
        raise
    raise AssertionError


def exit_code_of_fork(call: Callable[[], object]) -> int:
    if (pid := os.fork()) == 0:
        try:
            call()
            os._exit(0)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 10
    while (found := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        assert time.monotonic() < deadline, "the child was stranded"
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(found[1])


class TestLongWait:
    """A thread in line waits for one that does not go on, perhaps because that one waits for it."""

    @pytest.fixture(autouse=True)
    def bucket(self, monkeypatch: pytest.MonkeyPatch) -> Bucket:
        monkeypatch.setattr(thread_lines, "LONGEST_WAIT_SECONDS", 0.6)
        return Bucket("orders", append_timeout=timedelta(0))

    def test_ends_with_a_trip_of_its_own(self, gate: Gate, bucket: Bucket) -> None:
        with in_line(gate, bucket, bucket) as callers:
            wait_until(lambda: {1, 2} <= {*callers.outcomes})
            assert sorted(bucket.take()) == [1, 2]
            callers.add(3, bucket.append)
            wait_until(lambda: len(line_of(bucket)._waiting) == 1)
        assert set(callers.outcomes.values()) == {None}
        assert bucket.take() == [0, 3]

    def test_for_the_sender_of_its_events_is_undecided(self, gate: Gate, bucket: Bucket) -> None:
        """Of three callers, the second one sends for the third one, and hangs."""
        gate.stops_second = threading.Event()
        with in_line(gate, bucket, bucket) as callers:
            gate.open()
            wait_until(lambda: 2 in callers.outcomes)
            error = callers.outcomes[2]
            assert isinstance(error, AppendUndecided)
            with pytest.raises(AppendUndecided, match="another thread"):
                error.retry()
            assert exit_code_of_fork(lambda: expect(BufferUnavailable, error.retry)) == 0
            assert bucket.take() == [0]
            gate.stops_second.set()
        error.retry()
        asyncio.run(error.aretry())
        assert callers.outcomes[1] is None
        assert bucket.take() == [1, 2]
        callers.add(4, bucket.append)
        callers.join()
        assert bucket.take() == [4]


class Appending(logging.Handler):
    """Appends what is logged, but not what such an append logs."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self._bucket = bucket
        self._busy = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(self._busy, "is_it"):
            self._busy.is_it = True
            self._bucket.append(record.getMessage())
            del self._busy.is_it


@pytest.fixture
def full() -> Iterator[Bucket]:
    """A full bucket. Each append to it logs a line, and a log handler appends this line too."""
    bucket = Bucket("orders", max_pending=2, overflow="drop_oldest", batch_size=1)
    root, handler = logging.getLogger(), Appending(bucket)
    bucket.extend([1, 2])
    root.addHandler(handler)
    yield bucket
    root.removeHandler(handler)


@pytest.mark.parametrize("threads", [False, True])
def test_log_handler_may_append_what_an_append_logs(
    client_of_server: Redis, full: Bucket, threads: bool
) -> None:
    append = partial(full.append, 3)
    at_once([append]) if threads else append()
    assert full.take() == [3, "Bucket orders is full. Dropped: 1 events."]


class Raising(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError("of the handler")


@pytest.mark.parametrize("threads", [False, True])
def test_log_handler_that_raises_fails_no_append(
    client_of_server: Redis, full: Bucket, capfd: pytest.CaptureFixture[str], threads: bool
) -> None:
    root, handler, other = logging.getLogger(), Raising(), Bucket("others")
    root.addHandler(handler)

    def append() -> None:
        with gathered():
            full.append(3)
            other.append(4)

    try:
        at_once([append]) if threads else append()
    finally:
        root.removeHandler(handler)
    assert 3 in full.take()
    assert other.take() == [4]
    assert "ValueError: of the handler" in capfd.readouterr().err


def test_log_handlers_of_threads_may_append_what_others_have_logged(
    client_of_server: Redis, full: Bucket
) -> None:
    """A handler holds its lock while it appends. Nobody may log while it waits for the append."""

    def log() -> None:
        for _ in range(100):
            logging.getLogger().warning("of a handler")

    def append() -> None:
        for _ in range(100):
            full.append("of a caller")

    began = time.monotonic()
    at_once([log, append] * 4)
    assert time.monotonic() - began < thread_lines.LONGEST_WAIT_SECONDS


def test_child_of_a_fork_does_not_wait_for_threads_of_its_parent(gate: Gate) -> None:
    bucket, callers = Bucket("orders"), Callers()
    callers.add(0, bucket.append)
    gate.wait()
    assert exit_code_of_fork(lambda: at_once([partial(bucket.append, 1)])) == 0
    gate.open()
    callers.join()
    assert bucket.take() == [1, 0]


def test_append_fails_fast_while_another_finds_out_whether_redis_is_back(
    unreachable: str, gate: Gate
) -> None:
    gate.open()
    bucket = Bucket("orders")
    for _ in range(2):
        with pytest.raises(BufferUnavailable):
            bucket.append(1)
    gate._is_open.clear()
    began = time.monotonic()
    callers = Callers()
    callers.add(2, bucket.append)
    callers.join()
    assert "not tried again" in str(callers.outcomes[2])
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_append_leaves_nothing_for_the_garbage_collector(
    client_of_server: Redis, threads: int
) -> None:
    bucket = Bucket("orders")

    def objects() -> int:
        return sum(isinstance(each, trips.Place | trips.Trip) for each in gc.get_objects())

    def append() -> None:
        if threads:
            at_once([lambda: bucket.append(1)] * threads)
        else:
            bucket.append(1)

    append()
    gc.collect()
    gc.disable()
    try:
        before = objects()
        append()
        assert objects() == before
    finally:
        gc.enable()
