from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.appending.spill_size import SpillSize
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.states import State, count_states, is_for_other_clients, read_states
from django_jsonbuffer.store.status import read_status
from tests.prepared import bury, keys_of, make_old, put_history, release_failed, store_of
from tests.server import Redis
from tests.spilling import put

pytestmark = pytest.mark.usefixtures("nothing_declared")


NOW = timedelta(0)
MINUTE = timedelta(minutes=1)


def state_and_reasons(name: str = "orders", **options: Any) -> tuple[State, list[str]]:
    [one] = read_states([Bucket(name, **options)])
    return one.state, [reason.replace("\xa0", " ") for reason in one.reasons]


def fail(*, error: str = "KeyError") -> None:
    release_failed("orders", error=error)


class TestState:
    def test_of_a_bucket_that_holds_nothing_is_empty(self) -> None:
        assert state_and_reasons() == (State.EMPTY, [])

    @pytest.mark.usefixtures("unhurried")
    def test_of_a_bucket_whose_events_wait_for_a_moment_is_flowing(self) -> None:
        Bucket("orders").append(1)
        assert state_and_reasons() == (State.FLOWING, [])

    def test_of_a_bucket_that_is_drained_at_once_is_flowing(self, client_of_server: Redis) -> None:
        put_history(client_of_server, "orders", pending=[0, 0])
        assert state_and_reasons()[0] == State.EMPTY
        store_of("orders").beat("worker", lease=MINUTE)
        assert state_and_reasons()[0] == State.FLOWING

    def test_is_stalled_when_events_wait_and_nobody_drains(self, client_of_server: Redis) -> None:
        Bucket("orders").processor(print)
        Bucket("orders").append(1)
        make_old(client_of_server, "orders")
        assert state_and_reasons() == (
            State.STALLED,
            [
                "Nobody drains it: no worker is active. Run drain_buckets.",
                "The oldest event has waited for 1 hour.",
            ],
        )

    def test_is_stalled_when_there_is_no_processor(self, client_of_server: Redis) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders")
        state, reasons = state_and_reasons()
        assert (state, reasons[0]) == (
            State.STALLED,
            "Nobody drains it: no processor is declared.",
        )

    def test_is_stalled_when_no_other_client_takes_it(self, client_of_server: Redis) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders")
        state, reasons = state_and_reasons(batch_size=None)
        assert (state, reasons[0]) == (
            State.STALLED,
            "Nobody drains it: no other client has taken the events.",
        )
        assert is_for_other_clients(Bucket("orders", batch_size=None))

    def test_is_stalled_when_what_is_in_flight_is_held_by_nobody(self) -> None:
        Bucket("orders").processor(print)
        Bucket("orders").extend([1, 2])
        store = store_of("orders")
        store.claim("worker", lease=MINUTE, linger=NOW)
        assert state_and_reasons() == (
            State.STALLED,
            [
                "Nobody drains it: no worker is active. Run drain_buckets.",
                "2 events are held by a worker that has died.",
            ],
        )
        store.beat("worker", lease=MINUTE)
        assert state_and_reasons()[0] == State.FLOWING

    def test_is_behind_when_events_wait_though_a_worker_drains(
        self, client_of_server: Redis
    ) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders", seconds=600)
        store_of("orders").beat("worker", lease=MINUTE)
        assert state_and_reasons() == (
            State.BEHIND,
            [
                "The oldest event has waited for 10 minutes.",
                "1 worker drains the bucket. Start more workers.",
            ],
        )

    def test_is_behind_in_between_the_runs_of_cron(self, client_of_server: Redis) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders", seconds=600)
        store = store_of("orders")
        store.beat("worker", lease=MINUTE)
        store.retire("worker", lease=MINUTE)
        assert read_status(store).workers == 0
        assert state_and_reasons()[0] == State.BEHIND

    def test_is_no_worse_before_the_time_that_the_bucket_allows(
        self, client_of_server: Redis
    ) -> None:
        Bucket("orders").append(1)
        store_of("orders").beat("worker", lease=MINUTE)
        make_old(client_of_server, "orders", seconds=100)
        assert state_and_reasons()[0] == State.FLOWING
        assert state_and_reasons(behind_after=timedelta(seconds=90))[0] == State.BEHIND
        make_old(client_of_server, "orders", seconds=600)
        assert state_and_reasons()[0] == State.BEHIND
        assert state_and_reasons(behind_after=timedelta(hours=1))[0] == State.FLOWING
        assert state_and_reasons(linger=timedelta(hours=1))[0] == State.FLOWING
        assert (
            state_and_reasons(linger=timedelta.max, behind_after=timedelta.max)[0] == State.FLOWING
        )

    def test_is_failing_until_the_batch_has_succeeded(self) -> None:
        Bucket("orders").extend([1, 2])
        fail()
        assert state_and_reasons() == (
            State.FAILING,
            [
                "1 batch has failed and will be retried.",
                "The oldest batch failed with KeyError at delivery 1.",
            ],
        )
        Bucket("orders").processor(lambda batch: None)
        Bucket("orders").drain()
        assert state_and_reasons()[0] == State.EMPTY

    def test_does_not_show_the_message_of_an_error(self) -> None:
        Bucket("orders").append(1)
        fail(error="KeyError: 'card 4711'")
        _, reasons = state_and_reasons()
        assert reasons[-1] == "The oldest batch failed with KeyError at delivery 1."

    def test_is_failing_when_a_worker_died(self) -> None:
        Bucket("orders").append(1)
        store = store_of("orders")
        for worker in ("one", "two"):
            store.claim(worker, lease=NOW, linger=NOW)
        store.beat("two", lease=MINUTE)
        state, reasons = state_and_reasons()
        assert state == State.FAILING
        assert reasons[-1] == "A worker died with the oldest batch at delivery 2."

    def test_is_stalled_and_reports_failures_when_its_workers_are_gone(
        self, client_of_server: Redis
    ) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders")
        fail()
        state, reasons = state_and_reasons()
        assert state == State.STALLED
        assert "1 batch has failed and will be retried." in reasons

    def test_is_paused_whatever_else_there_is(self, client_of_server: Redis) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders")
        fail()
        Bucket("orders").pause()
        client_of_server.decrby(keys_of("orders").paused, 7_200_000)
        state, reasons = state_and_reasons()
        assert (state, reasons[0]) == (
            State.PAUSED,
            "The bucket has been paused for 2 hours.",
        )

    def test_is_unreadable_when_something_else_lies_there(self, client_of_server: Redis) -> None:
        client_of_server.lpush(Bucket("orders").key, "theirs")
        state, [reason] = state_and_reasons()
        assert state == State.UNREADABLE
        assert "holds a value of another type" in reason

    def test_needs_a_decision_about_dead_letters(self) -> None:
        bury(1)
        assert state_and_reasons() == (
            State.NEEDS_DECISION,
            ["1 dead letter waits for a decision."],
        )
        Bucket("orders").append(1)
        assert state_and_reasons()[0] == State.NEEDS_DECISION
        Bucket("orders").dead.discard_all()
        assert state_and_reasons() == (State.FLOWING, [])

    def test_needs_no_decision_while_anything_is_more_urgent(self, client_of_server: Redis) -> None:
        bury(1)
        Bucket("orders").pause()
        assert state_and_reasons() == (
            State.PAUSED,
            [
                "The bucket has been paused for 0 seconds.",
                "1 dead letter waits for a decision.",
            ],
        )
        Bucket("orders").resume()
        Bucket("orders").append(1)
        fail()
        assert state_and_reasons()[0] == State.FAILING

    def test_label_is_in_words(self) -> None:
        assert State.NEEDS_DECISION.label == "needs a decision"
        assert [state.value for state in State] == [
            *("unreadable", "stalled", "failing", "behind", "needs-decision"),
            *("paused", "flowing", "empty"),
        ]

    def test_of_spilled_events_is_not_empty(self, spilling: Spill) -> None:
        assert state_and_reasons() == (State.EMPTY, [])
        put(spilling, b"1", b"2", bucket=Bucket("orders").key)
        assert state_and_reasons() == (
            State.FLOWING,
            ["1 append (9 bytes) is spilled on this machine and waits for Redis."],
        )
        put(spilling, b"1", bucket=Bucket("orders").key)
        [one, other] = read_states([Bucket("orders"), Bucket("others")])
        assert (one.spilled, other.spilled) == (SpillSize(2, 14), None)

    def test_of_a_spill_that_cannot_be_read_says_so(self, spilling: Spill) -> None:
        spilling.path.write_bytes(b"no database" * 1000)
        state, [reason] = state_and_reasons()
        assert state == State.EMPTY
        assert reason.startswith("What is spilled on this machine is not known. ")
        assert "not a database" in reason

    def test_of_a_bucket_that_cannot_be_read_has_its_spill_too(
        self, client_of_server: Redis, spilling: Spill
    ) -> None:
        client_of_server.lpush(Bucket("orders").key, "theirs")
        put(spilling, b"1", bucket=Bucket("orders").key)
        state, reasons = state_and_reasons()
        assert (state, len(reasons)) == (State.UNREADABLE, 2)
        assert "is spilled on this machine" in reasons[1]

    def test_of_options_that_are_unusable(self, configure: Callable[..., None]) -> None:
        Bucket("orders").append(1)
        store_of("orders").beat("worker", lease=MINUTE)
        configure(BUCKETS={"orders": {"batch_size": 0}})
        [one] = read_states([Bucket("orders")])
        assert one.state == State.FLOWING


class TestHealth:
    def test_of_a_server_that_is_away(self, unreachable: str) -> None:
        with pytest.raises(BufferUnavailable):
            read_states([Bucket("orders")])

    @pytest.mark.usefixtures("unhurried")
    def test_of_many_buckets_is_in_their_order(self) -> None:
        Bucket("b").append(1)
        shown = read_states([Bucket("b"), Bucket("a")])
        assert [(one.bucket.name, one.state) for one in shown] == [
            ("b", State.FLOWING),
            ("a", State.EMPTY),
        ]


def test_states_are_counted_the_most_urgent_first() -> None:
    states = [State.EMPTY, State.FLOWING, State.FAILING, State.EMPTY]
    assert list(count_states(states).items()) == [
        (State.FAILING, 1),
        (State.FLOWING, 1),
        (State.EMPTY, 2),
    ]
