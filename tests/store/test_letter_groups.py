import time
from functools import partial
from typing import Any

import pytest

from django_jsonbuffer.exceptions import KeyOccupied
from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.store import dead_letters, letter_groups
from django_jsonbuffer.store.claims import Burial
from django_jsonbuffer.store.letter_groups import Portion, Sought, StoredGroup
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers
from tests.store.steps import LAST_ID, append, claimed, dump
from tests.threads import at_once

pytestmark = both_servers

TRACEBACK = "Traceback (most recent call last):"


def bury(store: Store, *errors: str, event: Any = 1, traceback: str = TRACEBACK) -> list[str]:
    """Bury an event with each of these errors. Returns the ids of all dead letters."""
    append(store, *[event] * len(errors), batch_size=len(errors), batch_bytes=100_000_000)
    held = claimed(store)
    burials = [
        Burial(*place, error, traceback)
        for place, error in zip(spans(held.array), errors, strict=True)
    ]
    store.bury(held, burials, processed=0, failures=1)
    return dead_letters.dead_ids(store, 10_000, last="+")


def bury_old(store: Store, plain: Redis, *events: Any) -> list[str]:
    """Bury events as older versions of this app do: without a group."""
    return [
        plain.xadd(store.keys.dead, {"event": each, "error": "old"}).decode() for each in events
    ]


def groups(store: Store) -> list[StoredGroup]:
    [found] = letter_groups.list_groups([store])
    return found


def sizes(store: Store) -> dict[str, int]:
    return {group.shape: group.size for group in groups(store)}


def noted(store: Store, plain: Redis) -> dict[str, str]:
    """What the counters say of groups."""
    stats = {
        name.decode(): value.decode() for name, value in plain.hgetall(store.keys.stats).items()
    }
    return {name: value for name, value in stats.items() if name.startswith("group")}


def search(store: Store, sought: Sought, limit: int = 100, **options: Any) -> Portion:
    first = options.pop("first", "-")
    [portion] = letter_groups.search([store], sought, limit, firsts=[first], **options)
    return portion


def found(store: Store, sought: Sought, limit: int = 100, **options: Any) -> list[str]:
    return [letter.id for letter in search(store, sought, limit, **options).letters]


class TestShape:
    """The name of a group: the error without the values in it."""

    @pytest.mark.parametrize(
        ("error", "shape"),
        [
            ("KeyError: 'total'", "KeyError: *"),
            ("KeyError: 471", "KeyError: *"),
            ("ValueError: order 12 of x-7 is bad", "ValueError: order * of * is bad"),
            ('ValueError: "a" is not b"c" or b\'d\'', "ValueError: * is not * or *"),
            ("ValueError: [1, 2, 3] at 2026-11-30 01:28:30.5+00:00", "ValueError: [*] at *"),
            ("no {'total': 1, 'lines': [1, 2]}", "no {*: [*]}"),
            ("can't find 'it', and won't", "can't find *, and won't"),
            ("OSError: 'unclosed", "OSError: 'unclosed"),
            ("HTTPError: 404 Client Error", "HTTPError: 404 Client Error"),
            ("HTTPError: HTTP Error 503: away (503)", "HTTPError: HTTP Error 503: away (503)"),
            ("ApiError: status 422 for 'x'", "ApiError: status 422 for *"),
            ("ApiError: status 422.5, code 404-1", "ApiError: status *, code *"),
            ("ApiError: order 404 has status 7", "ApiError: order * has status *"),
            ("HTTPError: no answer from /orders/404", "HTTPError: no answer from /orders/*"),
            ("Http404", "Http404"),
            ("Http404: No Order", "Http404: No Order"),
            ("S3Error: x", "S3Error: x"),
            ("f.<locals>.Fault2: x", "f.<locals>.Fault*: x"),
            ("order12: no", "order*: no"),
            ("  a\t b\n\nc ", "a b c"),
            ("x '" + "a" * 1000, "x *"),
            ("é" * 150, "é" * 100),
            ("aé" * 100, "aé" * 66 + "a"),
            ("1 " * 194 + "a" + "é" * 100, "* a" + "é" * 5),
        ],
    )
    def test_of_an_error(self, store: Store, error: str, shape: str) -> None:
        [id] = bury(store, error)
        letter = dead_letters.find_dead(store, id)
        assert letter is not None
        assert letter.fields["group"].decode() == shape
        assert letter.fields["error"].decode() == error
        assert sizes(store) == {shape: 1}

    def test_of_no_error(self, store: Store) -> None:
        [id] = bury(store, " ")
        assert groups(store) == [StoredGroup("", 1, id, id, was_raised=False)]

    def test_takes_no_long_time(self, store: Store) -> None:
        began = time.monotonic()
        bury(store, *["ab'" * 100_000, "1 " * 100_000, "a" * 300_000, "'" * 300_000] * 5)
        assert time.monotonic() - began < 5


class TestGroups:
    def test_of_an_empty_bucket(self, store: Store) -> None:
        assert groups(store) == []

    def test_have_their_numbers_and_ends(self, store: Store) -> None:
        ids = bury(store, "KeyError: 1", "ValueError: x", "KeyError: 2")
        ids = bury(store, "KeyError: 3", traceback="")
        assert groups(store) == [
            StoredGroup("KeyError: *", 3, ids[0], ids[3], was_raised=True),
            StoredGroup("ValueError: x", 1, ids[1], ids[1], was_raised=True),
        ]

    def test_of_what_no_processor_raised(self, store: Store) -> None:
        bury(store, "secret: x", traceback="")
        assert [group.was_raised for group in groups(store)] == [False]

    def test_are_at_most_a_hundred(self, store: Store, client_of_server: Redis) -> None:
        names = [chr(97 + number // 26) + chr(97 + number % 26) for number in range(105)]
        ids = bury(store, *names)
        bury(store, names[0], names[-1])
        assert sizes(store) == {**dict.fromkeys(names[1:100], 1), names[0]: 2, "": 6}
        assert client_of_server.hget(store.keys.stats, "groups") == b"100"
        others = groups(store)[-1]
        assert others.last == dead_letters.newest_dead(store)
        assert found(store, Sought("")) == [*ids[100:], others.last]
        dead_letters.discard(store, ids[1:2])
        bury(store, "another")
        assert sizes(store)["another"] == 1

    def test_of_letters_of_an_older_version(self, store: Store, client_of_server: Redis) -> None:
        old = bury_old(store, client_of_server, *range(25))
        assert groups(store) == [StoredGroup("", 25, old[0], old[-1], was_raised=False)]
        new = bury(store, *["KeyError"] * 150)
        assert groups(store) == [
            StoredGroup("KeyError", 150, new[25], new[-1], was_raised=True),
            StoredGroup("", 25, old[0], old[0], was_raised=False),
        ]
        assert found(store, Sought("")) == old
        dead_letters.discard(store, old[:5])
        assert sizes(store) == {"KeyError": 150, "": 20}

    def test_are_never_larger_than_all(self, store: Store, client_of_server: Redis) -> None:
        ids = bury(store, *["KeyError"] * 3, "ValueError")
        client_of_server.xdel(store.keys.dead, *ids[:2], ids[3])
        assert sizes(store) == {"KeyError": 1, "ValueError": 1}
        client_of_server.xdel(store.keys.dead, ids[2])
        assert sizes(store) == {}

    def test_end_with_their_last_letter(self, store: Store, client_of_server: Redis) -> None:
        ids = bury(store, "KeyError", "ValueError", "KeyError")
        assert dead_letters.discard(store, [ids[1]]) == 1
        assert sizes(store) == {"KeyError": 2}
        assert dead_letters.replay(store, [ids[0], ids[2]]) == 2
        assert noted(store, client_of_server) == {"groups": "0"}

    def test_that_another_client_has_emptied_end_with_the_last_of_all(
        self, store: Store, client_of_server: Redis
    ) -> None:
        ids = bury(store, "KeyError", "ValueError", "TypeError")
        client_of_server.xdel(store.keys.dead, *ids[:2])
        dead_letters.discard(store, ids)
        assert noted(store, client_of_server) == {}
        bury(store, "KeyError")
        assert sizes(store) == {"KeyError": 1}

    @pytest.mark.parametrize("text", ["", "x", "1", "1 5-5", "-1 5-5 5-5 x", f"{10**15} 5-5 5-5 "])
    def test_that_another_client_has_spoilt_begin_again(
        self, store: Store, client_of_server: Redis, text: str
    ) -> None:
        bury(store, "KeyError")
        client_of_server.hset(store.keys.stats, mapping={"group:KeyError": text, "groups": text})
        assert sizes(store) == {"": 1}
        ids = bury(store, "KeyError")
        assert sizes(store)["KeyError"] == 1
        assert dead_letters.discard(store, ids) == 2
        assert sizes(store) == {}

    def test_that_were_lost_with_all_counters(self, store: Store, client_of_server: Redis) -> None:
        ids = bury(store, "KeyError", "ValueError")
        client_of_server.delete(store.keys.stats)
        assert groups(store) == [StoredGroup("", 2, ids[0], ids[1], was_raised=False)]
        assert found(store, Sought("")) == ids
        assert found(store, Sought("KeyError")) == []
        assert dead_letters.discard(store, ids) == 2

    @pytest.mark.parametrize("kind", ["dead", "stats"])
    def test_are_refused_when_a_key_is_of_another_type(
        self, store: Store, client_of_server: Redis, kind: str
    ) -> None:
        bury(store, "KeyError")
        client_of_server.delete(getattr(store.keys, kind))
        client_of_server.set(getattr(store.keys, kind), "theirs")
        with pytest.raises(KeyOccupied):
            groups(store)

    def test_of_what_expires(self, store: Store) -> None:
        bury(store, *["KeyError", "ValueError"] * 10)
        assert dead_letters.expire(store, max_dead=3, dead_after=None) == 17
        assert sizes(store) == {"KeyError": 1, "ValueError": 2}
        assert dead_letters.expire(store, max_dead=0, dead_after=None) == 3
        assert groups(store) == []

    def test_of_large_letters_that_expire(self, store: Store) -> None:
        """One call reads at most four megabytes, and ends with the letter that goes beyond."""
        bury(store, *["KeyError"] * 12, event="x" * 1_000_000)
        assert dead_letters.expire(store, max_dead=0, dead_after=None) == 10
        assert sizes(store) == {"KeyError": 2}

    def test_of_large_letters_that_are_discarded(self, store: Store) -> None:
        ids = bury(store, *["KeyError"] * 12, event="x" * 1_000_000)
        assert dead_letters.discard(store, ["5-5", *ids, "5-6"]) == 12
        assert groups(store) == []

    def test_are_counted_right_by_many_at_once(self, store: Store) -> None:
        ids = bury(store, *["KeyError", "ValueError"] * 500)

        def remove(step: int) -> None:
            for start in range(0, 900, 60):
                dead_letters.discard(store, ids[start : start + 60 : step])
                dead_letters.replay(store, ids[start : start + 60 : step + 1])

        at_once([partial(remove, step) for step in (2, 3, 4, 5)])
        left = dead_letters.list_dead(store, 1000)
        shapes = [letter.fields["group"].decode() for letter in left]
        assert sizes(store) == {shape: shapes.count(shape) for shape in {*shapes}}


class TestSearch:
    def test_of_an_empty_bucket_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        before = dump(client_of_server, prefix)
        for group in (None, "", "KeyError"):
            assert search(store, Sought(group, "x")) == Portion(0, "", [])
        assert dump(client_of_server, prefix) == before

    def test_finds_a_group_in_its_order(self, store: Store) -> None:
        ids = bury(
            store, *["ValueError"] * 30, *["KeyError: 1", "ValueError"] * 5, *["TypeError"] * 30
        )
        portion = search(store, Sought("KeyError: *"), 3)
        assert [letter.id for letter in portion.letters] == ids[30:36:2]
        assert (portion.next, portion.looked_at) == (ids[34], 5)
        portion = search(store, Sought("KeyError: *"), 3, first=f"({ids[34]}")
        assert ([letter.id for letter in portion.letters], portion.next) == (ids[36:40:2], "")
        assert portion.looked_at == 4
        assert found(store, Sought("KeyError: *"), last=ids[34]) == ids[30:36:2]
        assert found(store, Sought("KeyError: *"), last=f"({ids[34]}") == ids[30:34:2]
        assert search(store, Sought("KeyError")) == Portion(0, "", [])

    @pytest.mark.parametrize(
        ("text", "places"),
        [
            ("", [0, 1, 2]),
            ("KEYERROR", [0]),
            ("'tOtal'", [0]),
            ("Shirt", [0, 1, 2]),
            ("é", [1]),
            ("É", []),
            ("traceback", []),
            ("no.*", []),
            ("no", [1]),
        ],
    )
    def test_finds_a_text(self, store: Store, text: str, places: list[int]) -> None:
        ids = bury(store, "KeyError: 'total'", "no é", "ValueError", event={"a": "sHIRT"})
        assert found(store, Sought(text=text)) == [ids[place] for place in places]

    def test_finds_a_letter_by_its_id(self, store: Store) -> None:
        ids = bury(store, "KeyError", "ValueError")
        assert found(store, Sought(text=ids[1])) == ids[1:]
        assert found(store, Sought(text=ids[1], in_events=False)) == ids[1:]
        assert found(store, Sought("KeyError", ids[1])) == []

    @pytest.mark.parametrize(
        ("text", "places"),
        [
            ("keyerror", [0]),
            ("error", [0, 3]),
            ("total", []),
            ("shirt", []),
            (":", []),
            ("alice", []),
            ("bob", []),
        ],
    )
    def test_outside_of_events_looks_at_no_value(
        self, store: Store, text: str, places: list[int]
    ) -> None:
        bury(store, "KeyError: 'total'", event="shirt")
        bury(store, "alice: bad", "bob", traceback="")
        ids = bury(store, "app.Error\nbob", "bob is bad")
        assert found(store, Sought(text=text, in_events=False)) == [ids[place] for place in places]

    def test_looks_at_no_more_than_it_may(self, store: Store) -> None:
        ids = bury(store, *["KeyError"] * 25)
        portion = search(store, Sought(text="nowhere"), most_looked_at=12)
        assert portion == Portion(12, ids[11], [])
        portion = search(store, Sought(text="nowhere"), most_looked_at=13, first=f"({ids[11]}")
        assert portion == Portion(13, ids[24], [])
        portion = search(store, Sought(text="nowhere"), first=f"({ids[24]}")
        assert portion == Portion(0, "", [])

    def test_looks_at_fewer_if_they_are_large(self, store: Store) -> None:
        ids = bury(store, *["KeyError"] * 12, event="x" * 1_000_000)
        assert search(store, Sought(text="nowhere")) == Portion(10, ids[9], [])

    def test_cuts_events(self, store: Store) -> None:
        bury(store, "KeyError", event="x" * 100)
        [letter] = search(store, Sought(text="x" * 50), most_bytes=10).letters
        assert letter.fields["event"] == b'"xxxxxxxxx'
        assert letter.fields["event_bytes"] == b"102"

    def test_survives_what_another_client_has_put(
        self, store: Store, client_of_server: Redis
    ) -> None:
        for number in range(9):
            client_of_server.xadd(store.keys.dead, {"strange": "x"}, id=f"5-{number + 1}")
        client_of_server.xadd(store.keys.dead, {b"\xff": b"\xff", "group": b"\xff"}, id=LAST_ID)
        assert search(store, Sought(text="x")) == Portion(10, "", [])
        assert len(found(store, Sought(""))) == 10
        assert found(store, Sought(text="5-3")) == ["5-3"]
        assert dead_letters.expire(store, max_dead=0, dead_after=None) == 10

    @pytest.mark.parametrize("kind", ["dead", "stats"])
    def test_is_refused_when_a_key_is_of_another_type(
        self, store: Store, client_of_server: Redis, kind: str
    ) -> None:
        client_of_server.set(getattr(store.keys, kind), "theirs")
        with pytest.raises(KeyOccupied):
            search(store, Sought("KeyError", "x"))


class TestForget:
    def test_a_group_without_a_later_letter(self, store: Store, client_of_server: Redis) -> None:
        ids = bury(store, "KeyError", "KeyError", "ValueError")
        client_of_server.xdel(store.keys.dead, *ids[:2])
        for last in (ids[0], f"({ids[1]}", "5-5"):
            letter_groups.forget_group(store, "KeyError", last=last)
            assert "group:KeyError" in noted(store, client_of_server)
        letter_groups.forget_group(store, "KeyError", last=ids[1])
        assert sizes(store) == {"ValueError": 1}
        assert noted(store, client_of_server)["groups"] == "1"

    def test_an_unknown_group_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        ids = bury(store, "KeyError")
        before = dump(client_of_server, prefix)
        for group in ("", "ValueError"):
            letter_groups.forget_group(store, group, last=ids[0])
        assert dump(client_of_server, prefix) == before
