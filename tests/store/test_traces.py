from typing import Any

import pytest

from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.limits import Limits
from django_jsonbuffer.store.claims import Burial
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.dead_letters import list_dead, replay
from django_jsonbuffer.store.links import BLOCKING
from django_jsonbuffer.store.pending import take
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.store.traces import MOST_TRACES, NO_TRACES, Traces
from tests.server import Redis, both_servers, real_server
from tests.stamps import next_stamp
from tests.store.steps import append, append_traced, claimed, commands_of, context, split, traces

pytestmark = both_servers

A, B, C = (context(number) for number in (0xA, 0xB, 0xC))


class TestTraces:
    def test_are_read_from_their_text(self) -> None:
        read = Traces.read(f"0 {A}:0:3 {B}:17:1 20 {C}:0:1 {A}:2:1")
        assert read == traces((A, 0, 3), (B, 17, 1), (C, 20, 1), (A, 22, 1))
        assert str(read) == f"{A}:0:3 {B}:17:1 {C}:20:1 {A}:22:1"
        assert Traces.read(str(read)) == read

    def test_have_no_text_if_there_are_none(self) -> None:
        assert str(NO_TRACES) == ""
        assert Traces.read("") == NO_TRACES

    @pytest.mark.parametrize("text", [" ", "x", A, f"{A}:a:1", "1 a:0:1", f"1 {A}:-1:1", "9" * 16])
    def test_leave_out_what_another_client_wrote(self, text: str) -> None:
        assert Traces.read(text) == NO_TRACES

    @pytest.mark.parametrize(
        ("start", "end", "cut"),
        [
            (0, 8, traces((A, 1, 2), (B, 3, 1), (C, 6, 2))),
            (0, 1, NO_TRACES),
            (2, 4, traces((A, 0, 1), (B, 1, 1))),
            (3, 7, traces((B, 0, 1), (C, 3, 1))),
            (4, 6, NO_TRACES),
            (7, 8, traces((C, 0, 1))),
        ],
    )
    def test_are_cut(self, start: int, end: int, cut: Traces) -> None:
        assert traces((A, 1, 2), (B, 3, 1), (C, 6, 2)).cut(start, end) == cut

    def test_have_a_text_with_as_many_as_a_batch_keeps(self) -> None:
        runs = [(context(number), number, 1) for number in range(1000)]
        assert Traces.read(str(traces(*runs))) == traces(*runs[:MOST_TRACES])

    def test_know_the_context_of_an_event(self) -> None:
        its = traces((A, 1, 2), (B, 3, 1))
        assert [its.context_of(place) for place in range(5)] == ["", A, A, B, ""]


def traces_of_batches(store: Store, plain: Redis) -> list[str]:
    return [fields[b"traces"].decode() for _, fields in plain.xrange(store.keys.batches)]


def traces_of_open(store: Store, plain: Redis) -> str:
    return plain.hget(store.keys.appends, "traces").decode()  # type: ignore[no-any-return]


class TestOpenBatch:
    def test_keeps_the_places_of_each_append(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        append_traced(store, A, 2, 3)
        append(store, 4)
        append_traced(store, B, 5)
        append_traced(store, traces((C, 1, 1)), 6, 7, 8)
        store.seal()
        assert traces_of_batches(store, client_of_server) == [f"1 {A}:0:2 4 {B}:0:1 5 {C}:1:1"]
        assert claimed(store).traces == traces((A, 1, 2), (B, 4, 1), (C, 6, 1))
        assert traces_of_open(store, client_of_server) == ""

    def test_gives_each_batch_of_one_call_its_own(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append_traced(store, A, 1, batch_size=3)
        append_traced(store, traces((B, 0, 4), (C, 5, 2)), *range(7), batch_size=3)
        store.seal()
        assert traces_of_batches(store, client_of_server) == [
            f"0 {A}:0:1",
            f"0 {B}:0:3",
            f"0 {B}:0:1 {C}:2:1",
            f"0 {C}:0:1",
        ]

    def test_keeps_those_of_single_events_as_many_as_a_span_has_links(
        self, store: Store, client_of_server: Redis
    ) -> None:
        for number in range(1000):
            append_traced(store, context(number), number)
        append_traced(store, A, *range(2000), batch_size=2000)
        its = claimed(store).traces
        assert 128 <= len(its.runs) < 150
        assert its == traces(*((context(n), n, 1) for n in range(len(its.runs))))
        assert traces_of_open(store, client_of_server) == ""

    def test_keeps_all_of_one_call_or_none(self, store: Store, client_of_server: Redis) -> None:
        many = traces(*((context(n), n, 1) for n in range(200)))
        append_traced(store, many, *range(200))
        append_traced(store, many, *range(200))
        append_traced(store, A, 1)
        store.seal()
        first = traces(*many.runs[:MOST_TRACES], (A, 400, 1))
        assert claimed(store).traces == first

    def test_that_was_taken_leaves_none(self, store: Store, client_of_server: Redis) -> None:
        append_traced(store, A, 1)
        take(store)
        assert traces_of_open(store, client_of_server) == ""
        append(store, 2)
        store.seal()
        assert traces_of_batches(store, client_of_server) == [""]

    def test_that_another_client_takes_leaves_none(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append_traced(store, A, 1)
        client_of_server.delete(store.keys.open)
        append_traced(store, B, 2)
        store.seal()
        assert traces_of_batches(store, client_of_server) == [f"0 {B}:0:1"]

    def test_that_another_client_changes_loses_them(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append_traced(store, A, 1)
        client_of_server.set(store.keys.open, "[0,1]")
        append_traced(store, B, 2)
        store.seal()
        assert traces_of_batches(store, client_of_server) == [""]

    def test_that_is_dropped_leaves_none(self, store: Store, client_of_server: Redis) -> None:
        append_traced(store, A, 1)
        append(store, 2)
        append_traced(store, B, 3, max_pending=1, overflow="drop_oldest")
        store.seal()
        assert traces_of_batches(store, client_of_server) == [f"0 {B}:0:1"]

    def test_keeps_them_if_an_append_is_dropped_that_forgets_producers(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append_traced(store, A, 1)
        client_of_server.hset(store.keys.appends, "since", 1)
        append_traced(store, B, 2, max_pending=1, overflow="drop_newest")
        assert client_of_server.exists(store.keys.old_appends)
        store.seal()
        assert traces_of_batches(store, client_of_server) == [f"0 {A}:0:1"]

    def test_keeps_those_of_an_append_that_is_sent_twice_once(
        self, store: Store, client_of_server: Redis
    ) -> None:
        stamp, limits = next_stamp(), Limits(batch_size=9, batch_bytes=99)
        for _ in range(2):
            its = traces((A, 0, 1))
            finish(store.append_by(BLOCKING, [b"1"], stamp, limits, size=2, traces=its))
        store.seal()
        assert traces_of_batches(store, client_of_server) == [f"0 {A}:0:1"]

    @pytest.mark.parametrize("spoilt", ["x", "1-a-6 x", "{}x 0 x"])
    def test_whose_traces_another_client_has_spoilt(
        self, store: Store, client_of_server: Redis, spoilt: str
    ) -> None:
        append_traced(store, A, 1)
        origin = client_of_server.hget(store.keys.appends, "origin").decode()
        client_of_server.hset(store.keys.appends, "traces", spoilt.format(origin))
        append_traced(store, B, 2)  # the usual append does not look at them
        append_traced(store, C, 3, batch_size=3)
        assert claimed(store).traces == traces((C, 2, 1))

    def test_of_another_version_does_not_take_those_of_this_one(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append_traced(store, A, 1)
        theirs = client_of_server.hget(store.keys.appends, "traces")
        store.seal()
        append(store, 2)
        client_of_server.hset(store.keys.appends, "traces", theirs)  # as that version leaves it
        store.seal()
        assert traces_of_batches(store, client_of_server) == [f"0 {A}:0:1", ""]


class TestAppend:
    def usual(self, **more: int) -> dict[str, int]:
        """The commands of an append in the usual case."""
        names = ("config|resetstat", "evalsha", "hmget", "getrange", "hset", "setrange")
        return dict.fromkeys(names, 1) | more

    @real_server
    def test_that_is_not_traced_runs_the_usual_commands_beside_traced_ones(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        assert commands_of(client_of_server, lambda: append(store, 2)) == self.usual()
        append_traced(store, A, 3)
        assert commands_of(client_of_server, lambda: append(store, 4)) == self.usual()

    @real_server
    def test_that_is_traced_runs_few_more(self, store: Store, client_of_server: Redis) -> None:
        append_traced(store, A, *range(100))
        found = commands_of(client_of_server, lambda: append_traced(store, B, 1))
        assert found == self.usual(hset=2, hget=1, hstrlen=1)

    @real_server
    def test_that_finds_no_room_for_its_trace_does_not_read_the_others(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 0)
        for number in range(200):
            append_traced(store, context(number), number)
        found = commands_of(client_of_server, lambda: append_traced(store, B, 1))
        assert found == self.usual(hstrlen=1)

    def test_beside_a_full_bucket_writes_none(self, store: Store, client_of_server: Redis) -> None:
        append_traced(store, A, 1)
        append_traced(store, B, 2, max_pending=1, overflow="drop_newest")
        store.seal()
        assert traces_of_batches(store, client_of_server) == [f"0 {A}:0:1"]


class TestBatch:
    def test_of_an_older_version_has_none(self, store: Store, client_of_server: Redis) -> None:
        fields: dict[Any, Any] = {"events": "[1,2]", "count": 2, "opened": 1, "token": "ab"}
        client_of_server.xadd(store.keys.batches, fields)
        assert claimed(store).traces == NO_TRACES

    def test_that_is_split_leaves_each_piece_its_own(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append_traced(store, traces((A, 0, 3), (B, 3, 1)), *range(5))
        store.seal()
        split(store, claimed(store), at=2)
        assert traces_of_batches(store, client_of_server) == [
            f"{A}:0:2",
            f"{A}:0:1 {B}:1:1",
        ]

    def test_of_replayed_dead_letters_has_those_of_the_events(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append_traced(store, traces((A, 0, 2), (B, 4, 1)), *range(5))
        store.seal()
        claim = claimed(store)
        burials = [Burial(*spans(claim.array)[at], "no", place=at) for at in (1, 2, 4)]
        store.bury(claim, burials, processed=2, failures=1)
        letters = list_dead(store, 10)
        assert [letter.fields["trace"].decode() for letter in letters] == [A, "", B]
        replay(store, [letter.id for letter in letters])
        assert traces_of_batches(store, client_of_server) == [f"{A}:0:1 {B}:2:1"]

    @pytest.mark.parametrize("trace", ["", "x", f"{A}:0:1", f"{A} {B}"])
    def test_of_dead_letters_whose_trace_another_client_wrote(
        self, store: Store, client_of_server: Redis, trace: str
    ) -> None:
        client_of_server.xadd(store.keys.dead, {"event": "1", "trace": trace})
        replay(store, [letter.id for letter in list_dead(store, 10)])
        assert traces_of_batches(store, client_of_server) == [""]
