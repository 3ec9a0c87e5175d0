from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_jsonbuffer import Batch, Bucket
from tests.server import Redis


def bury(name: str, *events: Any) -> Bucket:
    bucket = Bucket(name)
    bucket.extend(events)

    def refuse(batch: Batch) -> None:
        for event in batch:
            batch.reject(event, "no")

    bucket.processor(refuse)
    bucket.drain()
    return bucket


def said(*args: str, **options: Any) -> list[str]:
    out = StringIO()
    call_command("replay_dead_events", *args, stdout=out, **options)
    return out.getvalue().splitlines()


def test_replays_all_of_the_buckets_that_are_named() -> None:
    orders, views, mails = bury("orders", 1, 2), bury("views", 3), bury("mails", 4)
    assert said("orders", "v*") == [
        "orders: 2 dead letters replayed",
        "views: 1 dead letter replayed",
    ]
    assert (orders.take(), views.take(), mails.take()) == ([1, 2], [3], [])
    assert said("orders", verbosity=0) == []


def test_leaves_what_holds_no_event(client_of_server: Redis) -> None:
    orders = bury("orders", 1)
    client_of_server.set(orders.key, "no JSON")
    orders.append(2)
    assert orders.status().dead == 2
    assert said("orders") == ["orders: 1 dead letter replayed"]
    assert [letter.raw for letter in orders.dead] == [b"no JSON"]


def test_replays_one_by_its_id() -> None:
    orders = bury("orders", 1, 2, 3)
    ids = [letter.id for letter in orders.dead]
    assert said("orders", "--id", ids[2], "--id", ids[0]) == ["orders: 2 dead letters replayed"]
    assert orders.take() == [3, 1]


class TestRefusals:
    def test_id_of_several_buckets(self) -> None:
        bury("orders", 1)
        bury("views", 1)
        with pytest.raises(CommandError, match="An --id belongs to one bucket") as caught:
            said("orders", "views", "--id", "1-1")
        assert caught.value.returncode == 2

    @pytest.mark.parametrize("id", ["1-1", "x", "-"])
    def test_id_that_there_is_not(self, id: str) -> None:
        bury("orders", 1)
        with pytest.raises(CommandError, match="Replayed 0 of 1: the others are not dead letters"):
            said("orders", f"--id={id}")

    def test_id_of_what_is_no_event(self, client_of_server: Redis) -> None:
        orders = Bucket("orders")
        client_of_server.set(orders.key, "no JSON")
        orders.append(2)
        [letter] = orders.dead.page()
        with pytest.raises(CommandError, match="does not hold JSON"):
            said("orders", "--id", letter.id)
        assert orders.status().dead == 1

    def test_no_bucket(self) -> None:
        with pytest.raises(CommandError, match="required: bucket"):
            said()

    def test_unknown_bucket(self) -> None:
        with pytest.raises(CommandError, match="No bucket matches 'nobody'"):
            said("nobody")

    def test_redis_that_is_away(self, unreachable: str) -> None:
        with pytest.raises(CommandError, match="Redis cannot be reached"):
            said("orders")
