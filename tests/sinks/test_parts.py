from typing import Any

import pytest

from django_jsonbuffer import Batch
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.sinks.parts import accepted, hand_on
from tests.sinks.batches import ID, Recorder, a_batch


class TestHandOn:
    def test_part_has_the_events_and_what_is_known_of_the_batch(self) -> None:
        inner = Recorder()
        hand_on(a_batch("a", "b", "c", attempt=3), [0, 2], inner)
        [part] = inner.batches
        assert [*part] == ["a", "c"]
        assert (part.id, part.attempt, part.bucket) == (ID, 3, "orders")

    def test_rejections_get_the_places_of_the_batch(self) -> None:
        batch = a_batch("a", "b", "c", "c")
        hand_on(batch, [0, 2, 3], Recorder("c"))
        assert batch.rejected == {2: "bad", 3: "bad"}

    def test_of_no_event_makes_no_call(self) -> None:
        inner = Recorder()
        hand_on(a_batch("a"), [], inner)
        assert not inner.batches

    def test_waits_for_a_coroutine_function(self) -> None:
        async def reject(batch: Batch) -> None:
            batch.reject_at(0, "bad")

        batch = a_batch("a", "b")
        hand_on(batch, [1], reject)
        assert batch.rejected == {1: "bad"}

    def test_refuses_a_generator(self) -> None:
        def process(batch: Batch) -> Any:
            yield 1

        with pytest.raises(BufferMisconfigured, match="generator"):
            hand_on(a_batch("a"), [0], process)


class TestAccepted:
    def test_are_those_that_were_not_rejected(self) -> None:
        batch = a_batch("a", "b", "c")
        batch.reject_at(1, "bad")
        assert accepted(batch) == [0, 2]
