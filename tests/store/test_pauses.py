from typing import Any

import pytest

from django_jsonbuffer import Bucket, operations
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferUnavailable, KeyOccupied
from tests.prepared import keys_of
from tests.server import Redis, both_servers

pytestmark = [both_servers, pytest.mark.usefixtures("nothing_declared")]


def buckets(*names: str) -> list[Bucket]:
    return [Bucket(name) for name in names]


class TestSetPaused:
    def test_says_of_each_whether_it_was_changed(self, client_of_server: Redis) -> None:
        Bucket("b").pause()
        assert operations.set_paused(buckets("a", "b", "c"), is_paused=True) == [True, False, True]
        assert all(Bucket(name).status().paused is not None for name in "abc")
        Bucket("a").resume()
        assert operations.set_paused(buckets("a", "b", "c"), is_paused=False) == [False, True, True]
        assert all(Bucket(name).status().paused is None for name in "abc")
        assert operations.set_paused([], is_paused=True) == []

    def test_goes_on_after_a_bucket_that_is_broken(self, client_of_server: Redis) -> None:
        client_of_server.rpush(keys_of("b").paused, "foreign")
        first, second, third = operations.set_paused(buckets("a", "b", "c"), is_paused=True)
        assert isinstance(second, KeyOccupied)
        assert (first, third) == (True, True)

    def test_of_all_shards(self, client_of_server: Redis, configure: Any) -> None:
        configure(BUCKETS={"spread": {"shards": 3}})
        assert operations.set_paused(buckets("a", "spread"), is_paused=True) == [True, True]
        prefix = configuration().prefix
        names = {name.decode() for name in client_of_server.smembers(f"{prefix}:shards")}
        assert names == {"spread#1", "spread#2"}
        # They are resumed although the site has fewer shards meanwhile.
        configure(BUCKETS={})
        assert operations.set_paused(buckets("a", "spread"), is_paused=False) == [True, True]
        assert not [*client_of_server.scan_iter(f"{prefix}:*:paused")]

    def test_without_redis(self, unreachable: str) -> None:
        with pytest.raises(BufferUnavailable):
            operations.set_paused(buckets("a"), is_paused=True)
