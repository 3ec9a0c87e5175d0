from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_jsonbuffer import Bucket
from tests.test_replay_dead_events import bury


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], list[str]]:
    """Types this text on the terminal; with None, nobody answers."""

    def answer(text: str | None) -> list[str]:
        asked: list[str] = []

        def typed(prompt: str) -> str:
            asked.append(prompt)
            if text is None:
                raise EOFError
            return text

        monkeypatch.setattr("builtins.input", typed)
        return asked

    return answer


def said(*args: str, **options: Any) -> list[str]:
    out = StringIO()
    call_command("purge_buckets", *args, stdout=out, **options)
    return out.getvalue().splitlines()


class TestPending:
    def test_is_discarded_once_it_is_confirmed(
        self, answer: Callable[[str | None], list[str]]
    ) -> None:
        for name in ("orders", "views", "mails"):
            Bucket(name).extend([1, 2])
        asked = answer("yes")
        assert said("orders", "v*") == [
            "This discards for ever:",
            "  orders: 2 pending events",
            "  views: 2 pending events",
            "and all events that are appended until you answer.",
            "orders: 2 pending events discarded",
            "views: 2 pending events discarded",
        ]
        assert asked == ["Type 'yes' to go on: "]
        assert [Bucket(name).status().pending for name in ("orders", "views", "mails")] == [0, 0, 2]

    @pytest.mark.parametrize("text", ["no", "", "y", "YES", None])
    def test_stays_otherwise(
        self, answer: Callable[[str | None], list[str]], text: str | None
    ) -> None:
        Bucket("orders").extend([1, 2])
        answer(text)
        with pytest.raises(CommandError, match="Nothing was done") as caught:
            said("orders")
        assert caught.value.returncode == 2
        assert Bucket("orders").status().pending == 2

    @pytest.mark.parametrize("option", ["--no-input", "--noinput"])
    def test_is_discarded_without_a_question(
        self, answer: Callable[[str | None], list[str]], option: str
    ) -> None:
        Bucket("orders").append(1)
        asked = answer(None)
        assert said("orders", option) == ["orders: 1 pending event discarded"]
        assert said("orders", option, verbosity=0) == []
        assert asked == []

    def test_leaves_dead_letters(self) -> None:
        orders = bury("orders", 1)
        orders.append(2)
        said("orders", "--no-input")
        assert (orders.status().pending, orders.status().dead) == (0, 1)


class TestDead:
    def test_letters_are_discarded_and_nothing_else(
        self, answer: Callable[[str | None], list[str]]
    ) -> None:
        orders = bury("orders", 1, 2)
        Bucket("views").append(1)
        orders.append(3)
        answer("yes")
        assert said("orders", "views", "--dead") == [
            "This discards for ever:",
            "  orders: 2 dead letters",
            "  views: 0 dead letters",
            "orders: 2 dead letters discarded",
            "views: 0 dead letters discarded",
        ]
        assert (orders.status().pending, orders.status().dead) == (1, 0)

    def test_letters_that_come_while_it_asks_stay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        orders = bury("orders", 1)

        def typed(prompt: str) -> str:
            bury("orders", 2)
            return "yes"

        monkeypatch.setattr("builtins.input", typed)
        assert said("orders", "--dead")[-1] == "orders: 1 dead letter discarded"
        assert [letter.event for letter in orders.dead] == [2]


class TestRefusals:
    def test_no_bucket(self) -> None:
        with pytest.raises(CommandError, match="required: bucket"):
            said("--no-input")

    def test_unknown_bucket_among_others(self) -> None:
        Bucket("orders").append(1)
        with pytest.raises(CommandError, match="No bucket matches 'nobody'"):
            said("orders", "nobody", "--no-input")
        assert Bucket("orders").status().pending == 1

    def test_redis_that_is_away(self, unreachable: str) -> None:
        with pytest.raises(CommandError, match="Redis cannot be reached"):
            said("orders", "--no-input")
