from typing import Any

import pytest
from django.core.files.storage import InMemoryStorage

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.sinks import ByType, JsonLines, Latest, Tee
from django_jsonbuffer.sinks.sink import Sink
from tests.checks.messages import found
from tests.sinks.batches import ID, Recorder, a_batch, a_change


class OfDatabase(Sink):
    """A sink that names a database."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def __call__(self, batch: Batch) -> None: ...

    def databases(self) -> Any:
        yield self._alias


class TestLatest:
    def test_passes_the_last_event_of_each_key_in_their_order(self) -> None:
        inner = Recorder()
        batch = a_batch(*({"k": k, "n": n} for n, k in enumerate("abacb")))
        Latest(inner, key="k")(batch)
        assert [event["n"] for event in inner.events] == [2, 3, 4]
        assert not batch.rejected

    def test_gives_a_part_an_id_that_depends_on_its_events(self) -> None:
        ids = []
        for keys in ("ab", "aab", "abb", "aab"):
            inner = Recorder()
            Latest(inner, key="k")(a_batch(*({"k": key} for key in keys)))
            ids.append(inner.batches[0].id)
        assert ids[0] == ID
        assert ids[1] == ids[3]
        assert len({*ids}) == 3

    def test_beside_the_whole_batch_replaces_no_object(self) -> None:
        storage = InMemoryStorage()
        sink = Tee(JsonLines(storage), Latest(JsonLines(storage), key="k"))
        for _ in range(2):
            sink(a_batch({"k": 1, "n": 1}, {"k": 1, "n": 2}))
        assert len(storage.listdir("orders/2023-11-14")[1]) == 2

    def test_takes_the_key_of_a_cloud_event_from_its_envelope_too(self) -> None:
        inner = Recorder()
        Latest(inner, key="subject")(a_batch(a_change(1, subject="7"), a_change(2, subject="7")))
        assert [event["id"] for event in inner.events] == ["event-2"]

    def test_rejects_only_the_newest_event_of_a_key(self) -> None:
        batch = a_batch({"k": 1, "n": 0}, {"k": 1, "n": 1}, {"k": 2, "n": 2})
        Latest(Recorder({"k": 1, "n": 1}), key="k")(batch)
        assert batch.rejected == {1: "bad"}

    def test_rejects_an_event_without_the_key(self) -> None:
        inner, batch = Recorder(), a_batch({"k": 1}, {"q": 1}, 5)
        Latest(inner, key="k")(batch)
        assert inner.events == [{"k": 1}]
        assert sorted(batch.rejected) == [1, 2]

    def test_raises_if_no_event_has_the_key(self) -> None:
        with pytest.raises(LookupError, match="'k'"):
            Latest(Recorder(), key="k")(a_batch(1, 2))

    @pytest.mark.parametrize("version", ["v", lambda event: event["v"]])
    def test_passes_the_event_with_the_greatest_version(self, version: Any) -> None:
        inner = Recorder()
        versions = {"new": 3, "old": 1, "other": 1, "equal": 3}
        batch = a_batch(
            *({"k": n == "other", "v": v, "n": n} for n, v in versions.items()), {"k": False}
        )
        Latest(inner, key="k", version=version)(batch)
        assert [event["n"] for event in inner.events] == ["other", "equal"]
        assert [*batch.rejected] == [4]

    @pytest.mark.parametrize("version", ["v", lambda event: event["v"]])
    @pytest.mark.parametrize("nothing", [None, float("nan")])
    def test_rejects_an_event_whose_version_is_nothing(self, version: Any, nothing: Any) -> None:
        inner = Recorder()
        batch = a_batch({"k": 1, "v": 1}, {"k": 1, "v": nothing}, {"k": 2, "v": 2})
        Latest(inner, key="k", version=version)(batch)
        assert [event["v"] for event in inner.events] == [1, 2]
        assert [*batch.rejected] == [1]

    def test_raises_if_versions_cannot_be_compared(self) -> None:
        inner, batch = Recorder(), a_batch({"k": 1, "v": 1}, {"k": 1, "v": "2"})
        with pytest.raises(BufferMisconfigured, match="cannot compare the versions"):
            Latest(inner, key="k", version="v")(batch)
        assert not inner.batches
        assert not batch.rejected

    def test_waits_for_a_coroutine_function(self, nothing_declared: None) -> None:
        got: list[Any] = []

        async def index(batch: Batch) -> None:
            got.extend(batch)

        bucket = Bucket("orders", processor=Latest(index, key="k"))
        bucket.extend([{"k": 1, "n": 1}, {"k": 1, "n": 2}])
        assert bucket.drain().processed == 2
        assert got == [{"k": 1, "n": 2}]


class TestTee:
    def test_passes_the_batch_to_each_in_order(self) -> None:
        first, second = Recorder(), Recorder()
        Tee(first, second)(a_batch(1, 2))
        assert first.events == second.events == [1, 2]
        assert first.batches[0].id == second.batches[0].id == ID

    def test_does_not_pass_what_an_earlier_one_rejects(self) -> None:
        second, batch = Recorder(3), a_batch(1, 2, 3)
        Tee(Recorder(1), second)(batch)
        assert second.events == [2, 3]
        assert batch.rejected == {0: "bad", 2: "bad"}

    def test_gives_a_part_an_id_that_depends_on_its_events(self) -> None:
        ids = []
        for bad in (1, 2, 1):
            second = Recorder()
            Tee(Recorder(bad), second)(a_batch(1, 2))
            ids.append(second.batches[0].id)
        assert ids[0] == ids[2] != ids[1]
        assert ID not in ids

    def test_calls_none_after_one_that_fails(self) -> None:
        second = Recorder()
        with pytest.raises(ConnectionError):
            Tee(Recorder(error=ConnectionError()), second)(a_batch(1))
        assert not second.batches

    def test_calls_none_for_a_batch_that_is_rejected_whole(self) -> None:
        second, batch = Recorder(), a_batch(1)
        Tee(Recorder(1), second)(batch)
        assert not second.batches
        assert batch.rejected == {0: "bad"}


class TestByType:
    def test_first_pattern_that_matches_wins(self) -> None:
        orders, shop = Recorder(), Recorder()
        types = ["shop.order.created", "shop.item.created", "shop.order.deleted"]
        batch = a_batch(*({"type": own} for own in types))
        ByType({"shop.order.*": orders, "shop.*": shop})(batch)
        assert [event["type"] for event in orders.events] == [types[0], types[2]]
        assert [event["type"] for event in shop.events] == [types[1]]
        assert len(orders.batches) == 1

    def test_patterns_respect_case(self) -> None:
        got, others = Recorder(), Recorder()
        ByType({"a.*": got}, default=others)(a_batch({"type": "A.b"}))
        assert not got.batches
        assert others.events == [{"type": "A.b"}]

    def test_gives_each_part_the_same_id_on_each_delivery(self) -> None:
        first, second, rest = Recorder(), Recorder(), Recorder()
        sink = ByType({"a": first, "b": second}, default=rest)
        for _ in range(2):
            sink(a_batch({"type": "b"}, {"type": "a"}, {"type": "c"}))
        ids = [[batch.id for batch in own.batches] for own in (first, second, rest)]
        assert ids == [[f"{ID}_{route}"] * 2 for route in range(3)]

    def test_rejects_what_has_no_route(self) -> None:
        batch = a_batch({"type": "a"}, {"type": "b"}, {}, 3)
        ByType({"a": Recorder()})(batch)
        assert sorted(batch.rejected) == [1, 2, 3]
        assert "no route for the type 'b'" in str(batch.rejected[1])
        assert "has no type" in str(batch.rejected[2])

    def test_default_gets_events_without_a_type(self) -> None:
        rest = Recorder()
        ByType({"a": Recorder()}, default=rest)(a_batch(1, {"type": 5}))
        assert rest.events == [1, {"type": 5}]

    def test_raises_if_no_event_has_a_route(self) -> None:
        with pytest.raises(LookupError):
            ByType({"a": Recorder()})(a_batch({"type": "b"}))

    def test_rejections_keep_their_places(self) -> None:
        bad = {"type": "b", "n": 2}
        batch = a_batch({"type": "a"}, {"type": "b"}, bad)
        ByType({"a": Recorder(), "b": Recorder(bad)})(batch)
        assert batch.rejected == {2: "bad"}


@pytest.mark.usefixtures("nothing_declared")
class TestDeclarations:
    @pytest.mark.parametrize(
        ("sink", "text"),
        [
            (Latest(print, key=""), "key ''"),
            (Latest(print, key=[]), "key []"),
            (Latest(print, key="k", version=""), "version ''"),
            (Latest(print, key="k", version=1), "version 1"),  # type: ignore[arg-type]
            (Latest("index", key="k"), "cannot be called: 'index'"),  # type: ignore[arg-type]
            (Latest(Tee, key="k"), "is a class: <class"),  # type: ignore[arg-type]
            (Tee(print, ByType({"a": Tee})), "is a class: <class"),  # type: ignore[dict-item]
            (Tee(), "no processor"),
            (Tee(print, 5), "cannot be called: 5"),  # type: ignore[arg-type]
            (ByType({}), "no route"),
            (ByType([print]), "not a dict"),  # type: ignore[arg-type]
            (Tee(print, Latest(ByType({}), key="k")), "no route"),
        ],
    )
    def test_fault_is_reported_and_raised(self, sink: Sink, text: str) -> None:
        bucket = Bucket("orders")
        bucket.processor(sink)
        assert text in found()["E018"].msg
        with pytest.raises(BufferMisconfigured) as raised:
            sink(a_batch({"k": 1}))
        assert text in str(raised.value)

    def test_generator_function_is_a_fault(self) -> None:
        def process(batch: Batch) -> Any:
            yield 1

        Bucket("orders").processor(Tee(process))
        assert "generator" in found()["E018"].msg

    def test_right_ones_have_no_fault(self) -> None:
        Bucket("orders").processor(Tee(print, Latest(ByType({"a": print}), key=["a", "b"])))
        Bucket("views").processor(Latest(print, key=lambda event: event))
        assert "E018" not in found()

    def test_databases_are_those_of_the_inner_sinks(self) -> None:
        one, other = OfDatabase("default"), OfDatabase("other")
        sink = Tee(Latest(one, key="k"), ByType({"a": print}, default=other))
        assert [*sink.databases()] == ["default", "other"]


class TestPartsOfByType:
    """A sink that rejects all that it gets, beside one that has processed events."""

    def test_bad_events_are_rejected_and_nothing_comes_again(self) -> None:
        got = Recorder()
        batch = a_batch({"type": "a"}, {"type": "b"}, {"type": "a"})
        ByType({"a": got, "b": Latest(Recorder(), key="missing")})(batch)
        assert got.events == [{"type": "a"}, {"type": "a"}]
        assert [*batch.rejected] == [1]

    def test_error_is_raised_before_anything_is_processed(self) -> None:
        got = Recorder()
        batch = a_batch({"type": "a"}, {"type": "b"})
        with pytest.raises(LookupError):
            ByType({"b": Latest(Recorder(), key="missing"), "a": got})(batch)
        assert got.events == []

    def test_within_a_tee_too(self) -> None:
        first, got = Recorder(), Recorder()
        batch = a_batch({"type": "a"}, {"type": "b"})
        Tee(first, ByType({"a": got, "b": Latest(Recorder(), key="missing")}))(batch)
        assert (len(first.batches), got.events) == (1, [{"type": "a"}])
        assert [*batch.rejected] == [1]
