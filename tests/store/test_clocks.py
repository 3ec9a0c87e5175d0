"""The clock of Redis: what becomes of leases and backoffs when somebody sets it."""

from datetime import timedelta
from functools import partial

import pytest

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import LeaseLost
from django_jsonbuffer.store.claims import Reason
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.clock import Clock
from tests.server import Redis
from tests.store.steps import (
    MINUTE,
    NOW,
    append,
    claim,
    claimed,
    fail,
    let_clock_be_known,
    now_ms,
)
from tests.threads import at_once

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
SHORT = timedelta(seconds=4)
GRACE = timedelta(seconds=15)


def beat(store: Store, worker: str = "worker") -> None:
    store.beat(worker, lease=MINUTE)


def let_pass(store: Store, clock: Clock, *, seconds: int) -> None:
    """Let time pass, with the heartbeats of a worker that holds nothing."""
    for _ in range(0, seconds, 5):
        clock.step(5 * SECOND)
        beat(store, "idle")


def let_lease_end(store: Store, plain: Redis, stream_id: str) -> None:
    two_minutes_ms = 2 * MINUTE // timedelta(milliseconds=1)
    [held] = plain.xpending_range(store.keys.batches, "drain", stream_id, stream_id, 1)
    plain.xclaim(
        *(store.keys.batches, "drain", held["consumer"], 0, [stream_id]),
        idle=two_minutes_ms,
        justid=True,
    )


class TestLeaseThatHasRunOut:
    """Its worker may live: then it has not renewed the lease, because the clock was set."""

    @pytest.fixture
    def dead(self, store: Store, client_of_server: Redis) -> str:
        """The id of a batch whose lease has run out."""
        append(store, 1, batch_size=1)
        id = claimed(store, "dead").stream_id
        let_lease_end(store, client_of_server, id)
        return id

    def test_is_believed_while_heartbeats_are_regular(
        self, store: Store, client_of_server: Redis, dead: str
    ) -> None:
        let_clock_be_known(store, client_of_server)
        found = claimed(store, "heir")
        assert (found.stream_id, found.attempt, found.deaths) == (dead, 2, 1)

    def test_is_not_believed_without_any_heartbeat(self, store: Store, dead: str) -> None:
        found = store.claim("heir", lease=MINUTE, linger=NOW)
        assert found == (None, 0, GRACE, "doubt")

    @pytest.mark.parametrize(
        ("lease", "seconds", "is_believed"),
        [
            (MINUTE, 14, True),
            (MINUTE, 16, False),
            (20 * SECOND, 9, True),
            (20 * SECOND, 11, False),
            (SECOND, 1.8, True),
            (SECOND, 2.2, False),
            (MINUTE, -0.8, True),
            (MINUTE, -1.3, False),
        ],
    )
    def test_is_believed_if_the_last_heartbeat_was_not_long_ago(
        self,
        store: Store,
        client_of_server: Redis,
        dead: str,
        lease: timedelta,
        seconds: float,
        is_believed: bool,
    ) -> None:
        beat_ms = now_ms(client_of_server) - int(seconds * 1000)
        client_of_server.hset(store.keys.stats, "clock", beat_ms)
        found = store.claim("heir", lease=lease, linger=NOW)
        if is_believed:
            assert found.claim is not None
        else:
            assert found == (None, 0, min(lease, GRACE), "doubt")

    def test_is_not_believed_for_some_time_after_a_gap(
        self, store: Store, client_of_server: Redis, dead: str
    ) -> None:
        beat(store)
        found = store.claim("heir", lease=MINUTE, linger=NOW)
        assert (found.claim, found.reason) == (None, "doubt")
        assert found.wait is not None
        assert GRACE - 5 * SECOND < found.wait <= GRACE
        later = now_ms(client_of_server) - GRACE // timedelta(milliseconds=1)
        client_of_server.hset(store.keys.stats, "resumed", later)
        assert claimed(store, "heir").deaths == 1

    def test_is_doubted_no_longer_than_the_grace(
        self, store: Store, client_of_server: Redis, dead: str
    ) -> None:
        let_clock_be_known(store, client_of_server)
        in_an_hour = now_ms(client_of_server) + 3_600_000
        client_of_server.hset(store.keys.stats, "resumed", in_an_hour)
        assert store.claim("heir", lease=MINUTE, linger=NOW) == (None, 0, GRACE, "doubt")

    def test_is_no_reason_to_wait_for_other_batches(
        self, store: Store, client_of_server: Redis, dead: str
    ) -> None:
        append(store, 2, 3, batch_size=1)
        fail(store, claimed(store, "other"))
        assert claimed(store, "b").array == b"[2]"
        assert claimed(store, "c").array == b"[3]"
        found = store.claim("d", lease=MINUTE, linger=NOW)
        assert (found.claim, found.reason) == (None, "doubt")

    def test_is_no_reason_to_wait_if_the_drain_came_to_it_before(
        self, store: Store, dead: str
    ) -> None:
        found = store.claim("heir", lease=MINUTE, linger=None, after=dead, newest=dead)
        assert found.reason == "held"
        found = store.claim("heir", lease=MINUTE, linger=None, after=dead)
        assert found.reason == "doubt"

    def test_does_not_keep_its_worker_away(self, store: Store, dead: str) -> None:
        assert claimed(store, "dead").attempt == 1

    @pytest.mark.parametrize("text", ["", "x", "-1", "9" * 30])
    def test_is_not_believed_if_the_heartbeat_is_spoilt(
        self, store: Store, client_of_server: Redis, dead: str, text: str
    ) -> None:
        client_of_server.hset(store.keys.stats, mapping={"clock": text, "resumed": text})
        assert claim(store, "heir") is None
        beat(store)
        assert claim(store, "heir") is None


class TestHeartbeat:
    def test_without_a_gap_changes_no_lease(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, batch_size=1)
        let_clock_be_known(store, client_of_server)
        let_lease_end(store, client_of_server, claimed(store, "dead").stream_id)
        beat(store)
        assert not client_of_server.hexists(store.keys.stats, "resumed")
        assert claimed(store, "heir").deaths == 1

    def test_of_a_full_server(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        private_server.config_set("maxmemory", 1)
        beat(store)
        beat(store)
        assert private_server.hexists(store.keys.stats, "clock")


class TestHeartbeatOfOneThatWantsToBeAlone:
    def begin(self, store: Store, worker: str) -> bool:
        return store.beat(worker, lease=MINUTE, busy=30 * SECOND)

    def test_writes_nothing_while_another_worker_lives(
        self, store: Store, client_of_server: Redis
    ) -> None:
        beat(store, "alive")
        before = client_of_server.hgetall(store.keys.workers)
        assert not self.begin(store, "second")
        assert client_of_server.hgetall(store.keys.workers) == before

    def test_is_written_besides_its_own_and_that_of_a_dead_worker(
        self, store: Store, client_of_server: Redis
    ) -> None:
        client_of_server.hset(store.keys.workers, "dead", now_ms(client_of_server) - 30_001)
        assert self.begin(store, "first")
        assert self.begin(store, "first")

    def test_is_written_besides_one_that_the_clock_has_left_behind(
        self, store: Store, client_of_server: Redis
    ) -> None:
        client_of_server.hset(store.keys.workers, "ahead", now_ms(client_of_server) + 60_000)
        assert self.begin(store, "first")

    def test_is_that_of_one_of_many(self, store: Store) -> None:
        began: list[bool] = []
        at_once(
            partial(lambda n: began.append(self.begin(store, f"worker-{n}")), n) for n in range(20)
        )
        assert sorted(began) == [False] * 19 + [True]


class TestClockSetForward:
    def test_takes_no_batch_from_a_worker_that_lives(self, clock: Clock) -> None:
        store = Store("orders", configuration())
        append(store, 1, batch_size=1)
        beat(store, "alive")
        held = claimed(store, "alive")
        clock.step(HOUR)
        beat(store, "other")
        assert store.claim("other", lease=MINUTE, linger=NOW).reason == "doubt"
        store.renew(held)
        let_pass(store, clock, seconds=30)
        found = store.claim("other", lease=MINUTE, linger=NOW)
        assert (found.claim, found.reason) == (None, "held")
        assert found.wait is not None
        assert 29 * SECOND < found.wait <= 30 * SECOND
        store.ack(held)

    def test_takes_the_batch_from_a_worker_that_has_died(self, clock: Clock) -> None:
        store = Store("orders", configuration())
        append(store, 1, batch_size=1)
        beat(store, "dead")
        claimed(store, "dead")
        clock.step(HOUR)
        beat(store, "other")
        assert claim(store, "other") is None
        let_pass(store, clock, seconds=20)
        assert claimed(store, "other").deaths == 1

    def test_ends_backoffs(self, clock: Clock) -> None:
        store = Store("orders", configuration())
        append(store, 1, batch_size=1)
        beat(store)
        fail(store, claimed(store), backoff=MINUTE)
        assert claim(store) is None
        clock.step(HOUR)
        assert claim(store) is not None


class TestClockSetBack:
    def test_keeps_no_backoff_for_long(self, clock: Clock) -> None:
        store = Store("orders", configuration())
        append(store, 1, 2, batch_size=1)
        beat(store)
        fail(store, claimed(store), backoff=MINUTE)
        store.ack(claimed(store))
        clock.step(-HOUR)
        beat(store)
        found = claimed(store)
        assert (found.array, found.attempt, found.deaths) == (b"[1]", 2, 0)

    def test_lets_leases_begin_again(self, clock: Clock) -> None:
        store = Store("orders", configuration())
        append(store, 1, 2, batch_size=1)
        beat(store)
        dead, alive = claimed(store, "dead"), claimed(store, "alive")
        clock.step(-HOUR)
        beat(store, "alive")
        store.renew(alive)
        assert claim(store, "other") is None
        let_pass(store, clock, seconds=50)
        store.renew(alive)
        assert claim(store, "other") is None
        let_pass(store, clock, seconds=15)
        found = claimed(store, "other")
        assert (found.id, found.attempt, found.deaths) == (dead.id, 2, 1)
        assert claim(store, "another") is None
        store.ack(alive)
        with pytest.raises(LeaseLost):
            store.ack(dead)

    def test_ends_the_pause_of_an_outage(self, clock: Clock) -> None:
        store = Store("orders", configuration())
        append(store, 1, batch_size=1)
        beat(store)
        fail(store, claimed(store), reason=Reason.OUTAGE, pause=MINUTE)
        assert store.claim("w", lease=MINUTE, linger=NOW).reason == "outage"
        clock.step(-HOUR)
        beat(store)
        assert claim(store) is not None

    def test_lets_an_open_batch_be_claimed(self, clock: Clock) -> None:
        store = Store("orders", configuration())
        append(store, 1)
        assert claim(store, linger=MINUTE) is None
        clock.step(-HOUR)
        assert read_status(store).oldest == NOW
        assert claim(store, linger=MINUTE) is not None

    def test_by_less_than_a_second_changes_no_lease(self, clock: Clock) -> None:
        store = Store("orders", configuration())
        append(store, 1, batch_size=1)
        beat(store)
        fail(store, claimed(store), backoff=MINUTE)
        clock.step(-SECOND / 2)
        beat(store)
        assert claim(store) is None


class TestClockOfATest:
    """The tests above must not pass because the clock cannot be set."""

    @pytest.mark.parametrize("step", [HOUR, -HOUR])
    def test_is_set(self, clock: Clock, step: timedelta) -> None:
        store = Store("orders", configuration())
        append(store, 1, 2, batch_size=1)
        before = int(claimed(store, "a").stream_id.partition("-")[0])
        clock.step(step)
        append(store, 3, batch_size=1)
        claimed(store, "b")
        after = int(claimed(store, "c").stream_id.partition("-")[0])
        assert (after - before > 3_000_000) == (step > NOW)
