import pytest

from django_jsonbuffer.memory_redis.errors import ErrorReply
from django_jsonbuffer.memory_redis.keyspace import Keyspace
from django_jsonbuffer.memory_redis.streams import Stream


@pytest.fixture
def data() -> Keyspace:
    return Keyspace(clock=lambda: 5_000_000)


def test_missing_key(data: Keyspace) -> None:
    assert data.any(b"a") is None
    assert data.get(b"a", bytes) is None
    assert data.kind(b"a") == "none"
    assert not data.remove(b"a")
    data.drop_if_empty(b"a")
    assert data.keys() == []


def test_at_makes_an_empty_value(data: Keyspace) -> None:
    data.at(b"a", list).append(b"1")
    assert data.get(b"a", list) == [b"1"]
    assert data.kind(b"a") == "list"


def test_value_of_another_type(data: Keyspace) -> None:
    data.set(b"a", b"1")
    with pytest.raises(ErrorReply, match="WRONGTYPE"):
        data.get(b"a", list)
    with pytest.raises(ErrorReply, match="WRONGTYPE"):
        data.at(b"a", dict)


def test_empty_collections_go_and_an_empty_stream_stays(data: Keyspace) -> None:
    for key, kind in ((b"a", list), (b"b", dict), (b"c", set), (b"d", Stream)):
        data.at(key, kind)
        data.drop_if_empty(key)
    assert data.keys() == [b"d"]


def test_key_goes_behind_its_time(data: Keyspace) -> None:
    data.set(b"a", b"1")
    data.expiries[b"a"] = 5000
    assert data.any(b"a") == b"1"
    data.expiries[b"a"] = 4999
    assert data.any(b"a") is None
    assert data.expiries == {}


def test_expired_key_is_listed_no_more_and_goes_when_it_is_asked_for(data: Keyspace) -> None:
    """If the clock is set back before, the key is there again."""
    data.set(b"a", b"1")
    data.expiries[b"a"] = 4999
    assert data.keys() == []
    assert len(data) == 1
    data.any(b"a")
    assert len(data) == 0


def test_clear(data: Keyspace) -> None:
    data.set(b"a", b"1")
    data.expiries[b"a"] = 9000
    data.clear()
    assert data.keys() == []
    assert data.expiries == {}
