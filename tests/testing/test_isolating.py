import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_jsonbuffer import Bucket, catalog, isolation
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.testing import appended_events, isolated_buckets, real_redis
from tests.server import Redis


@pytest.fixture
def isolated() -> None:
    """No isolation around these tests, in place of the one of the folder."""


class TestIsolatedBuckets:
    @pytest.mark.parametrize("mode", ["memory", "redis"])
    def test_are_empty_at_the_beginning_and_forgotten(
        self, mode: str, configure: Callable[..., None], orders: Bucket
    ) -> None:
        configure(TESTS=mode)
        for number in range(2):
            with isolated_buckets():
                assert orders.status().pending == 0
                orders.append(number)
                assert appended_events(orders) == [number]

    def test_of_shards_are_removed_as_well(
        self, configure: Callable[..., None], client_of_server: Redis
    ) -> None:
        configure(TESTS="redis")
        with isolated_buckets():
            for key in range(20):
                Bucket("orders", shards=4).append(1, ordering_key=key)
            prefix = configuration().prefix
            assert client_of_server.keys(f"{prefix}:*#*")
        assert not client_of_server.keys(f"{prefix}:*")

    def test_may_be_nested(self, configure: Callable[..., None], orders: Bucket) -> None:
        configure(TESTS="memory")
        with isolated_buckets():
            orders.append(1)
            with isolated_buckets():
                assert orders.peek() == []
            assert orders.peek() == [1]

    def test_of_all_threads(self, configure: Callable[..., None], orders: Bucket) -> None:
        configure(TESTS="memory")
        with isolated_buckets():
            thread = threading.Thread(target=orders.append, args=[1])
            thread.start()
            thread.join()
            assert orders.peek() == [1]

    def test_as_decorator(self, configure: Callable[..., None], orders: Bucket) -> None:
        @isolated_buckets()
        def test() -> list[Any]:
            orders.append(1)
            return appended_events(orders)

        configure(TESTS="memory")
        assert test() == test() == [1]

    def test_do_nothing_for_a_site_that_opted_out(
        self, client_of_server: Redis, orders: Bucket
    ) -> None:
        with isolated_buckets():
            orders.append(1)
            assert client_of_server.get(orders.key) == b"[1]"
            with pytest.raises(BufferMisconfigured, match="not isolated"):
                appended_events(orders)
        assert orders.peek() == [1]


class TestRealRedis:
    def test_uses_keys_of_its_own_and_removes_them(
        self, client_of_server: Redis, prefix: str, orders: Bucket
    ) -> None:
        orders.append("of the site")
        with real_redis():
            orders.extend([1, 2])
            assert orders.key.startswith(f"{prefix}:test-")
            assert client_of_server.get(orders.key) == b"[1,2]"
        assert orders.peek() == ["of the site"]
        keys = {key.decode() for key in client_of_server.scan_iter(match=f"{prefix}:*")}
        assert not [key for key in keys if ":test-" in key]
        assert orders.key in keys

    def test_long_prefix(self, configure: Callable[..., None], orders: Bucket) -> None:
        configure(PREFIX="p" * 100)
        with real_redis():
            orders.append(1)
            assert orders.peek() == [1]


class TestSpill:
    def test_is_in_a_folder_of_its_own(
        self, tmp_path: Path, configure: Callable[..., None], unreachable: str
    ) -> None:
        configure(BUCKETS={"spilled": {"on_unavailable": "spill", "spill_dir": tmp_path}})
        bucket = Bucket("spilled")
        with isolation.isolated("redis") as isolated:
            bucket.append(1)
            assert catalog.options_of(bucket).spill_dir == isolated.spill_dir
            assert [*isolated.spill_dir.iterdir()]
        assert not isolated.spill_dir.exists()
        assert [*tmp_path.iterdir()] == []
