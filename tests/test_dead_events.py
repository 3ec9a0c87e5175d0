import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_jsonbuffer import Bucket
from tests.prepared import bury, keys_of
from tests.server import Redis

pytestmark = pytest.mark.usefixtures("nothing_declared")


def listed(*args: str, **options: Any) -> str:
    out = StringIO()
    call_command("dead_events", *args, stdout=out, **options)
    return out.getvalue()


def as_json(*args: str) -> list[dict[str, Any]]:
    return json.loads(listed(*args, "--format", "json"))  # type: ignore[no-any-return]


def refused(*args: str) -> tuple[str, int]:
    with pytest.raises(CommandError) as caught:
        listed(*args)
    return str(caught.value), caught.value.returncode


def put(plain: Redis, name: str, count: int) -> None:
    """Let a bucket have so many dead letters."""
    Bucket(name).append(0)
    for number in range(count):
        plain.xadd(keys_of(name).dead, {"event": f"{number}"})


class TestTable:
    def test_has_three_lines_for_each_dead_letter(self) -> None:
        bury({"id": 1}, {"id": 2}, reason="no total")
        lines = listed().splitlines()
        assert [line.split()[0] for line in lines[::3]] == ["orders", "orders"]
        assert lines[1::3] == ["  no total"] * 2
        assert lines[2::3] == ['  {"id":1}', '  {"id":2}']

    def test_says_if_there_are_none(self) -> None:
        Bucket("orders").append(1)
        assert listed() == "No dead letters.\n"

    def test_is_as_wide_as_the_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "50")
        bury("x" * 500)
        assert [len(line) for line in listed().splitlines()][1:] == [9, 50]

    def test_reads_the_beginning_of_a_large_event(
        self, private_server: Redis, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"orders": {"max_event_bytes": 8_000_000, "batch_bytes": 8_000_000}})
        bury("x" * 5_000_000)
        before = private_server.info("stats")["total_net_output_bytes"]
        assert '"xxx' in listed()
        assert private_server.info("stats")["total_net_output_bytes"] - before < 200_000
        [letter] = as_json()
        assert len(letter["event"]) == 5_000_000


class TestSelection:
    def test_by_name(self, client_of_server: Redis) -> None:
        for name in ("mails", "orders", "order-lines", "views"):
            put(client_of_server, name, 1)
        shown = [letter["bucket"] for letter in as_json("order*", "views")]
        assert shown == ["order-lines", "orders", "views"]
        assert len(as_json()) == 4

    def test_shows_twenty_of_each_bucket_and_says_that_there_are_more(
        self, client_of_server: Redis
    ) -> None:
        put(client_of_server, "mails", 20)
        put(client_of_server, "orders", 250)
        lines = listed().splitlines()
        assert len(lines) == 40 * 3 + 1
        assert lines[-1] == (
            "orders: the oldest 20 of 250 dead letters. For more, use --limit N, and --limit 0 for "
            "all."
        )

    def test_of_a_number(self, client_of_server: Redis) -> None:
        put(client_of_server, "orders", 250)
        for limit, count in (("3", 3), ("150", 150), ("250", 250), ("0", 250), ("1000", 250)):
            said = listed("--limit", limit)
            assert said.count("orders  ") == count
            assert ("the oldest" in said) == (count < 250)

    def test_of_a_script_is_one_array_and_what_is_left_is_said_elsewhere(
        self, client_of_server: Redis, capsys: pytest.CaptureFixture[str]
    ) -> None:
        put(client_of_server, "orders", 30)
        call_command("dead_events", format="json")
        said = capsys.readouterr()
        assert [letter["event"] for letter in json.loads(said.out)] == [*range(20)]
        assert "the oldest 20 of 30" in said.err

    def test_of_none_is_an_empty_array(self) -> None:
        assert as_json() == []


class TestRefusals:
    def test_unknown_bucket(self) -> None:
        Bucket("orders").append(1)
        message, code = refused("oders")
        assert "Did you mean 'orders'?" in message
        assert code == 2

    def test_redis_that_is_away(self, unreachable: str) -> None:
        message, code = refused()
        assert "Redis cannot be reached" in message
        assert code == 3

    def test_unusable_settings(self, configure: Callable[..., None]) -> None:
        configure(CACHE="missing")
        assert refused()[1] == 3

    def test_bucket_that_cannot_be_read_leaves_the_others_to_be_shown(
        self, client_of_server: Redis, capsys: pytest.CaptureFixture[str]
    ) -> None:
        put(client_of_server, "orders", 1)
        Bucket("broken").append(1)
        client_of_server.set(keys_of("broken").dead, "theirs")
        with pytest.raises(CommandError, match="Cannot be read: broken") as caught:
            call_command("dead_events")
        assert caught.value.returncode == 3
        said = capsys.readouterr()
        assert "orders  " in said.out
        assert "another type" in str(caught.value)
