"""A batch is known by its id in the stream and by the token of the call that has sealed it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from django_jsonbuffer.exceptions import LeaseLost
from django_jsonbuffer.store.claims import Claim, Reason
from django_jsonbuffer.store.deliveries import read_deliveries
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers
from tests.store.steps import MINUTE, NOW, append, bury, claim, claimed, dump, fail, split

pytestmark = both_servers

Call = Callable[[Store, Claim], object]

CALLS: dict[str, Call] = {
    "ack": Store.ack,
    "release": fail,
    "renew": Store.renew,
    "split": split,
    "bury": bury,
}


def put(store: Store, plain: Redis, *, id: str = "*", **fields: str | bytes) -> None:
    """Put a batch of two events into the stream, as another client or another version may do."""
    batch: dict[Any, Any] = {"events": "[1,2]", "count": 2, "opened": 1, **fields}
    plain.xadd(store.keys.batches, batch, id=id)


class TestToken:
    def test_is_part_of_the_id_of_each_batch(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2, 3, batch_size=2)
        found = [claimed(store, "a"), claimed(store, "b")]
        tokens = [
            fields[b"token"].decode() for _, fields in client_of_server.xrange(store.keys.batches)
        ]
        assert [each.id for each in found] == [
            f"{each.stream_id}-{token}" for each, token in zip(found, tokens, strict=True)
        ]
        assert all(tokens)
        assert [each.batch for each in read_deliveries(store, 9).batches] == [
            each.id for each in found
        ]

    def test_is_the_same_on_each_delivery(self, store: Store) -> None:
        append(store, 1)
        first = claimed(store)
        fail(store, first)
        assert claimed(store).id == first.id

    def test_stands_in_dead_letters(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        found = claimed(store)
        bury(store, found)
        [(_, letter)] = client_of_server.xrange(store.keys.dead)
        assert letter[b"batch"].decode() == found.id

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_of_another_batch_with_the_same_stream_id_is_refused(
        self, store: Store, client_of_server: Redis, prefix: str, call: Call
    ) -> None:
        """Redis has lost its last writes, and its clock was set back."""
        append(store, 1, 2)
        before = claimed(store)
        client_of_server.delete(store.keys.batches, store.keys.attempts)
        put(store, client_of_server, id=before.stream_id, token="b")
        after = claimed(store)
        assert (after.stream_id, after.worker, after.attempt) == (
            before.stream_id,
            before.worker,
            before.attempt,
        )
        assert after.id != before.id
        contents = dump(client_of_server, prefix)
        with pytest.raises(LeaseLost, match=before.id):
            call(store, before)
        assert dump(client_of_server, prefix) == contents
        call(store, after)

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_is_missing_in_batches_of_an_older_version(
        self, store: Store, client_of_server: Redis, call: Call
    ) -> None:
        put(store, client_of_server)
        found = claimed(store)
        assert found.id == found.stream_id
        assert read_deliveries(store, 1).batches[0].batch == found.id
        call(store, found)

    @pytest.mark.parametrize("token", ["x", "a/b", "1-2", " ", "a\n", b"\xff"])
    def test_that_is_none_is_passed_over(
        self, store: Store, client_of_server: Redis, token: str | bytes
    ) -> None:
        put(store, client_of_server, token=token)
        found = claimed(store)
        assert found.id == found.stream_id
        store.renew(found)
        fail(store, found)
        again = claimed(store)
        assert (again.id, again.error) == (found.id, "KeyError")
        store.ack(again)


class TestRecordOfAnOlderVersion:
    @pytest.mark.parametrize("record", ["2 1 1763912345123 0 7 1763912345123 KeyError", "1 0 "])
    def test_begins_again(self, store: Store, client_of_server: Redis, record: str) -> None:
        append(store, 1, 2)
        fail(store, claimed(store))
        [stream_id] = client_of_server.hkeys(store.keys.attempts)
        client_of_server.hset(store.keys.attempts, stream_id, record)
        assert read_status(store).failing == 0
        found = claimed(store)
        assert (found.attempt, found.failures, found.deaths, found.error) == (2, 0, 0, "")
        split(store, found)
        for events in ([1], [2]):
            piece = claimed(store)
            assert json.loads(piece.array) == events
            store.ack(piece)
        assert not client_of_server.exists(store.keys.attempts)

    def test_holds_no_claim_of_this_version(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        held = claimed(store)
        client_of_server.hset(store.keys.attempts, held.stream_id, "0 0     ")
        with pytest.raises(LeaseLost):
            store.ack(held)
        store.ack(claimed(store))
        assert claim(store) is None


def test_record_that_somebody_deleted_is_written_by_the_next_claim(
    store: Store, client_of_server: Redis
) -> None:
    append(store, 1)
    held = claimed(store)
    client_of_server.delete(store.keys.attempts)
    with pytest.raises(LeaseLost):
        store.release(held, lease=MINUTE, backoff=NOW, reason=Reason.RETRY)
    store.ack(claimed(store))
