from collections.abc import Callable
from datetime import timedelta

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.waiting import MOST_ASKED, waiting
from tests.prepared import store_of
from tests.server import Redis, appends, both_servers

pytestmark = both_servers


def found(*names: str) -> dict[str, bool]:
    return waiting(names, configuration())


def test_bucket_that_never_had_an_event_does_not_wait() -> None:
    assert found("orders") == {}
    assert found() == {}


def test_open_and_sealed_batches_and_those_in_flight_wait() -> None:
    store = store_of("orders")
    Bucket("orders").append(1)
    assert found("views", "orders", "carts") == {"orders": False}
    store.seal()
    assert found("views", "orders") == {"orders": True}
    claim = store.claim("worker", lease=timedelta(minutes=1), linger=None).claim
    assert claim is not None
    assert found("orders") == {"orders": True}
    store.ack(claim)
    assert found("orders") == {}


def test_key_of_another_type_waits_for_a_worker_that_reports_it(client_of_server: Redis) -> None:
    for name, suffix in (("orders", ""), ("views", ":batches")):
        client_of_server.rpush(Bucket(name).key + suffix, "x")
    assert found("orders", "views", "carts") == {"orders": False, "views": True}


def test_asks_about_a_thousand_in_one_call(private_server: Redis) -> None:
    names = [f"tenant-{number}" for number in range(MOST_ASKED + 5)]
    for name in (names[0], names[MOST_ASKED - 1], names[-1]):
        Bucket(name).append(1)
    found(*names)  # which loads the script
    before = appends(private_server)
    assert [*found(*names)] == [names[0], names[MOST_ASKED - 1], names[-1]]
    assert appends(private_server) == before + 2


def test_redis_that_is_away(use_cache: Callable[..., str]) -> None:
    use_cache("redis://127.0.0.1:1/0")
    with pytest.raises(BufferUnavailable):
        found("orders")
