"""Groups of dead letters, and searches among them, for a bucket with one shard and with several."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.letter_searches import Found
from django_jsonbuffer.letters import place_of
from django_jsonbuffer.store.keys import split_shard
from django_jsonbuffer.store.store import Store
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, url_of
from tests.prepared import keys_of
from tests.server import Redis, both_servers
from tests.store.steps import commands_of
from tests.store.test_letter_groups import bury as bury_in
from tests.threads import at_once

SHARDS = 4


def shard(number: int) -> Store:
    return Store("orders", configuration(), number)


def spread(number: int = SHARDS) -> Bucket:
    """A bucket with several shards."""
    return Bucket("orders", shards=number, batch_size=10)


def bury(*errors: str, number: int = 0, **options: Any) -> list[str]:
    """Bury an event in a shard with each of these errors. Returns the ids of all its letters."""
    ids = bury_in(shard(number), *errors, **options)
    return [f"{id}#{number}" if number else id for id in ids]


def ids_of(found: Found) -> list[str]:
    return [letter.id for letter in found.letters]


def pages(bucket: Bucket, limit: int, **options: Any) -> list[Found]:
    found = [bucket.dead.find(limit, **options)]
    while (after := found[-1].next_after) is not None:
        found.append(bucket.dead.find(limit, after=after, **options))
        assert len(found) < 100
    return found


@both_servers
class TestGroups:
    def test_of_an_empty_bucket(self) -> None:
        assert spread().dead.groups() == []

    def test_tell_what_when_and_how_often(self) -> None:
        ids = bury("KeyError: 1", "ValueError: no", "KeyError: 2")
        first, second = Bucket("orders").dead.groups()
        assert (first.name, first.kind, first.count) == ("KeyError: *", "KeyError", 2)
        assert first.newest == ids[2]
        assert first.first <= first.last
        assert abs(datetime.now(UTC) - first.last) < timedelta(minutes=5)
        assert (second.name, second.kind, second.count) == ("ValueError: no", "ValueError", 1)
        assert second.first == second.last

    def test_of_rejections_have_no_class(self) -> None:
        bury("secret: no", traceback="")
        assert [group.kind for group in Bucket("orders").dead.groups()] == [""]

    def test_of_all_shards_are_one(self) -> None:
        for number in range(SHARDS):
            bury("KeyError: 1", "ValueError", number=number)
        time.sleep(0.005)  # ids of one millisecond are in the order of their shards
        newest = bury("ValueError", number=2)[-1]
        bury("KeyError: 1", number=1, traceback="")
        groups = spread().dead.groups()
        assert [(each.name, each.count) for each in groups] == [
            ("KeyError: *", SHARDS + 1),
            ("ValueError", SHARDS + 1),
        ]
        assert groups[1].newest == newest
        assert groups[1].first < groups[1].last

    def test_with_a_time_beyond_the_calendar(self, client_of_server: Redis) -> None:
        client_of_server.xadd(shard(0).keys.dead, {"event": "1"}, id=f"{10**18}-1")
        [group] = Bucket("orders").dead.groups()
        assert (group.name, group.last.year, group.newest) == ("", 9999, f"{10**18}-1")


@both_servers
class TestFind:
    def test_in_an_empty_bucket(self) -> None:
        for options in ({}, {"group": "x"}, {"group": ""}, {"text": "x"}):
            found = spread().dead.find(3, **options)  # type: ignore[arg-type]
            assert found == Found(letters=[], next_after=None, is_complete=True)

    @pytest.mark.parametrize("after", ["", "x", "+"])
    def test_behind_what_is_no_id(self, after: str) -> None:
        with pytest.raises(ValueError, match="not the id"):
            Bucket("orders").dead.find(after=after)

    def test_of_no_letter_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            Bucket("orders").dead.find(0)

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    @pytest.mark.parametrize("most", [1, 10, 25, 10_000])
    @pytest.mark.parametrize("group", [None, "KeyError", "", "ValueError"])
    def test_pages_have_each_letter_once_in_its_order(
        self, client_of_server: Redis, limit: int, most: int, group: str | None
    ) -> None:
        letters = []
        for number in (0, 1, 3, 1):
            bury("KeyError", *["TypeError"] * 11, "KeyError", number=number)
            id = client_of_server.xadd(shard(number).keys.dead, {"event": "1"}).decode()
            letters.append(f"{id}#{number}" if number else id)
        every = [letter.id for letter in spread().dead]
        expected = {
            None: every,
            "": sorted(letters, key=place_of),
            "KeyError": [each.id for each in spread().dead if each.error == "KeyError"],
            "ValueError": [],
        }[group]
        found = pages(spread(), limit, group=group, most_looked_at=most)
        assert [id for page in found for id in ids_of(page)] == expected
        assert all(len(page.letters) <= limit for page in found)
        assert all(page.is_complete for page in found) or most < len(every)
        full = [page for page in found if len(page.letters) == limit]
        assert all(page.is_complete for page in full)

    def test_full_page_knows_whether_there_is_another(self) -> None:
        ids = bury(*["KeyError", "ValueError"] * 3)
        dead = Bucket("orders").dead
        found = dead.find(3, group="KeyError")
        assert (ids_of(found), found.next_after) == (ids[::2], None)
        found = dead.find(2, group="KeyError")
        assert (ids_of(found), found.next_after, found.is_complete) == (ids[:4:2], ids[2], True)

    def test_of_a_text_in_all_shards(self) -> None:
        for number in range(SHARDS):
            bury("KeyError: 'Zoo'", "ValueError", event="bear", number=number)
        dead = spread().dead
        assert len(dead.find(text="zoo").letters) == SHARDS
        assert len(dead.find(text="BEAR").letters) == 2 * SHARDS
        assert dead.find(text="bear", in_events=False).letters == []
        assert len(dead.find(text="valueerror", in_events=False).letters) == SHARDS
        [third] = dead.find(text="#3", group="ValueError").letters
        assert split_shard(third.id)[1] == 3
        assert ids_of(dead.find(text=third.id)) == [third.id]

    def test_cuts_events(self) -> None:
        bury("KeyError", event="x" * 100)
        [letter] = Bucket("orders").dead.find(most_bytes=5, text="xxx").letters
        assert (letter.raw, letter.size) == (b'"xxxx', 102)


class TestBounds:
    """How often a search asks Redis."""

    def trips(self, plain: Redis, call: Callable[[], object]) -> dict[str, int]:
        call()
        return {
            name: count
            for name, count in commands_of(plain, call).items()
            if name in ("evalsha", "eval", "smembers")
        }

    def test_groups_ask_each_shard_once(self, private_server: Redis) -> None:
        bury("KeyError")
        trips = self.trips(private_server, spread().dead.groups)
        assert trips == {"evalsha": SHARDS, "smembers": 1}

    def test_page_of_a_group_begins_where_the_group_does(self, private_server: Redis) -> None:
        bury(*["KeyError"] * 3000, *["ValueError"] * 20)
        trips = self.trips(
            private_server, lambda: Bucket("orders").dead.find(20, group="ValueError")
        )
        assert trips == {"evalsha": 1, "smembers": 1}
        assert len(Bucket("orders").dead.find(20, group="ValueError").letters) == 20

    def test_search_without_a_hit_ends(self, private_server: Redis) -> None:
        ids = bury(*["KeyError"] * 12_000)
        dead = Bucket("orders").dead
        trips = self.trips(private_server, lambda: dead.find(20, text="nowhere"))
        assert trips == {"evalsha": 20, "smembers": 1}
        found = dead.find(20, text="nowhere")
        assert found == Found(letters=[], next_after=ids[9999], is_complete=False)
        found = dead.find(20, text="nowhere", after=ids[9999])
        assert found == Found(letters=[], next_after=None, is_complete=True)

    def test_search_in_large_letters_ends(self, private_server: Redis) -> None:
        ids = bury(*["KeyError"] * 12, event="x" * 1_000_000)
        found = Bucket("orders").dead.find(20, text="nowhere", most_looked_at=500)
        assert found == Found(letters=[], next_after=ids[9], is_complete=False)


@both_servers
class TestReplayAndDiscard:
    @pytest.fixture
    def ids(self) -> list[str]:
        """Two groups in turn, in two shards, oldest first."""
        for number in (0, 2):
            bury(*["KeyError: 1", "ValueError"] * 15, number=number)
        return [letter.id for letter in spread().dead]

    def test_of_a_group_leave_the_others(self, ids: list[str]) -> None:
        dead = spread().dead
        assert dead.replay_all(group="KeyError: *") == 30
        assert [(group.name, group.count) for group in dead.groups()] == [("ValueError", 30)]
        assert spread().status().pending == 30
        assert dead.discard_all(group="ValueError") == 30
        assert dead.groups() == []
        assert spread().status().dropped.discarded == 30
        assert spread().status().dead == 0

    def test_of_a_group_up_to_a_letter(self, ids: list[str]) -> None:
        dead = spread().dead
        assert dead.replay_all(group="KeyError: *", up_to=ids[4]) == 3
        assert dead.discard_all(group="KeyError: *", up_to=ids[8]) == 2
        assert {group.name: group.count for group in dead.groups()} == {
            "KeyError: *": 25,
            "ValueError": 30,
        }

    def test_of_an_unknown_group_do_nothing(self, ids: list[str]) -> None:
        for group in ("", "KeyError", "x"):
            assert spread().dead.replay_all(group=group) == 0
            assert spread().dead.discard_all(group=group) == 0
        assert spread().status().dead == len(ids)

    def test_of_an_empty_bucket_do_nothing(self) -> None:
        assert spread().dead.replay_all(group="") == 0
        assert spread().dead.discard_all(group="") == 0

    def test_of_the_letters_without_a_group(self, ids: list[str], client_of_server: Redis) -> None:
        for number in (0, 1, 2):
            client_of_server.xadd(shard(number).keys.dead, {"event": number, "error": "x"})
        client_of_server.xadd(shard(0).keys.dead, {"event": "[", "error": "x"})
        assert spread().dead.replay_all(group="") == 3
        assert sorted(spread().take()) == [0, 1, 2]
        assert spread().dead.discard_all(group="") == 1
        assert spread().status().dead == len(ids)

    def test_of_many_leave_no_other_than_those(self) -> None:
        bury(*["KeyError", "ValueError", "TypeError"] * 700)
        dead = Bucket("orders").dead
        assert dead.discard_all(group="KeyError") == 700
        assert dead.replay_all(group="ValueError") == 700
        assert {letter.error for letter in dead} == {"TypeError"}

    @pytest.mark.parametrize("method", ["replay_all", "discard_all"])
    def test_twice_at_once_count_each_once(self, method: str) -> None:
        bury(*["KeyError", "ValueError"] * 700)
        counts: list[int] = []

        def work() -> None:
            counts.append(getattr(Bucket("orders", batch_size=10).dead, method)(group="KeyError"))

        at_once([work] * 4)
        assert sum(counts) == 700
        status = Bucket("orders").status()
        assert status.dropped.discarded + status.replayed == 700
        assert [(each.name, each.count) for each in Bucket("orders").dead.groups()] == [
            ("ValueError", 700)
        ]

    @pytest.mark.parametrize("method", ["replay_all", "discard_all"])
    def test_end_a_group_that_another_client_has_emptied(
        self, ids: list[str], client_of_server: Redis, method: str
    ) -> None:
        plain = [letter for letter in spread().dead if letter.error != "ValueError"]
        for letter in plain:
            id, number = split_shard(letter.id)
            client_of_server.xdel(shard(number).keys.dead, id)
        dead = spread().dead
        call = getattr(dead, method)
        assert "KeyError: *" in [group.name for group in dead.groups()]
        assert call(group="KeyError: *", up_to=ids[0]) == 0
        assert "KeyError: *" in [group.name for group in dead.groups()]
        assert call(group="KeyError: *") == 0
        assert [(group.name, group.count) for group in dead.groups()] == [("ValueError", 30)]

    def test_keep_a_group_with_a_letter_that_is_not_json(self, client_of_server: Redis) -> None:
        client_of_server.set(Bucket("orders").key, "rubbish")
        Bucket("orders").take()
        dead = Bucket("orders").dead
        [group] = dead.groups()
        assert dead.replay_all(group=group.name) == 0
        assert dead.groups() == [group]
        assert dead.discard_all(group=group.name) == 1


@pytest.mark.usefixtures("nothing_declared")
class TestLostCounters:
    """Another client has deleted the counters, and the server may have lost its last writes."""

    def test_leave_no_letter_without_a_group(self, client_of_server: Redis) -> None:
        orders = Bucket("orders")
        bury_one(1, 2, 3)
        client_of_server.delete(keys_of("orders").stats)
        bury_one(4)
        assert {group.name: group.count for group in orders.dead.groups()} == {"": 3, "Boom": 1}
        assert [letter.event for letter in orders.dead.find(group="").letters] == [1, 2, 3]
        assert [letter.event for letter in orders.dead.find(group="Boom").letters] == [4]
        # A letter that is not counted in the group does not end it.
        assert orders.dead.discard(next(iter(orders.dead)).id) == 1
        assert {group.name: group.count for group in orders.dead.groups()} == {"": 2, "Boom": 1}


@pytest.mark.usefixtures("nothing_declared")
class TestKind:
    def test_is_not_what_precedes_a_colon_but_the_class(self, client_of_server: Redis) -> None:
        def process(batch: Batch) -> None:
            for event in batch:
                error = TimeoutError()
                error.add_note(f"customer {event}: owes")
                batch.reject(event, error)

        orders = Bucket("orders")
        orders.processor(process)
        orders.append("Bob")
        orders.drain()
        [group] = orders.dead.groups()
        assert "Bob" in group.name
        assert group.kind == ""


def bury_one(*events: int) -> None:
    def refuse(batch: Batch) -> None:
        for event in batch:
            batch.reject(event, "Boom")

    orders = Bucket("orders")
    orders.processor(refuse)
    orders.extend(events)
    orders.drain()


class TestInACluster:
    @pytest.fixture(autouse=True)
    def alias(self, nodes: list[EmbeddedRedis], use_cache: Callable[..., str]) -> str:
        options = {"CONNECTION_FACTORY": FACTORY}
        return use_cache([url_of(node) for node in nodes], OPTIONS=options)

    def test_all_work_over_all_nodes(self) -> None:
        for number in range(SHARDS):
            bury(*["KeyError: 1", "ValueError"] * 3, number=number)
        dead = spread().dead
        assert {each.name: each.count for each in dead.groups()} == {
            "KeyError: *": 3 * SHARDS,
            "ValueError": 3 * SHARDS,
        }
        found = pages(spread(), 5, group="ValueError")
        assert sum(len(page.letters) for page in found) == 3 * SHARDS
        assert dead.replay_all(group="KeyError: *") == 3 * SHARDS
        assert dead.discard_all(group="ValueError") == 3 * SHARDS
        assert dead.groups() == []
