import re
from typing import Any

import pytest

from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.limits import Limits
from django_jsonbuffer.store.claims import Burial
from django_jsonbuffer.store.dead_letters import list_dead, replay
from django_jsonbuffer.store.origins import NO_ORIGINS, Origins, Run
from django_jsonbuffer.store.pending import take
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.faults.restarts import RestartingServer
from tests.server import Redis, both_servers
from tests.stamps import next_stamp
from tests.store.steps import append, claimed, split

pytestmark = both_servers


class TestOrigins:
    def test_are_read_from_their_text(self) -> None:
        read = Origins.read("1-a-0:0:3 2-b-6:17:1")
        assert read.runs == (Run("1-a-0", 0, 3), Run("2-b-6", 17, 1))
        assert read.count == 4
        assert str(read) == "1-a-0:0:3 2-b-6:17:1"

    @pytest.mark.parametrize("text", ["", "a", "a:b:c", "a:0:", ":0:1", "a:-1:1", "a'b:0:1"])
    def test_are_empty_for_what_another_client_wrote(self, text: str) -> None:
        assert Origins.read(text) == NO_ORIGINS

    @pytest.mark.parametrize(
        ("start", "end", "cut"),
        [
            (0, 4, "a:5:2 b:0:2"),
            (0, 1, "a:5:1"),
            (1, 3, "a:6:1 b:0:1"),
            (2, 9, "b:0:2"),
            (4, 9, ""),
        ],
    )
    def test_are_cut(self, start: int, end: int, cut: str) -> None:
        assert str(Origins.read("a:5:2 b:0:2").cut(start, end)) == cut

    @pytest.mark.parametrize(
        ("places", "left"),
        [
            ((), "a:5:3 b:0:2"),
            ((0,), "a:6:2 b:0:2"),
            ((4, 1), "a:5:1 a:7:1 b:0:1"),
            ((0, 1, 2, 3, 4), ""),
        ],
    )
    def test_without_leaves_out_the_events_at_these_places(
        self, places: tuple[int, ...], left: str
    ) -> None:
        assert str(Origins.read("a:5:3 b:0:2").without(places)) == left


def origin_of(store: Store, plain: Redis) -> str:
    """The origin of the open batch."""
    return plain.hget(store.keys.appends, "origin").decode()  # type: ignore[no-any-return]


def origins_of_batches(store: Store, plain: Redis) -> list[str]:
    return [fields[b"origins"].decode() for _, fields in plain.xrange(store.keys.batches)]


class TestOpenBatch:
    def test_has_an_origin_with_the_time_at_which_it_was_opened(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        origin = origin_of(store, client_of_server)
        opened = client_of_server.hget(store.keys.appends, "opened").decode()
        assert re.fullmatch(rf"{opened}-[0-9a-f]{{8}}-6", origin)

    def test_keeps_it_until_it_is_sealed(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        origin = origin_of(store, client_of_server)
        append(store, 2, 3)
        assert origin_of(store, client_of_server) == origin
        store.seal()
        assert origin_of(store, client_of_server) == ""
        assert origins_of_batches(store, client_of_server) == [f"{origin}:0:3"]

    def test_gets_one_of_its_own_in_each_batch_of_one_call(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, 3, 4, 5, batch_size=2)
        store.seal()
        origins = origins_of_batches(store, client_of_server)
        starts = {origin.rpartition("-")[0] for origin in origins}
        assert len(starts) == 1
        assert [origin.rpartition("-")[2] for origin in origins] == ["6:0:2", "7:0:2", "8:0:1"]

    def test_gets_another_one_after_it_was_taken(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        origin = origin_of(store, client_of_server)
        take(store)
        append(store, 1)
        assert origin_of(store, client_of_server) != origin

    def test_gets_another_one_if_another_client_changes_it(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        origin = origin_of(store, client_of_server)
        client_of_server.set(store.keys.open, "[1,2]")
        append(store, 3)
        assert origin_of(store, client_of_server) == ""
        store.seal()
        [origins] = origins_of_batches(store, client_of_server)
        assert Origins.read(origins).count == 3
        assert not origins.startswith(origin)

    def test_keeps_it_if_an_append_is_dropped_that_forgets_producers(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        origin = origin_of(store, client_of_server)
        client_of_server.hset(store.keys.appends, "since", 1)
        limits = Limits(batch_size=9, batch_bytes=99, max_pending=1, overflow="drop_newest")
        store.append([b"2"], next_stamp(), limits)
        assert client_of_server.exists(store.keys.old_appends)
        assert origin_of(store, client_of_server) == origin

    def test_gets_another_one_if_a_status_counts_the_events_of_another_client(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        client_of_server.set(store.keys.open, f'[1,"{"x" * 20_000}"]')
        assert read_status(store).pending == 2
        assert origin_of(store, client_of_server) == ""

    @pytest.mark.parametrize("spoilt", ["", "x", "1-a-0"])
    def test_whose_origin_is_not_known_gets_one_when_it_is_sealed(
        self, store: Store, client_of_server: Redis, spoilt: str
    ) -> None:
        append(store, 1)
        client_of_server.hset(store.keys.appends, "origin", spoilt)
        store.seal()
        [origins] = origins_of_batches(store, client_of_server)
        assert re.fullmatch(r"\d{13}-[0-9a-f]{8}-0:0:1", origins)

    def test_of_another_client_gets_one_when_it_is_sealed(
        self, store: Store, client_of_server: Redis
    ) -> None:
        client_of_server.set(store.keys.open, "[1,2]")
        store.seal()
        assert claimed(store).origins.count == 2


class TestBatch:
    def test_of_an_older_version_is_its_own_origin(
        self, store: Store, client_of_server: Redis
    ) -> None:
        fields: dict[Any, Any] = {"events": "[1,2]", "count": 2, "opened": 1, "token": "ab"}
        client_of_server.xadd(store.keys.batches, fields)
        claim = claimed(store)
        assert claim.origins == Origins.of_batch(claim.id, 2)

    @pytest.mark.parametrize("origins", ["", "x", "1-a-0:0:1", "1-a-0:0:3"])
    def test_whose_origins_another_client_has_spoilt(
        self, store: Store, client_of_server: Redis, origins: str
    ) -> None:
        fields: dict[Any, Any] = {"events": "[1,2]", "count": 2, "opened": 1, "origins": origins}
        client_of_server.xadd(store.keys.batches, fields)
        claim = claimed(store)
        assert claim.origins == Origins.of_batch(claim.id, 2)

    def test_that_is_split_leaves_each_piece_its_own(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, *range(5))
        origin = origin_of(store, client_of_server)
        store.seal()
        split(store, claimed(store), at=2)
        assert origins_of_batches(store, client_of_server) == [f"{origin}:0:2", f"{origin}:2:3"]

    def test_of_replayed_dead_letters_has_those_of_the_events(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, *range(5))
        origin = origin_of(store, client_of_server)
        store.seal()
        claim = claimed(store)
        burials = [Burial(*spans(claim.array)[at], "no", place=at) for at in (1, 4)]
        store.bury(claim, burials, processed=3, failures=1)
        letters = list_dead(store, 10)
        assert [letter.fields["origin"].decode() for letter in letters] == [
            f"{origin}:1:1",
            f"{origin}:4:1",
        ]
        replay(store, [letter.id for letter in letters])
        assert origins_of_batches(store, client_of_server) == [f"{origin}:1:1 {origin}:4:1"]

    def test_of_dead_letters_without_an_origin_gets_one_for_each(
        self, store: Store, client_of_server: Redis
    ) -> None:
        for event in (1, 2):
            client_of_server.xadd(store.keys.dead, {"event": event})
        replay(store, [letter.id for letter in list_dead(store, 10)])
        [origins] = origins_of_batches(store, client_of_server)
        one, other = Origins.read(origins).runs
        assert one.origin != other.origin
        assert (one.first, one.length, other.first, other.length) == (0, 1, 0, 1)


class TestRestart:
    """Of a server that has lost its last writes. The bucket has receipts, unless it says not."""

    def append(self, store: Store, *values: int, **limits: Any) -> None:
        options = {"batch_size": 10, "batch_bytes": 1000, "has_receipts": True} | limits
        events = [b"%d" % value for value in values]
        store.append(events, next_stamp(), Limits(**options))

    def arrays(self, store: Store, plain: Redis) -> tuple[list[bytes], bytes | None]:
        """The sealed batches, and the open one."""
        sealed = [fields[b"events"] for _, fields in plain.xrange(store.keys.batches)]
        return sealed, plain.get(store.keys.open)

    @pytest.fixture
    def plain(self, restarting: RestartingServer) -> Any:
        with restarting.client() as plain:
            yield plain

    def test_lets_the_next_append_seal_the_open_batch(
        self, restarting: RestartingServer, store: Store, plain: Redis
    ) -> None:
        self.append(store, 1)
        self.append(store, 2)
        restarting.save()
        origin = origin_of(store, plain)
        restarting.restart()
        self.append(store, 3)
        self.append(store, 4)
        assert self.arrays(store, plain) == ([b"[1,2]"], b"[3,4]")
        assert origins_of_batches(store, plain) == [f"{origin}:0:2"]
        assert origin_of(store, plain) != origin

    def test_of_a_bucket_without_receipts_does_not_matter(
        self, restarting: RestartingServer, store: Store, plain: Redis
    ) -> None:
        self.append(store, 1, has_receipts=False)
        restarting.save()
        restarting.restart()
        self.append(store, 2, has_receipts=False)
        assert self.arrays(store, plain) == ([], b"[1,2]")

    def test_gives_a_batch_that_is_never_sealed_another_origin(
        self, restarting: RestartingServer, store: Store, plain: Redis
    ) -> None:
        self.append(store, 1, batch_size=None)
        restarting.save()
        origin = origin_of(store, plain)
        restarting.restart()
        self.append(store, 2, batch_size=None)
        assert self.arrays(store, plain) == ([], b"[1,2]")
        assert origin_of(store, plain) != origin

    def test_is_noticed_after_an_append_that_was_dropped(
        self, restarting: RestartingServer, store: Store, plain: Redis
    ) -> None:
        self.append(store, 1)
        restarting.save()
        restarting.restart()
        self.append(store, 2, max_pending=1, overflow="drop_newest")
        self.append(store, 3)
        assert self.arrays(store, plain) == ([b"[1]"], b"[3]")

    def test_is_noticed_after_producers_were_forgotten(
        self, restarting: RestartingServer, store: Store, plain: Redis
    ) -> None:
        self.append(store, 1)
        restarting.save()
        restarting.restart()
        plain.hset(store.keys.appends, "since", 1)
        self.append(store, 2, max_pending=1, overflow="drop_newest")
        assert plain.exists(store.keys.old_appends)
        self.append(store, 3)
        assert self.arrays(store, plain) == ([b"[1]"], b"[3]")

    def test_that_did_not_happen_is_not_noticed_when_producers_are_forgotten(
        self, restarting: RestartingServer, store: Store, plain: Redis
    ) -> None:
        self.append(store, 1)
        plain.hset(store.keys.appends, "since", 1)
        self.append(store, 2)
        self.append(store, 3)
        assert self.arrays(store, plain) == ([], b"[1,2,3]")

    def test_is_noticed_by_a_process_that_knows_of_no_receipts(
        self, restarting: RestartingServer, store: Store, plain: Redis
    ) -> None:
        self.append(store, 1)
        restarting.save()
        restarting.restart()
        self.append(store, 2, has_receipts=False)
        assert self.arrays(store, plain) == ([b"[1]"], b"[2]")

    def test_gives_another_origin_to_events_of_another_client(
        self, restarting: RestartingServer, store: Store, plain: Redis
    ) -> None:
        self.append(store, 1)
        restarting.save()
        origin = origin_of(store, plain)
        restarting.restart()
        plain.set(store.keys.open, "[1,2]")
        store.seal()
        assert not origins_of_batches(store, plain)[0].startswith(origin)
