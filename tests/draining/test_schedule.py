import pytest

from django_jsonbuffer.draining.schedule import BACKLOG_SHARE, Kind, Schedule


def served(schedule: Schedule, *, turns: int, seconds: dict[str, float]) -> dict[str, float]:
    """Serve buckets that always have more, and return how many seconds each has got."""
    got = dict.fromkeys(seconds, 0.0)
    for _ in range(turns):
        name = schedule.pop(1000)
        assert name is not None
        got[name] += seconds[name]
        schedule.put_backlog(name, seconds=seconds[name])
    return got


class TestWait:
    def test_ends_when_the_bucket_is_due(self) -> None:
        schedule = Schedule()
        schedule.put("orders", 10)
        assert schedule.pop(9) is None
        assert schedule.seconds_to_wait(9) == 1
        assert schedule.pop(10) == "orders"
        assert schedule.seconds_to_wait(10) is None

    def test_that_is_shortened_ends_once(self) -> None:
        schedule = Schedule()
        schedule.put("orders", 100)
        schedule.hasten("orders", 5)
        assert [schedule.pop(5), schedule.pop(1000)] == ["orders", None]

    def test_is_never_prolonged(self) -> None:
        schedule = Schedule()
        schedule.put("orders", 5)
        schedule.hasten("orders", 100)
        assert schedule.pop(5) == "orders"

    @pytest.mark.parametrize("up_to", [Kind.IDLE, Kind.LINGERS, Kind.HELD])
    def test_that_is_firmer_is_not_shortened(self, up_to: Kind) -> None:
        schedule = Schedule()
        for kind in Kind:
            schedule.put(kind.name, 100, kind=kind)
            schedule.hasten(kind.name, 5, up_to=up_to)
        names = [schedule.pop(5) for _ in range(up_to + 2)]
        assert names == [*(kind.name for kind in Kind if kind <= up_to), None]

    def test_that_was_shortened_often_takes_no_more_memory(self) -> None:
        schedule = Schedule()
        for turn in range(20_000):
            schedule.put("orders", 10**6 + turn)
        assert len(schedule._dues) < 2000
        assert schedule.pop(10**7) == "orders"
        assert schedule.pop(10**7) is None

    @pytest.mark.parametrize("name", ["unknown", "orders"])
    def test_only_of_a_bucket_that_waits_is_shortened(self, name: str) -> None:
        schedule = Schedule()
        schedule.put("orders", 0)
        assert schedule.pop(0) == "orders"
        schedule.hasten(name, 0)
        assert schedule.pop(1000) is None
        assert not schedule


class TestOrder:
    def test_is_that_in_which_buckets_are_due(self) -> None:
        schedule = Schedule()
        for name, due in [("late", 3), ("early", 1), ("middle", 2)]:
            schedule.put(name, due)
        assert [schedule.pop(5) for _ in range(3)] == ["early", "middle", "late"]

    def test_priority_comes_first_among_those_that_are_due_at_about_the_same_time(self) -> None:
        schedule = Schedule({"urgent": 4, "usual": 1, "old": 1}.__getitem__)
        schedule.put("old", 1)
        schedule.put("usual", 2)
        schedule.put("urgent", 2.2)
        assert [schedule.pop(3) for _ in range(3)] == ["old", "urgent", "usual"]

    def test_each_has_its_first_turn_before_any_has_its_second(self) -> None:
        schedule = Schedule()
        for name in "abc":
            schedule.put(name, 0)
        names: list[str] = []
        while len(names) < 3 and (served := schedule.pop(0)) is not None:
            schedule.put_backlog(served, seconds=5)
            names.append(served)
        assert names == ["a", "b", "c"]


class TestShare:
    def test_is_equal_in_time_and_not_in_turns(self) -> None:
        schedule = Schedule()
        schedule.put("slow", 0)
        schedule.put("fast", 0)
        got = served(schedule, turns=1100, seconds={"slow": 0.1, "fast": 0.01})
        assert got["slow"] == pytest.approx(got["fast"], rel=0.1)

    def test_is_in_proportion_to_the_priority(self) -> None:
        schedule = Schedule({"orders": 3, "views": 1}.__getitem__)
        schedule.put("orders", 0)
        schedule.put("views", 0)
        got = served(schedule, turns=1000, seconds={"orders": 0.01, "views": 0.01})
        assert got["orders"] / got["views"] == pytest.approx(3, rel=0.05)

    def test_a_bucket_that_comes_later_gets_no_time_of_the_past(self) -> None:
        schedule = Schedule()
        schedule.put("early", 0)
        served(schedule, turns=1000, seconds={"early": 0.01})
        schedule.put("late", 0)
        got = served(schedule, turns=100, seconds={"early": 0.01, "late": 0.01})
        assert got["early"] >= 0.4

    def serve(self, *, others_seconds: float) -> tuple[float, int]:
        """A hot bucket beside thousands, each with one batch. Two of these come for each turn of
        the hot one. Returns the share of the hot bucket, and the turns of the others."""
        schedule, now, hot, turns, numbers = Schedule(), 0.0, 0.0, 0, iter(range(10**6))
        schedule.put("hot", 0)
        for _ in range(20_000):
            name = schedule.pop(now)
            assert name is not None
            seconds = 0.002 if name == "hot" else others_seconds
            now += seconds
            if name == "hot":
                hot += seconds
                schedule.put_backlog(name, seconds=seconds)
                for _ in range(2):
                    schedule.put(str(next(numbers)), now)
            else:
                turns += 1
                schedule.put(name, now + 10**6, seconds=seconds)
        return hot / now, turns

    def test_of_a_hot_bucket_is_what_others_do_not_need(self) -> None:
        share, turns = self.serve(others_seconds=0.0001)
        assert share > 0.9
        assert turns == pytest.approx(20_000 * 2 / 3, rel=0.01)

    def test_of_a_hot_bucket_is_kept_if_others_need_more(self) -> None:
        share, turns = self.serve(others_seconds=0.002)
        assert share == pytest.approx(BACKLOG_SHARE, rel=0.05)
        assert turns > 1000
