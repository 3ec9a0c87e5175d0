import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending.groups import Append
from django_jsonbuffer.appending.thread_lines import failure_of
from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import (
    BucketFull,
    BufferOutOfMemory,
    BufferUnavailable,
    JSONBufferError,
    KeyOccupied,
)
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.breakers import LONGEST_PAUSE_SECONDS, Breaker, breakers
from django_jsonbuffer.store.clients import clients
from django_jsonbuffer.store.store import Store
from example_project.embedded_redis import EmbeddedRedis
from tests.server import Redis
from tests.threads import at_once


def unreachable() -> BufferUnavailable:
    error = BufferUnavailable("Redis cannot be reached.")
    error.is_unreachable = True
    return error


class Interrupt(Exception):
    """An error that can strike anywhere, like that of a time limit."""


class Calls:
    """Raises its errors one after the other, then succeeds."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = [*errors]
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)


class Answering(Store):
    """Makes a call in place of an append to Redis."""

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__("orders", Configuration(cache="guarded"))
        self.call = call

    async def append_by(self, *args: object, **options: object) -> None:
        self.call()


def guard(breaker: Breaker, call: Callable[[], None]) -> None:
    """Send an append that makes this call."""
    breakers["guarded"] = breaker
    if error := failure_of([Append(Answering(call), Options(), [b"1"], 2)]):
        raise error


@pytest.fixture
def guarding() -> Breaker:
    return Breaker()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets this many seconds pass."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


class TestBreaker:
    def test_does_not_ask_again_before_its_time(
        self, guarding: Breaker, clock: Callable[[float], None]
    ) -> None:
        calls = Calls(unreachable())
        for _ in range(5):
            with pytest.raises(BufferUnavailable, match="cannot be reached"):
                guard(guarding, calls)
        assert calls.count == 1
        clock(0.11)
        guard(guarding, calls)
        guard(guarding, calls)
        assert calls.count == 3

    @pytest.mark.parametrize(("took", "pause"), [(0, 0.1), (0.5, 2), (60, LONGEST_PAUSE_SECONDS)])
    def test_waits_in_proportion_to_what_asking_costs(
        self, guarding: Breaker, clock: Callable[[float], None], took: float, pause: float
    ) -> None:
        def slow() -> None:
            clock(took)
            raise unreachable()

        with pytest.raises(BufferUnavailable):
            guard(guarding, slow)
        clock(pause - 0.01)
        calls = Calls()
        with pytest.raises(BufferUnavailable, match=r"not tried again for 0\.0 s"):
            guard(guarding, calls)
        clock(0.02)
        guard(guarding, calls)
        assert calls.count == 1

    def test_stays_open_when_the_one_that_finds_out_fails(
        self, guarding: Breaker, clock: Callable[[float], None]
    ) -> None:
        calls = Calls(unreachable(), unreachable())
        for _ in range(2):
            with pytest.raises(BufferUnavailable):
                guard(guarding, calls)
            with pytest.raises(BufferUnavailable):
                guard(guarding, calls)
            clock(0.11)
        assert calls.count == 2
        guard(guarding, calls)

    @pytest.mark.parametrize("error", [BufferOutOfMemory("full"), BufferUnavailable("read-only")])
    def test_refusal_is_an_answer(self, guarding: Breaker, error: Exception) -> None:
        calls = Calls(error)
        with pytest.raises(BufferUnavailable):
            guard(guarding, calls)
        guard(guarding, calls)

    def test_one_alone_finds_out(self, guarding: Breaker) -> None:
        with pytest.raises(BufferUnavailable):
            guard(guarding, Calls(unreachable()))
        time.sleep(0.11)
        done = threading.Event()
        outcomes: list[str] = []

        def find_out() -> None:
            def call() -> None:
                done.wait(10)

            try:
                guard(guarding, call)
                outcomes.append("found out")
            except BufferUnavailable:
                outcomes.append("refused")
                if len(outcomes) == 3:
                    done.set()

        at_once([find_out] * 4)
        assert sorted(outcomes) == ["found out", "refused", "refused", "refused"]

    def test_interrupt_lets_another_find_out(
        self, guarding: Breaker, clock: Callable[[float], None]
    ) -> None:
        def interrupted() -> None:
            raise KeyboardInterrupt

        with pytest.raises(BufferUnavailable):
            guard(guarding, Calls(unreachable()))
        clock(0.11)
        with pytest.raises(KeyboardInterrupt):
            guard(guarding, interrupted)
        guard(guarding, Calls())

    def test_is_one_for_each_alias(self) -> None:
        assert breakers["one"] is breakers["one"]
        assert breakers["one"] is not breakers["another"]


@pytest.mark.parametrize("answer", [BucketFull("full"), KeyOccupied("theirs"), None])
def test_any_answer_closes_it(
    guarding: Breaker, clock: Callable[[float], None], answer: Exception | None
) -> None:
    with pytest.raises(BufferUnavailable):
        guard(guarding, Calls(unreachable()))
    clock(0.11)
    with suppress(JSONBufferError):
        guard(guarding, Calls(*[answer] if answer else []))
    calls = Calls()
    for _ in range(4):
        guard(guarding, calls)
    assert calls.count == 4


@pytest.mark.parametrize("end", [KeyboardInterrupt, Interrupt])
def test_call_that_is_interrupted_leaves_it_to_the_next(
    guarding: Breaker, clock: Callable[[float], None], end: type[BaseException]
) -> None:
    with pytest.raises(BufferUnavailable):
        guard(guarding, Calls(unreachable()))
    clock(0.11)
    with pytest.raises(end):
        guard(guarding, Calls(end()))
    calls = Calls()
    guard(guarding, calls)
    assert calls.count == 1


def test_turn_that_is_never_given_back_ends(
    guarding: Breaker, clock: Callable[[float], None]
) -> None:
    with pytest.raises(BufferUnavailable):
        guard(guarding, Calls(unreachable()))
    clock(0.11)
    assert guarding.refusal() is None
    with pytest.raises(BufferUnavailable):
        guard(guarding, Calls())
    clock(LONGEST_PAUSE_SECONDS)
    guard(guarding, Calls())


@pytest.mark.parametrize(
    "options",
    [
        {"CONNECTION_POOL_KWARGS": {"max_connections": 1}},
        {
            "CONNECTION_POOL_CLASS": "redis.BlockingConnectionPool",
            "CONNECTION_POOL_KWARGS": {"max_connections": 1, "timeout": 0.01},
        },
    ],
    ids=["pool", "blocking pool"],
)
def test_connections_that_are_all_in_use_are_no_outage(
    private_server: Redis, use_cache: Callable[..., str], options: dict[str, Any]
) -> None:
    path = private_server.get_connection_kwargs()["path"]
    pool = clients[use_cache(f"unix://{path}?db=0", OPTIONS=options)].connection_pool
    bucket = Bucket("orders", append_timeout=timedelta(milliseconds=20))
    bucket.append(1)
    connection = pool.get_connection()
    with pytest.raises(BufferUnavailable) as caught:
        bucket.append(2)
    assert not caught.value.may_be_done
    pool.release(connection)
    bucket.append(3)
    assert bucket.take() == [1, 3]


def test_appends_do_not_wait_for_a_server_that_is_away(
    tmp_path: Path, use_cache: Callable[..., str]
) -> None:
    embedded = EmbeddedRedis("--dir", str(tmp_path))
    use_cache(embedded.url)
    bucket = Bucket("orders")
    for _ in range(200):
        with pytest.raises(BufferUnavailable):
            bucket.append(1)
    with embedded:
        time.sleep(0.11)
        bucket.append(2)
        assert bucket.take() == [2]
