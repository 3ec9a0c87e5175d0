"""No schedule breaks a promise: see :mod:`tests.faults.schedules`."""

from collections import Counter
from collections.abc import Iterator

import pytest

from django_jsonbuffer.appending import trips
from django_jsonbuffer.appending.producers import Once, Producer
from django_jsonbuffer.store.links import Link
from tests.faults.judging import Violation
from tests.faults.scale import report, scale
from tests.faults.schedules import Arena, Schedule, arena, search

PORTIONS = 20
FEW = range(40)


@pytest.fixture
def ground() -> Iterator[Arena]:
    with arena() as ground:
        yield ground


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_search(ground: Arena, portion: int) -> None:
    size = scale(full=20_000, short=200) // PORTIONS
    search(ground, range(portion * size, (portion + 1) * size))


class TestGroups:
    def test_meet_all_faults(self, ground: Arena) -> None:
        tally = Counter[str]()
        for seed in FEW:
            schedule = Schedule(ground, seed)
            schedule.run()
            tally += schedule.grouping.tally
        report("groups in schedules", **tally)
        assert set(tally) == {
            *("calls", "groups", "groups without an answer", "groups that were refused"),
            *("late copies of groups", "retries", "interrupts", "waits that ended", "kills"),
        }

    def test_that_are_sent_again_under_another_stamp_are_found(
        self, ground: Arena, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settle, sent = Once._settle, set[Once]()

        async def settle_anew(once: Once, link: Link) -> None:
            if once in sent:
                once._stamp = Producer().next_stamp()
            sent.add(once)
            await settle(once, link)

        monkeypatch.setattr(Once, "_settle", settle_anew)
        with pytest.raises(Violation, match=r"two places|stored twice|another identity"):
            search(ground, FEW)

    def test_that_are_confirmed_before_their_reply_are_found(
        self, ground: Arena, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make = trips.Trip.make

        async def confirm_and_make(trip: trips.Trip, link: Link) -> None:
            for place in trip.places:
                if place.result is not None and not place.result.done():
                    place.result.set_result(None)
            await make(trip, link)

        monkeypatch.setattr(trips.Trip, "make", confirm_and_make)
        with pytest.raises(Violation, match="confirmed and not stored"):
            search(ground, FEW)
