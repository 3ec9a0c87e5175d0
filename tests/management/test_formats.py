import json
import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.conf import configuration
from tests.prepared import keys_of, make_old, put_history
from tests.server import Redis
from tests.spilling import put
from tests.test_show_buckets import bury, facts, show
from tests.test_states import fail

pytestmark = pytest.mark.usefixtures("nothing_declared")


class TestTable:
    @pytest.mark.usefixtures("unhurried")
    def test_has_a_line_for_each_bucket_and_says_why(self, client_of_server: Redis) -> None:
        Bucket("orders").extend(range(1234))
        Bucket("mails").append(1)
        make_old(client_of_server, "mails")
        lines = [re.sub(" {2,}", " | ", line) for line in show().splitlines()]
        heading, mails, *reasons, orders = lines
        assert heading == (
            "bucket | state | pending | oldest | in/min | out/min | dead | in flight | batches | "
            "bytes | workers"
        )
        assert mails == "mails | stalled | 1 | 1 hour | - | - | 0 | 0 | 1 | 3 bytes | 0"
        assert reasons == [
            " | Nobody drains it: no processor is declared.",
            " | The oldest event has waited for 1 hour.",
        ]
        assert re.fullmatch(
            r"orders \| flowing \| 1,234 \| \d+ seconds? \| - \| - \| 0 \| 0 \| 2 \| 4.9 KB \| 0",
            orders,
        )

    def test_says_what_is_spilled_on_this_machine(self, spilling: Spill) -> None:
        Bucket("orders").append(1)
        put(spilling, b"1", bucket=Bucket("orders").key)
        assert show().splitlines()[-1] == (
            "  1 append (5 bytes) is spilled on this machine and waits for Redis."
        )

    @pytest.mark.usefixtures("unhurried")
    def test_has_the_state_as_scripts_know_it(self, client_of_server: Redis) -> None:
        bury(client_of_server, "mails")
        assert show().splitlines()[1].startswith("mails   needs-decision        1")
        assert facts()["mails"]["state"] == "needs-decision"

    def test_of_no_bucket_is_a_heading(self) -> None:
        assert show().startswith("bucket  state  pending")

    def test_shows_those_that_are_named(self) -> None:
        for name in ("orders", "order-lines", "others", "views"):
            Bucket(name).append(1)
        lines = show("views", "order*").splitlines()
        assert [line.split()[0] for line in lines] == ["bucket", "order-lines", "orders", "views"]

    @pytest.mark.usefixtures("unhurried")
    def test_has_the_most_urgent_bucket_on_top(self, client_of_server: Redis) -> None:
        for name in ("a-flows", "b-is-paused", "c-stalls"):
            Bucket(name).append(1)
        Bucket("b-is-paused").pause()
        make_old(client_of_server, "c-stalls")
        lines = [line for line in show().splitlines() if not line.startswith(" ")]
        shown = [line.split()[0] for line in lines]
        assert shown == ["bucket", "c-stalls", "b-is-paused", "a-flows"]
        assert [*facts()] == shown[1:]
        assert shown[1:] == [
            line.split('"')[1]
            for line in show("--format", "prometheus").splitlines()
            if line.startswith("jsonbuffer_dead_events{")
        ]

    def test_obeys_no_control_character_of_another_client(self, client_of_server: Redis) -> None:
        Bucket("orders").append(1)
        fail()
        keys = keys_of("orders")
        [(batch, attempts)] = client_of_server.hgetall(keys.attempts).items()
        theirs = "\x1b]0;mine\x07\nCON\u202eGRATS".encode()
        client_of_server.hset(keys.attempts, batch, attempts.replace(b"KeyError", theirs))
        said = show()
        assert "failed with \\x1b]0;mine\\x07\\nCON\\u202eGRATS at delivery" in said
        assert all(char.isprintable() or char == "\n" for char in said)

    @pytest.mark.usefixtures("unhurried")
    def test_shows_one_that_cannot_be_read_beside_the_others(
        self, client_of_server: Redis, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("orders", "broken"):
            Bucket(name).append(1)
        client_of_server.delete(Bucket("broken").key)
        client_of_server.lpush(Bucket("broken").key, "theirs")
        with pytest.raises(CommandError, match="Cannot be read: broken") as caught:
            call_command("show_buckets")
        assert caught.value.returncode == 3
        said = capsys.readouterr().out
        assert "broken  unreadable        ?" in said
        assert "orders  flowing           1" in said


class TestJson:
    @pytest.mark.usefixtures("unhurried")
    def test_has_all_facts(self, client_of_server: Redis) -> None:
        Bucket("orders", batch_size=2).extend([1, 2, 3])
        bury(client_of_server, "mails")
        Bucket("mails").pause()
        shown = facts()
        assert {
            name: shown["orders"][name] for name in ("state", "pending", "batches", "bytes")
        } == {
            "state": "flowing",
            "pending": 3,
            "batches": {"open": 1, "sealed": 1, "in_flight": 0},
            "bytes": 8,
        }
        assert 0 <= shown["orders"]["oldest_seconds"] < 60
        assert (shown["mails"]["state"], shown["mails"]["dead"]) == ("paused", 1)
        assert 0 <= shown["mails"]["paused_seconds"] < 60
        reasons = ("newest", "oldest", "purged", "discarded", "expired")
        assert shown["mails"]["dropped"] == dict.fromkeys(reasons, 0)

    def test_has_what_is_spilled_on_this_machine(self, spilling: Spill) -> None:
        for name in ("orders", "mails"):
            Bucket(name).append(1)
        put(spilling, b"1", bucket=Bucket("orders").key)
        shown = facts()
        assert shown["orders"]["spilled_on_this_machine"] == {"appends": 1, "bytes": 5}
        assert shown["mails"]["spilled_on_this_machine"] is None

    def test_has_rates(self, client_of_server: Redis) -> None:
        put_history(client_of_server, "orders", pending=[1, 2, 3])
        assert facts()["orders"]["appended_per_minute"] == pytest.approx(20 * 2 / 3, rel=0.1)

    def test_of_one_that_cannot_be_read_has_its_reason(self, client_of_server: Redis) -> None:
        client_of_server.lpush(Bucket("broken").key, "theirs")
        client_of_server.sadd(f"{configuration().prefix}:buckets", "broken")
        out = StringIO()
        with pytest.raises(CommandError):
            call_command("show_buckets", format="json", stdout=out)
        [broken] = json.loads(out.getvalue())
        assert broken["state"] == "unreadable"
        assert "holds a value of another type" in broken["reasons"][0]
