from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.health import State, counted, health, is_for_other_clients
from tests.server import Redis
from tests.test_admin import make_old, put_history

pytestmark = pytest.mark.usefixtures("nothing_declared")


NOW = timedelta(0)
MINUTE = timedelta(minutes=1)


def told(name: str = "orders", **options: Any) -> tuple[State, list[str]]:
    [one] = health([Bucket(name, **options)])
    return one.state, [reason.replace("\xa0", " ") for reason in one.reasons]


def fail(*, error: str = "KeyError") -> None:
    store = Bucket("orders").wiring.store
    claim, _ = store.claim("worker", lease=MINUTE, linger=NOW, after=None)
    assert claim is not None
    store.release(claim, lease=MINUTE, backoff=NOW, failed=True, error=error)


class TestState:
    def test_of_a_bucket_that_holds_nothing_is_empty(self) -> None:
        assert told() == (State.EMPTY, [])

    def test_of_a_bucket_whose_events_wait_for_a_moment_is_flowing(self) -> None:
        Bucket("orders").append(1)
        assert told() == (State.FLOWING, [])

    def test_of_a_bucket_that_is_drained_at_once_is_flowing(self, client_of_server: Redis) -> None:
        put_history(client_of_server, "orders", pending=[0, 0])
        assert told()[0] == State.EMPTY
        Bucket("orders").wiring.store.beat("worker")
        assert told()[0] == State.FLOWING

    def test_is_stalled_when_events_wait_and_nobody_drains(self, client_of_server: Redis) -> None:
        Bucket("orders").processor(print)
        Bucket("orders").append(1)
        make_old(client_of_server, "orders")
        assert told() == (
            State.STALLED,
            [
                "The oldest event has waited for 1 hour.",
                "No worker was heard of: run drain_buckets.",
            ],
        )

    def test_is_stalled_when_there_is_no_processor(self, client_of_server: Redis) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders")
        assert told()[1][-1] == "Nobody drains it: no processor is declared."

    def test_is_stalled_when_no_other_client_takes_it(self, client_of_server: Redis) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders")
        state, reasons = told(batch_size=None)
        assert (state, reasons[-1]) == (State.STALLED, "No other client has taken it.")
        assert is_for_other_clients(Bucket("orders", batch_size=None))

    def test_is_stalled_when_what_is_in_flight_is_held_by_nobody(self) -> None:
        Bucket("orders").processor(print)
        Bucket("orders").extend([1, 2])
        store = Bucket("orders").wiring.store
        store.claim("worker", lease=MINUTE, linger=NOW, after=None)
        assert told() == (
            State.STALLED,
            [
                "2 events are held by a worker that is gone.",
                "No worker was heard of: run drain_buckets.",
            ],
        )
        store.beat("worker")
        assert told()[0] == State.FLOWING

    def test_is_behind_when_events_wait_though_a_worker_drains(
        self, client_of_server: Redis
    ) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders", seconds=600)
        Bucket("orders").wiring.store.beat("worker")
        assert told() == (
            State.BEHIND,
            [
                "The oldest event has waited for 10 minutes.",
                "1 worker drains it: start more.",
            ],
        )

    def test_is_behind_in_between_the_runs_of_cron(self, client_of_server: Redis) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders", seconds=600)
        store = Bucket("orders").wiring.store
        store.beat("worker")
        store.retire("worker", lease=MINUTE)
        assert store.status().workers == 0
        assert told()[0] == State.BEHIND

    def test_is_no_worse_before_the_time_that_the_bucket_allows(
        self, client_of_server: Redis
    ) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders", seconds=100)
        assert told()[0] == State.FLOWING
        assert told(behind_after=timedelta(seconds=90))[0] == State.STALLED
        make_old(client_of_server, "orders", seconds=600)
        assert told()[0] == State.STALLED
        assert told(behind_after=timedelta(hours=1))[0] == State.FLOWING
        assert told(linger=timedelta(hours=1))[0] == State.FLOWING
        assert told(linger=timedelta.max, behind_after=timedelta.max)[0] == State.FLOWING

    def test_is_failing_until_the_batch_has_succeeded(self) -> None:
        Bucket("orders").extend([1, 2])
        fail()
        assert told() == (
            State.FAILING,
            [
                "1 batch has failed and comes again.",
                "The oldest failed with KeyError at attempt 1.",
            ],
        )
        Bucket("orders").processor(lambda batch: None)
        Bucket("orders").drain()
        assert told()[0] == State.EMPTY

    def test_is_failing_when_a_worker_died(self) -> None:
        Bucket("orders").append(1)
        store = Bucket("orders").wiring.store
        for worker in ("one", "two"):
            store.claim(worker, lease=NOW, linger=NOW, after=None)
        store.beat("two")
        state, reasons = told()
        assert state == State.FAILING
        assert reasons[-1] == "A worker died with the oldest at attempt 2."

    def test_is_stalled_and_tells_of_failures_when_its_workers_are_gone(
        self, client_of_server: Redis
    ) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders")
        fail()
        state, reasons = told()
        assert state == State.STALLED
        assert "1 batch has failed and comes again." in reasons

    def test_is_paused_whatever_else_there_is(self, client_of_server: Redis) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders")
        fail()
        Bucket("orders").pause()
        client_of_server.decrby(Bucket("orders").wiring.store.keys.paused, 7_200_000)
        state, reasons = told()
        assert (state, reasons[0]) == (State.PAUSED, "Paused for 2 hours.")

    def test_is_unreadable_when_something_else_lies_there(self, client_of_server: Redis) -> None:
        client_of_server.lpush(Bucket("orders").key, "theirs")
        state, [reason] = told()
        assert state == State.UNREADABLE
        assert "holds a value of another type" in reason

    def test_tells_of_dead_letters_beside(self, client_of_server: Redis) -> None:
        client_of_server.set(Bucket("orders").key, "no JSON")
        Bucket("orders").append(1)
        Bucket("orders").take()
        assert told() == (State.EMPTY, ["1 dead letter waits for a decision."])

    def test_of_options_that_are_unusable(self, configure: Callable[..., None]) -> None:
        Bucket("orders").append(1)
        configure(BUCKETS={"orders": {"batch_size": 0}})
        [one] = health([Bucket("orders")])
        assert one.state == State.FLOWING


class TestHealth:
    def test_of_a_server_that_is_away(self, unreachable: str) -> None:
        with pytest.raises(BufferUnavailable):
            health([Bucket("orders")])

    def test_of_many_buckets_is_in_their_order(self) -> None:
        Bucket("b").append(1)
        shown = health([Bucket("b"), Bucket("a")])
        assert [(one.bucket.name, one.state) for one in shown] == [
            ("b", State.FLOWING),
            ("a", State.EMPTY),
        ]


def test_states_are_counted_the_most_urgent_first() -> None:
    states = [State.EMPTY, State.FLOWING, State.FAILING, State.EMPTY]
    assert list(counted(states).items()) == [
        (State.FAILING, 1),
        (State.FLOWING, 1),
        (State.EMPTY, 2),
    ]
