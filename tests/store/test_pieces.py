"""Pieces: what takes the place of a batch that was split."""

import json
from typing import Any

import pytest

from django_jsonbuffer.store import pending
from django_jsonbuffer.store.deliveries import read_deliveries
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers
from tests.store.steps import (
    LAST_ID,
    MINUTE,
    NOW,
    append,
    claim,
    claimed,
    facts,
    fail,
    let_clock_be_known,
    split,
)

pytestmark = both_servers


def arrays(store: Store) -> list[Any]:
    """The batches that one worker after the other gets, each of which keeps its batch."""
    found = list[Any]()
    while each := claim(store, f"worker-{len(found)}"):
        assert each.attempt == 1
        found.append(json.loads(each.array))
    return found


class TestPieces:
    def test_come_before_batches_that_were_never_delivered(self, store: Store) -> None:
        append(store, 1, 2, 3, 4, 5, batch_size=2)
        split(store, claimed(store))
        assert arrays(store) == [[1], [2], [3, 4], [5]]
        assert facts(read_status(store)) == (0, 5, 4, 14)

    def test_come_once_with_others_between_them(self, store: Store) -> None:
        append(store, 1, 2, 3, 4, batch_size=2)
        first, second = claimed(store, "a"), claimed(store, "b")
        split(store, first)
        append(store, 5, batch_size=1)
        split(store, second)
        append(store, 6, batch_size=1)
        assert arrays(store) == [[1], [2], [3], [4], [5], [6]]

    def test_that_are_gone_do_not_come_again(self, store: Store) -> None:
        append(store, 1, 2, 3, 4, batch_size=2)
        split(store, claimed(store))
        for event in (1, 2):
            found = claimed(store)
            assert json.loads(found.array) == [event]
            store.ack(found)
        assert arrays(store) == [[3, 4]]

    def test_are_passed_over_if_somebody_deleted_them(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, 3, batch_size=2)
        split(store, claimed(store))
        pieces = [id for id, fields in client_of_server.xrange(store.keys.batches)][-2:]
        client_of_server.xdel(store.keys.batches, *pieces)
        assert arrays(store) == [[3]]
        assert facts(read_status(store)) == (0, 1, 1, 3)

    def test_come_once_beside_foreign_entries(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2, 3, 4, batch_size=2)
        first, second = claimed(store, "a"), claimed(store, "b")
        split(store, first)
        client_of_server.xadd(store.keys.batches, {"foreign": "x"})
        split(store, second)
        assert arrays(store) == [[1], [2], [3], [4]]
        assert read_status(store).dead == 1

    def test_may_have_the_last_ids_that_there_are(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, batch_size=2)
        held = claimed(store)
        time, number = LAST_ID.split("-")
        foreign = f"{time}-{int(number) - 2}"
        client_of_server.xadd(store.keys.batches, {"foreign": "x"}, id=foreign)
        client_of_server.xdel(store.keys.batches, foreign)
        split(store, held)
        assert arrays(store) == [[1], [2]]
        assert store.claim("late", lease=MINUTE, linger=NOW, newest=LAST_ID).claim is None
        client_of_server.hset(store.keys.stats, "outage", "2/2/1//1/1/0")
        assert claim(store, "later") is None
        assert facts(read_status(store)) == (0, 2, 2, 6)
        assert read_status(store).oldest is None

    def test_have_no_death_and_no_attempt_before_their_first_delivery(self, store: Store) -> None:
        append(store, 1, 2)
        split(store, claimed(store), deaths=2)
        waiting = read_deliveries(store, 10).batches
        assert [(each.worker, each.attempt, each.claimed) for each in waiting] == [
            ("", 0, None),
            ("", 0, None),
        ]
        found = claimed(store, "other")
        assert (found.attempt, found.deaths, found.failures) == (1, 2, 0)

    def test_count_no_failure_of_the_whole(self, store: Store) -> None:
        append(store, 1, 2)
        fail(store, claimed(store))
        split(store, claimed(store))
        assert claimed(store).failures == 0

    def test_have_the_error_of_the_whole(self, store: Store) -> None:
        append(store, 1, 2)
        fail(store, claimed(store), error="KeyError")
        split(store, claimed(store))
        assert claimed(store).error == "KeyError"

    def test_have_failed_when_the_whole_failed(self, store: Store) -> None:
        append(store, 1, 2)
        append(store, 3, batch_size=1)
        split(store, claimed(store), error="ValueError")
        first = claimed(store)
        assert (first.error, first.others_succeeded) == ("ValueError", False)
        store.ack(first)
        assert claimed(store).others_succeeded

    def test_have_first_failed_when_the_whole_did(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2)
        whole = claimed(store)
        fail(store, whole)
        attempts = store.keys.attempts
        failures, deaths, _, *rest = client_of_server.hget(attempts, whole.stream_id).split(b"/", 3)
        client_of_server.hset(attempts, whole.stream_id, b"/".join([failures, deaths, b"7", *rest]))
        split(store, claimed(store), error="KeyError")
        firsts = [text.split(b"/")[2] for text in client_of_server.hvals(attempts)]
        assert firsts == [b"7", b"7"]

    def test_have_not_failed_if_the_whole_was_only_split(self, store: Store) -> None:
        append(store, 1, 2)
        split(store, claimed(store))
        first = claimed(store)
        assert first.error == ""
        store.ack(first)
        assert not claimed(store).others_succeeded
        assert read_status(store).failing == 0

    def test_leave_no_trace_when_they_are_taken(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2)
        split(store, claimed(store))
        assert pending.take(store) == [b"[1]", b"[2]"]
        assert not client_of_server.exists(store.keys.attempts)
        assert client_of_server.xpending(store.keys.batches, "drain")["pending"] == 0

    def test_are_new_batches(self, store: Store) -> None:
        append(store, 1, 2)
        whole = claimed(store)
        split(store, whole)
        ids = {whole.id, *(claimed(store, name).id for name in "ab")}
        assert len(ids) == 3

    def test_weigh_on_the_row_of_failures_as_one_batch(self, store: Store) -> None:
        append(store, 1, 2)
        split(store, claimed(store), weight=1, error="KeyError")
        assert claimed(store).row[:2] == (1, 0)


class TestKeptPiece:
    @pytest.mark.parametrize(
        ("keeps", "at", "kept", "other"), [(1, 1, [1], [2, 3]), (2, 2, [3], [1, 2])]
    )
    def test_comes_to_its_worker_next(
        self, store: Store, keeps: int, at: int, kept: list[int], other: list[int]
    ) -> None:
        append(store, 1, 2, 3)
        append(store, 4, batch_size=1)
        split(store, claimed(store), at=at, keeps=keeps)
        assert read_status(store).in_flight == 1
        found = claimed(store)
        assert (json.loads(found.array), found.attempt, found.deaths) == (kept, 1, 0)
        assert json.loads(claimed(store, "another").array) == other
        store.ack(found)
        assert json.loads(claimed(store).array) == [4]

    def test_comes_to_another_if_its_worker_dies(self, store: Store) -> None:
        append(store, 1, 2)
        split(store, claimed(store, "died"), keeps=1)
        assert claimed(store, "another").array == b"[2]"
        found = claimed(store, "heir", lease=NOW)
        assert (found.array, found.attempt, found.deaths) == (b"[1]", 2, 1)

    def test_has_a_lease(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2)
        let_clock_be_known(store, client_of_server)
        split(store, claimed(store), keeps=1)
        assert claimed(store, "another").array == b"[2]"
        assert claim(store, "a third") is None

    def test_is_given_back_when_its_worker_retires(self, store: Store) -> None:
        append(store, 1, 2)
        split(store, claimed(store), keeps=1)
        store.retire("worker", lease=MINUTE)
        assert [claimed(store, name).array for name in "ab"] == [b"[2]", b"[1]"]


class TestAgeOfPieces:
    def test_is_none_while_workers_hold_them(self, store: Store) -> None:
        append(store, 1, 2)
        split(store, claimed(store))
        assert read_status(store).oldest is not None
        for name in "ab":
            claimed(store, name)
        assert read_status(store).oldest is None

    def test_hides_no_batch_behind_them(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2)
        split(store, claimed(store))
        for name in "ab":
            claimed(store, name)
        hour_ago_ms = int(client_of_server.time()[0]) * 1000 - 3_600_000
        batch: dict[Any, Any] = {"events": "[3]", "count": 1, "opened": hour_ago_ms}
        client_of_server.xadd(store.keys.batches, batch)
        oldest = read_status(store).oldest
        assert oldest is not None
        assert oldest.total_seconds() >= 3600


class TestNewest:
    """A drain comes to the batches that were there when it began."""

    def test_is_the_last_of_those_that_were_never_delivered(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        newest, _ = store.seal()
        append(store, 3, batch_size=1)
        for event in (1, 2):
            found = store.claim("w", lease=MINUTE, linger=None, newest=newest).claim
            assert found is not None
            assert json.loads(found.array) == [event]
            store.ack(found)
        assert store.claim("w", lease=MINUTE, linger=None, newest=newest).claim is None

    def test_may_be_gone(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2, batch_size=1)
        newest, _ = store.seal()
        assert newest is not None
        client_of_server.xdel(store.keys.batches, newest)
        append(store, 3, batch_size=1)
        found = store.claim("w", lease=MINUTE, linger=None, newest=newest).claim
        assert found is not None
        store.ack(found)
        assert store.claim("w", lease=MINUTE, linger=None, newest=newest).claim is None

    def test_keeps_no_piece_back(self, store: Store) -> None:
        append(store, 1, 2)
        newest, _ = store.seal()
        held = claimed(store)
        split(store, held)
        for event in (1, 2):
            found = store.claim(
                "w", lease=MINUTE, linger=None, after=held.stream_id, newest=newest
            ).claim
            assert found is not None
            assert json.loads(found.array) == [event]
            store.ack(found)


def test_purge_leaves_a_kept_piece(store: Store) -> None:
    append(store, 1, 2)
    split(store, claimed(store), keeps=2)
    assert pending.purge(store) == 1
    found = claimed(store)
    assert found.array == b"[2]"
    store.ack(found)
