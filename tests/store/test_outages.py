"""Failures in a row, and the outage that they may mean."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.store import pending
from django_jsonbuffer.store.claims import NO_ROW, Burial, Claim, Outage, Reason, Row
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers
from tests.store.steps import (
    LAST_ID,
    MINUTE,
    NOW,
    append,
    bury,
    claim,
    claimed,
    facts,
    fail,
    let_clock_be_known,
    now_ms,
    split,
)
from tests.threads import at_once

pytestmark = both_servers

PAUSE = timedelta(seconds=40)


def fail_in_an_outage(store: Store, claim: Claim, **options: Any) -> Outage:
    outage = fail(store, claim, **{"reason": Reason.OUTAGE, "weight": 1, "pause": PAUSE, **options})
    assert outage is not None
    return outage


def change(store: Store, plain: Redis, **changes: str | int) -> None:
    """Change fields of the outage."""
    names = ("failed", "alone", "since", "by", "retry", "tries", "told")
    values = plain.hget(store.keys.stats, "outage").decode().split("/")
    fields = {**dict(zip(names, values, strict=True)), **changes}
    plain.hset(store.keys.stats, "outage", "/".join(map(str, fields.values())))


def given(store: Store, count: int, plain: Redis, **options: Any) -> list[int]:
    """The first events of the batches that so many workers get, one after the other."""
    events = []
    for number in range(count):
        found = store.claim(f"worker {number}", lease=MINUTE, linger=NOW, **options).claim
        assert found is not None
        events.append(json.loads(found.array)[0])
        if found.row.tries:
            end_pause(store, plain)
    return events


def end_pause(store: Store, plain: Redis) -> None:
    change(store, plain, retry=now_ms(plain) - 1)


class TestReason:
    @pytest.mark.parametrize(
        ("reason", "failures", "deaths"),
        [
            (Reason.FAILURE, 1, 0),
            (Reason.DOUBTFUL, 1, 0),
            (Reason.RETRY, 0, 0),
            (Reason.CHANGED, 0, 0),
            (Reason.OUTAGE, 0, 0),
            (Reason.DEATH, 0, 1),
        ],
    )
    def test_says_what_is_counted(
        self, store: Store, reason: Reason, failures: int, deaths: int
    ) -> None:
        append(store, 1)
        for number in (1, 2):
            fail(store, claimed(store), reason=reason)
            found = claimed(store)
            assert (found.failures, found.deaths) == (number * failures, number * deaths)
            assert (found.attempt, found.error) == (2 * number, "KeyError")
            store.release(found, lease=MINUTE, backoff=NOW)


class TestRow:
    def test_of_a_bucket_without_failures(self, store: Store) -> None:
        append(store, 1)
        assert claimed(store).row == NO_ROW

    def test_counts_batches_and_single_events(self, store: Store) -> None:
        append(store, 1, 2, 3, batch_size=2)
        fail(store, claimed(store), weight=1)
        assert claimed(store).row == Row(1, 0, False, 0)
        other = claimed(store, "other")
        fail(store, other, weight=2)
        assert claimed(store, "other").row == Row(3, 2, False, 0)

    def test_counts_a_batch_as_alone_if_its_exception_means_an_outage(self, store: Store) -> None:
        append(store, 1, 2)
        fail(store, claimed(store), weight=3, is_by_exception=True)
        assert claimed(store).row[:2] == (3, 3)

    def test_counts_nothing_without_a_weight(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2)
        fail(store, claimed(store))
        split(store, claimed(store), error="KeyError")
        assert claimed(store).row == NO_ROW
        assert not client_of_server.hexists(store.keys.stats, "outage")

    def test_ends_with_a_success(self, store: Store) -> None:
        append(store, 1, 2, 3, batch_size=1)
        fail(store, claimed(store), weight=1, backoff=MINUTE)
        found = claimed(store)
        assert found.row.failed == 1
        assert store.ack(found) is None
        assert claimed(store).row == NO_ROW

    @pytest.mark.parametrize(("processed", "row"), [(1, NO_ROW), (0, Row(1, 1, False, 0))])
    def test_ends_with_a_burial_if_other_events_were_processed(
        self, store: Store, processed: int, row: Row
    ) -> None:
        append(store, 1, batch_size=1)
        fail(store, claimed(store), weight=1, backoff=MINUTE)
        append(store, *range(1 + processed))
        found = claimed(store)
        burial = Burial(*spans(found.array)[0], "no")
        assert store.bury(found, [burial], processed=processed, failures=1) is None
        append(store, 4)
        assert claimed(store).row == row

    @pytest.mark.parametrize("text", ["", "x", "1/1", "-1/1//x/1/1/1", "9" * 400, b"\xff"])
    def test_that_is_spoilt_begins_again(
        self, store: Store, client_of_server: Redis, text: str | bytes
    ) -> None:
        append(store, 1)
        client_of_server.hset(store.keys.stats, "outage", text)
        assert read_status(store).outage is None
        found = claimed(store)
        assert found.row == NO_ROW
        fail(store, found, weight=1)
        found = claimed(store)
        assert found.row == Row(1, 1, False, 0)
        assert store.ack(found) is None


class TestOthersSucceeded:
    def test_since_the_first_failure(self, store: Store) -> None:
        append(store, 1, 2, 3, batch_size=1)
        fail(store, claimed(store), backoff=NOW)
        found = claimed(store)
        assert not found.others_succeeded
        store.ack(claimed(store, "other"))
        fail(store, found)
        assert claimed(store).others_succeeded

    def test_since_the_first_death(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        claimed(store, "died")
        assert not claimed(store, "heir", lease=NOW).others_succeeded
        store.ack(claimed(store, "other"))
        assert claimed(store, "third", lease=NOW).others_succeeded

    @pytest.mark.parametrize(
        ("reasons", "has_changed"),
        [
            *(((Reason.FAILURE, reason), reason is Reason.CHANGED) for reason in Reason),
            ((Reason.CHANGED, Reason.FAILURE), False),
            ((Reason.CHANGED, Reason.DOUBTFUL), False),
            ((Reason.CHANGED, Reason.RETRY), True),
            ((Reason.CHANGED, Reason.OUTAGE), True),
            ((Reason.CHANGED, Reason.DEATH), True),
        ],
    )
    def test_since_its_error_changed_is_known_until_a_failure_is_counted(
        self, store: Store, reasons: tuple[Reason, Reason], has_changed: bool
    ) -> None:
        append(store, 1, 2, 3, batch_size=1)
        for reason in reasons:
            fail(store, claimed(store), reason=reason)
        held = claimed(store)
        assert not held.has_changed
        store.ack(claimed(store, "other"))
        store.retire("worker", lease=MINUTE)
        again = claimed(store)
        assert again.id == held.id
        assert (again.others_succeeded, again.has_changed) == (True, has_changed)

    def test_of_a_piece_says_nothing_about_its_own_failures(self, store: Store) -> None:
        append(store, 1, 2, 3, batch_size=2)
        fail(store, claimed(store), reason=Reason.CHANGED)
        held = claimed(store)
        store.ack(claimed(store, "other"))
        split(store, held)
        piece = claimed(store)
        assert (piece.others_succeeded, piece.has_changed) == (True, False)

    def test_is_false_while_it_has_not_failed(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        store.ack(claimed(store))
        assert not claimed(store).others_succeeded

    @pytest.mark.parametrize(
        ("reason", "succeeded"),
        [
            (Reason.FAILURE, True),
            (Reason.DOUBTFUL, False),
            (Reason.RETRY, False),
            (Reason.CHANGED, False),
            (Reason.OUTAGE, False),
            (Reason.DEATH, True),
        ],
    )
    def test_begins_again_with_a_failure_that_may_be_due_to_an_outage(
        self, store: Store, reason: Reason, succeeded: bool
    ) -> None:
        append(store, 1, 2, batch_size=1)
        fail(store, claimed(store))
        held = claimed(store)
        store.ack(claimed(store, "other"))
        fail(store, held, reason=reason)
        assert claimed(store).others_succeeded == succeeded

    @pytest.mark.parametrize(
        ("pause", "age_ms", "succeeded"),
        [(None, 9_000, True), (None, 11_000, False), (PAUSE, 9_000, True), (PAUSE, 11_000, False)],
    )
    def test_begins_again_after_an_outage_of_ten_seconds(
        self,
        store: Store,
        client_of_server: Redis,
        pause: timedelta | None,
        age_ms: int,
        succeeded: bool,
    ) -> None:
        append(store, 1, 2, 3, batch_size=1)
        fail_in_an_outage(store, claimed(store), pause=pause, backoff=MINUTE)
        if pause:
            end_pause(store, client_of_server)
        change(store, client_of_server, since=now_ms(client_of_server) - age_ms)
        ended = store.ack(claimed(store))
        assert ended is not None
        found = claimed(store, lease=NOW)
        assert (found.array, found.others_succeeded) == (b"[1]", succeeded)
        fail(store, found)
        held = claimed(store)
        store.ack(claimed(store, "other"))
        fail(store, held)
        assert claimed(store).others_succeeded

    @pytest.mark.parametrize("is_piece", [False, True])
    def test_begins_again_after_the_first_outage_only(
        self, store: Store, client_of_server: Redis, is_piece: bool
    ) -> None:
        def claimed_after_an_outage() -> Claim:
            claimed(store)
            client_of_server.hset(store.keys.stats, "acquitted", " 0 1 ")
            store.ack(claimed(store, "other"))
            store.retire("worker", lease=MINUTE)
            return claimed(store)

        append(store, 1, 2, 3, 4, 5, 6, batch_size=2)
        fail(store, claimed(store))
        found = claimed_after_an_outage()
        assert not found.others_succeeded
        if is_piece:
            split(store, found)
        else:
            fail(store, found, reason=Reason.RETRY)
        again = claimed_after_an_outage()
        assert (again.count, again.others_succeeded) == (1 if is_piece else 2, True)

    def test_is_forgotten_if_the_clock_was_set_back_in_the_outage(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, batch_size=1)
        fail_in_an_outage(store, claimed(store), backoff=NOW)
        hour_ms = MINUTE * 60 // timedelta(milliseconds=1)
        change(store, client_of_server, since=now_ms(client_of_server) + hour_ms, retry=1)
        outage = fail_in_an_outage(store, claimed(store), backoff=NOW)
        assert outage is not None
        assert outage.duration == NOW
        since = int(client_of_server.hget(store.keys.stats, "outage").split(b"/")[2])
        assert since <= now_ms(client_of_server)

    def test_is_not_forgotten_because_of_another_outage(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, batch_size=1)
        fail(store, claimed(store))
        found = claimed(store)
        client_of_server.hset(store.keys.stats, "acquitted", " 10 100 ")
        store.ack(claimed(store, "other"))
        fail(store, found)
        assert claimed(store).others_succeeded

    def test_is_forgotten_for_a_limited_number_of_outages(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        fail_in_an_outage(store, claimed(store), backoff=NOW)
        change(store, client_of_server, since=now_ms(client_of_server) - 11_000, retry=1)
        client_of_server.hset(store.keys.stats, "acquitted", " 7" * 1000 + " ")
        store.ack(claimed(store))
        acquitted = client_of_server.hget(store.keys.stats, "acquitted")
        assert len(acquitted) == 500
        assert acquitted.endswith(b" 7 7 0 ")

    def test_is_known_after_the_counters_were_lost(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, *range(9), batch_size=1)
        for _ in range(5):
            store.ack(claimed(store))
        fail(store, claimed(store), backoff=NOW)
        client_of_server.delete(store.keys.stats)
        found = claimed(store)
        assert (found.array, found.others_succeeded) == (b"[5]", False)
        store.ack(claimed(store, "other"))
        fail(store, found)
        assert claimed(store).others_succeeded


class TestOutage:
    def test_is_logged_when_it_begins_and_once_a_minute(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        first = fail_in_an_outage(store, claimed(store))
        assert first == Outage(NOW, True, False)
        end_pause(store, client_of_server)
        assert not fail_in_an_outage(store, claimed(store)).is_to_be_logged
        for distance in (-61_000, 61_000):
            client_of_server.hset(store.keys.stats, "told", now_ms(client_of_server) + distance)
            end_pause(store, client_of_server)
            again = fail_in_an_outage(store, claimed(store))
            assert (again.is_to_be_logged, again.is_logged) == (True, True)

    def test_is_not_logged_again_within_a_minute_nor_its_end(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, 3, batch_size=1)
        fail_in_an_outage(store, claimed(store), backoff=MINUTE)
        end_pause(store, client_of_server)
        assert store.ack(claimed(store)) is not None
        found = claimed(store)
        assert not fail_in_an_outage(store, found, pause=NOW).is_to_be_logged
        assert store.ack(claimed(store)) is None

    def test_that_was_not_logged_is_said_to_begin_when_it_is(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, 3, batch_size=1)
        fail_in_an_outage(store, claimed(store), backoff=MINUTE)
        end_pause(store, client_of_server)
        store.ack(claimed(store))
        fail_in_an_outage(store, claimed(store))
        told = now_ms(client_of_server) - 61_000
        client_of_server.hset(store.keys.stats, "told", told)
        change(store, client_of_server, since=told, retry=1)
        late = fail_in_an_outage(store, claimed(store))
        assert late.duration > MINUTE
        assert (late.is_to_be_logged, late.is_logged) == (True, False)

    def test_of_few_events_is_logged_though_another_one_was_logged_within_the_hour(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        client_of_server.hset(store.keys.stats, "told", now_ms(client_of_server) - 61_000)
        first = fail_in_an_outage(store, claimed(store), pause=None)
        assert (first.is_to_be_logged, first.is_logged) == (True, False)

    def test_that_is_over_does_not_change_the_reason_of_another_failure(self, store: Store) -> None:
        append(store, 1, 2, 3, batch_size=1)
        fail(store, claimed(store), weight=1)
        good, bad = claimed(store, "good"), claimed(store)
        assert bad.row.failed == 1
        store.ack(good)
        fail(store, bad, reason=Reason.FAILURE)
        again = claimed(store)
        assert (again.id, again.failures) == (bad.id, 1)

    def test_does_not_begin_again_with_a_try_that_is_left_of_it(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        good = claimed(store, "good")
        fail_in_an_outage(store, claimed(store), pause=NOW)
        late = claimed(store)
        assert late.row.failed == 1
        store.ack(good)
        reply = store.release(
            late, lease=MINUTE, backoff=NOW, reason=Reason.OUTAGE, error="KeyError", pause=PAUSE
        )
        assert reply is None
        found = claimed(store)
        assert (found.row, found.others_succeeded) == (NO_ROW, False)

    @pytest.mark.parametrize(("minutes", "is_logged"), [(59, False), (61, True)])
    def test_is_logged_once_an_hour_while_no_worker_waits(
        self, store: Store, client_of_server: Redis, minutes: int, is_logged: bool
    ) -> None:
        append(store, 1)
        assert fail_in_an_outage(store, claimed(store), pause=None).is_to_be_logged
        told = now_ms(client_of_server) - minutes * 60_000
        client_of_server.hset(store.keys.stats, "told", told)
        again = fail_in_an_outage(store, claimed(store), pause=None)
        assert again.is_to_be_logged == is_logged

    def test_has_a_duration(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        assert read_status(store).outage is None
        fail_in_an_outage(store, claimed(store))
        change(store, client_of_server, since=now_ms(client_of_server) - 5000)
        outage = read_status(store).outage
        assert outage is not None
        assert timedelta(seconds=5) <= outage < MINUTE
        end_pause(store, client_of_server)
        assert fail_in_an_outage(store, claimed(store)).duration >= timedelta(seconds=5)
        end_pause(store, client_of_server)
        ended = store.ack(claimed(store))
        assert ended is not None
        assert timedelta(seconds=5) <= ended < MINUTE
        assert read_status(store).outage is None

    def test_ends_with_a_burial_if_other_events_were_processed(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2)
        fail_in_an_outage(store, claimed(store))
        end_pause(store, client_of_server)
        found = claimed(store)
        burial = Burial(*spans(found.array)[0], "no")
        ended = store.bury(found, [burial], processed=1, failures=1)
        assert ended is not None
        assert NOW <= ended < MINUTE

    def test_goes_on_with_a_burial_alone(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        fail_in_an_outage(store, claimed(store))
        end_pause(store, client_of_server)
        bury(store, claimed(store))
        assert read_status(store).outage is not None

    def test_is_reported_to_other_failures(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        first, second = claimed(store, "a"), claimed(store, "b")
        assert fail(store, second) is None
        second = claimed(store, "b")
        fail_in_an_outage(store, first)
        outage = fail(store, second)
        assert outage is not None
        assert not outage.is_to_be_logged

    def test_knows_whether_an_exception_means_it(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        fail_in_an_outage(store, claimed(store), is_by_exception=True, pause=None)
        assert claimed(store, "other").row == Row(1, 1, True, 0)


class TestPause:
    """Of all workers of the bucket, in an outage."""

    def test_keeps_all_batches_back(self, store: Store) -> None:
        append(store, 1, 2, 3, batch_size=1)
        append(store, 4)
        held, failed = claimed(store, "a"), claimed(store, "b")
        fail_in_an_outage(store, failed)
        before = facts(read_status(store))
        for lease in (MINUTE, timedelta(hours=1)):
            found, foreign, wait, reason = store.claim("b", lease=lease, linger=NOW)
            assert (found, foreign, reason) == (None, 0, "outage")
            assert wait is not None
            assert timedelta(seconds=30) < wait <= PAUSE
        assert facts(read_status(store)) == before
        store.ack(held)
        assert claim(store, "b") is not None

    def test_lets_a_worker_have_what_it_holds(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        held = claimed(store, "a")
        fail_in_an_outage(store, claimed(store, "b"))
        assert claimed(store, "a").id == held.id

    def test_goes_on_after_an_attempt_to_seal_that_redis_refuses(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        client_of_server.xadd(store.keys.batches, {"foreign": "x"}, id=LAST_ID)
        client_of_server.xdel(store.keys.batches, LAST_ID)
        over = "2/2/1//1/1/0"
        client_of_server.hset(store.keys.stats, "outage", over)
        with pytest.raises(BufferUnavailable):
            claim(store)
        assert client_of_server.hget(store.keys.stats, "outage") == over.encode()

    def test_lets_one_worker_try_at_a_time(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2, 3, batch_size=1)
        fail_in_an_outage(store, claimed(store))
        end_pause(store, client_of_server)
        found: list[Claim] = []

        def work(name: str) -> None:
            if each := claim(store, name):
                found.append(each)

        at_once(partial(work, name) for name in "abcdef")
        [one] = found
        assert one.row.tries == 1
        _, _, wait, reason = store.claim("late", lease=MINUTE, linger=NOW)
        assert reason == "outage"
        assert wait is not None
        assert timedelta(seconds=30) < wait <= MINUTE
        fail_in_an_outage(store, one, pause=timedelta(seconds=10))
        _, _, wait, reason = store.claim("late", lease=MINUTE, linger=NOW)
        assert reason == "outage"
        assert wait is not None
        assert wait <= timedelta(seconds=10)

    @pytest.mark.parametrize(
        "give_up",
        [split, lambda store, claim: store.retire(claim.worker, lease=MINUTE)],
        ids=["split", "retire"],
    )
    def test_is_over_when_the_worker_that_tries_gives_up(
        self, store: Store, client_of_server: Redis, give_up: Callable[[Store, Claim], object]
    ) -> None:
        append(store, 1, 2)
        fail_in_an_outage(store, claimed(store))
        end_pause(store, client_of_server)
        found = claimed(store)
        assert store.claim("other", lease=MINUTE, linger=NOW).reason == "outage"
        give_up(store, found)
        assert claimed(store, "other").row.tries == 1

    def test_is_over_when_all_events_of_a_batch_were_rejected(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, 3, batch_size=1)
        fail_in_an_outage(store, claimed(store))
        end_pause(store, client_of_server)
        bury(store, claimed(store))
        assert claimed(store, "other").row.tries == 1

    def test_goes_on_when_a_worker_keeps_a_piece(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2)
        fail_in_an_outage(store, claimed(store))
        end_pause(store, client_of_server)
        split(store, claimed(store), keeps=1)
        assert store.claim("other", lease=MINUTE, linger=NOW).reason == "outage"
        assert claimed(store).array == b"[1]"

    def test_goes_on_when_a_worker_retires_that_holds_nothing(self, store: Store) -> None:
        append(store, 1)
        fail_in_an_outage(store, claimed(store))
        store.retire("worker", lease=MINUTE)
        assert store.claim("other", lease=MINUTE, linger=NOW).reason == "outage"

    def test_is_over_when_the_worker_that_tries_has_died(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        fail_in_an_outage(store, claimed(store))
        end_pause(store, client_of_server)
        claimed(store, "died")
        end_pause(store, client_of_server)
        assert claimed(store, "heir", lease=NOW).deaths == 1

    def test_counts_the_tries(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        for tries in range(3):
            found = claimed(store)
            assert found.row.tries == tries
            fail_in_an_outage(store, found)
            end_pause(store, client_of_server)

    def test_is_none_before_the_outage_is_beyond_doubt(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        fail_in_an_outage(store, claimed(store), pause=None)
        assert [claimed(store, name).row for name in "ab"] == [Row(1, 1, False, 0)] * 2

    def test_is_over_if_the_clock_was_set_back(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        fail_in_an_outage(store, claimed(store))
        lease_ms = MINUTE // timedelta(milliseconds=1)
        change(store, client_of_server, retry=now_ms(client_of_server) + 2 * lease_ms)
        assert claim(store) is not None

    def test_is_not_the_reason_in_a_paused_bucket(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        fail_in_an_outage(store, claimed(store))
        pending.pause(store)
        assert store.claim("other", lease=MINUTE, linger=NOW) == (None, 0, None, "paused")

    def test_is_no_reason_without_a_batch(self, store: Store) -> None:
        append(store, 1)
        fail_in_an_outage(store, claimed(store))
        pending.purge(store)
        assert store.claim("other", lease=MINUTE, linger=NOW) == (None, 0, None, "")

    def test_keeps_no_foreign_value(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        fail_in_an_outage(store, claimed(store))
        client_of_server.set(store.keys.open, "rubbish")
        found = store.claim("other", lease=MINUTE, linger=NOW)
        assert (found.claim, found.foreign, found.reason) == (None, 1, "outage")


class TestOrder:
    """Batches that have failed and batches that were never delivered take turns."""

    @pytest.mark.parametrize(
        ("alone", "order"), [(19, [b"[1]", b"[2]"]), (20, [b"[1]", b"[2]"]), (21, [b"[2]", b"[1]"])]
    )
    def test_depends_on_the_number_of_failures(
        self, store: Store, client_of_server: Redis, alone: int, order: list[bytes]
    ) -> None:
        append(store, 1, 2, batch_size=1)
        let_clock_be_known(store, client_of_server)
        fail(store, claimed(store), weight=alone)
        assert [claimed(store, name).array for name in "ab"] == order

    @pytest.mark.parametrize(
        ("prefers_new", "order"), [(False, [1, 2, 3, 4]), (True, [4, 1, 2, 3])]
    )
    def test_has_pieces_before_older_batches_that_come_again(
        self, store: Store, client_of_server: Redis, prefers_new: bool, order: list[int]
    ) -> None:
        append(store, 3, batch_size=1)
        append(store, 1, 2, 4, 5, batch_size=2)
        let_clock_be_known(store, client_of_server)
        again, whole = claimed(store, "a"), claimed(store, "b")
        store.split(whole, spans(whole.array), at=1)
        fail(store, again, error="")
        assert given(store, 4, client_of_server, prefers_new=prefers_new) == order

    def test_of_a_drain_that_comes_to_each_batch_once_is_that_of_the_ids(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, batch_size=1)
        append(store, 2, 3, 4, batch_size=2)
        let_clock_be_known(store, client_of_server)
        again, whole = claimed(store, "a"), claimed(store, "b")
        split(store, whole)
        fail(store, again)
        newest, _ = store.seal()
        assert given(store, 4, client_of_server, newest=newest) == [1, 2, 3, 4]

    @pytest.mark.parametrize(
        ("tries", "order"),
        [(1, [5, 4, 3, 2, 1]), (2, [3, 4, 5, 2, 1]), (7, [5, 4, 3, 2, 1]), (8, [2, 1, 3, 4, 5])],
    )
    def test_in_an_outage_depends_on_the_number_of_tries(
        self, store: Store, client_of_server: Redis, tries: int, order: list[int]
    ) -> None:
        append(store, 1, 2, 3, 4, 5, batch_size=1)
        let_clock_be_known(store, client_of_server)
        first, second = claimed(store, "a"), claimed(store, "b")
        fail(store, first)
        fail_in_an_outage(store, claimed(store, "a"))  # the first has failed twice, the second once
        fail_in_an_outage(store, second)
        change(store, client_of_server, tries=tries, retry=1)
        assert given(store, 5, client_of_server) == order

    def test_passes_over_the_pieces_that_lie_behind_the_newest_batch(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, 3, 4, 5, 6, batch_size=2)
        let_clock_be_known(store, client_of_server)
        split(store, claimed(store))
        fail_in_an_outage(store, claimed(store))
        change(store, client_of_server, tries=1, retry=1)
        assert given(store, 4, client_of_server) == [5, 3, 2, 1]

    def test_has_no_newest_batch_behind_the_bound_of_a_drain(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, 3, batch_size=1)
        newest, _ = store.seal()
        append(store, 4, batch_size=1)
        fail_in_an_outage(store, claimed(store))
        end_pause(store, client_of_server)
        assert given(store, 1, client_of_server, newest=newest) == [3]
