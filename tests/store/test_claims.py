"""What a claim says of the batches that it does not claim, and a claim that is a heartbeat too."""

from datetime import timedelta

import pytest

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.store import pending
from django_jsonbuffer.store.history import histories
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.prepared import make_old
from tests.server import Redis, both_servers
from tests.store.steps import MINUTE, NOW, append, claimed

pytestmark = both_servers

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


class TestNext:
    def found(self, store: Store, worker: str = "other", *, linger: timedelta = HOUR) -> object:
        found = store.claim(worker, lease=MINUTE, linger=linger)
        return found.claim and found.claim.array, found.wait, found.reason

    def test_of_an_empty_bucket_is_not_known(self, store: Store) -> None:
        assert self.found(store) == (None, None, "")

    def test_of_more_sealed_batches_is_now(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        assert self.found(store) == (b"[1]", NOW, "")
        assert self.found(store, "another") == (b"[2]", None, "")

    def test_of_an_open_batch_is_when_it_has_lingered(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        make_old(client_of_server, store.name, seconds=1800)
        _, wait, reason = store.claim("other", lease=MINUTE, linger=HOUR)[1:]
        assert reason == "open"
        assert wait is not None
        assert 29 * MINUTE < wait <= 30 * MINUTE
        append(store, 2, batch_size=1)
        append(store, 3)
        found = store.claim("other", lease=MINUTE, linger=HOUR)
        assert found.claim is not None
        assert found.wait is not None
        assert 59 * MINUTE < found.wait <= HOUR or found.wait == NOW

    def test_of_batches_that_others_hold_is_the_end_of_the_first_lease(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        claimed(store, "a")
        store.release(claimed(store, "b"), lease=MINUTE, backoff=20 * SECOND)
        found = store.claim("other", lease=MINUTE, linger=NOW)
        assert (found.claim, found.reason) == (None, "held")
        assert found.wait is not None
        assert 18 * SECOND < found.wait <= 20 * SECOND

    def test_of_a_paused_bucket_is_not_known(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        pending.pause(store)
        assert self.found(store) == (None, None, "paused")

    def test_of_a_paused_bucket_with_an_open_batch_is_not_known(self, store: Store) -> None:
        append(store, 1)
        pending.pause(store)
        assert self.found(store) == (None, None, "paused")


@pytest.mark.parametrize("beats", [False, True])
class TestHeartbeat:
    def test_of_a_bucket_without_batches(self, store: Store, beats: bool) -> None:
        store.claim("worker", lease=MINUTE, linger=NOW, beats=beats)
        assert read_status(store).workers == beats
        assert [len(samples) for samples in histories([store.name], configuration())] == [beats]

    def test_with_a_batch(self, store: Store, client_of_server: Redis, beats: bool) -> None:
        append(store, 1, batch_size=1)
        found = store.claim("worker", lease=MINUTE, linger=NOW, beats=beats).claim
        assert found is not None
        assert read_status(store).workers == beats
        assert client_of_server.hexists(store.keys.stats, "clock") == beats

    @pytest.mark.real_server
    def test_on_a_full_server(self, store: Store, private_server: Redis, beats: bool) -> None:
        append(store, 1, batch_size=1)
        private_server.config_set("maxmemory", 1)
        found = store.claim("worker", lease=MINUTE, linger=NOW, beats=beats).claim
        assert found is not None
        assert store.ack(found) is None
