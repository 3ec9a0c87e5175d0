"""Asyncio appends while Redis is away, slow or restarted, and while a pool has no room."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable
from django_jsonbuffer.store.async_clients import client_of_loop
from django_jsonbuffer.store.clients import clients
from example_project.embedded_redis import EmbeddedRedis
from tests.server import Redis
from tests.threads import at_once


@pytest.fixture
def embedded(tmp_path: Path, use_cache: Callable[..., str]) -> Iterator[EmbeddedRedis]:
    """A server that keeps its data when it is killed and restarted. The buffer uses it."""
    keeps = ("--appendonly", "yes", "--appendfsync", "always")
    embedded = EmbeddedRedis("--dir", str(tmp_path), *keeps)
    with embedded:
        use_cache(f"{embedded.url}&socket_timeout=0.2")
        yield embedded


async def append_all(bucket: Bucket, *events: Any) -> list[Any]:
    """What each of the tasks got that append at the same time."""
    return await asyncio.gather(*map(bucket.aappend, events), return_exceptions=True)


class TestAway:
    @pytest.mark.parametrize("location", ["redis://127.0.0.1:1/0", "unix:///nowhere/a.sock?db=0"])
    def test_is_an_error_at_once(self, use_cache: Callable[..., str], location: str) -> None:
        """Nothing was sent, so there is nothing to wait for."""
        use_cache(location)
        began = time.monotonic()
        for error in asyncio.run(append_all(Bucket("orders"), *range(20))):
            assert type(error) is BufferUnavailable
            assert not error.may_be_done
        assert time.monotonic() - began < 2

    def test_since_the_last_append(self, embedded: EmbeddedRedis) -> None:
        bucket = Bucket("orders", append_timeout=timedelta(seconds=0.3))

        async def main() -> list[Any]:
            assert await append_all(bucket, 1, 2) == [None, None]
            embedded.stop()
            began = time.monotonic()
            found = await append_all(bucket, 3, 4)
            assert time.monotonic() - began < 2
            embedded.start()
            await asyncio.sleep(0.15)
            for error in found:
                if isinstance(error, AppendUndecided):
                    await error.aretry()
            return found

        found = asyncio.run(main())
        assert all(isinstance(each, BufferUnavailable) for each in found)
        undecided = [isinstance(each, AppendUndecided) for each in found]
        assert bucket.take() == [1, 2, *compress((3, 4), undecided)]

    def test_restart_between_appends_is_no_error(self, embedded: EmbeddedRedis) -> None:
        """Not even for an append that is never sent again."""
        bucket = Bucket("orders", append_timeout=timedelta(0))

        async def main() -> None:
            for number in range(4):
                await bucket.aappend(number)
                embedded.stop()
                embedded.start()
                await asyncio.sleep(0.01)

        asyncio.run(main())
        assert bucket.take() == [*range(4)]

    def test_server_that_hangs_leaves_it_undecided(self, embedded: EmbeddedRedis) -> None:
        bucket = Bucket("orders", append_timeout=timedelta(seconds=0.1))
        assert embedded.pid

        async def main() -> None:
            await bucket.aappend(1)
            os.kill(embedded.pid or 0, signal.SIGSTOP)
            began = time.monotonic()
            try:
                found = await append_all(bucket, 2, 3)
            finally:
                os.kill(embedded.pid or 0, signal.SIGCONT)
            assert time.monotonic() - began < 1
            # The second waited, and was not sent, because the first had found that Redis is away.
            assert [type(each) for each in found] == [AppendUndecided, BufferUnavailable]
            await found[0].aretry()
            await found[0].aretry()

        asyncio.run(main())
        assert bucket.take() == [1, 2]

    def test_scripts_that_are_flushed_are_sent_again(self, private_server: Redis) -> None:
        bucket = Bucket("orders", append_timeout=timedelta(0))

        async def main() -> None:
            for number in range(5):
                assert await append_all(bucket, 2 * number, 2 * number + 1) == [None, None]
                private_server.script_flush()

        asyncio.run(main())
        assert bucket.take() == [*range(10)]


class TestPool:
    @pytest.fixture
    def url(self, private_server: Redis) -> str:
        path: str = private_server.get_connection_kwargs()["path"]
        return f"unix://{path}?db=0"

    @pytest.mark.parametrize("kind", ["ConnectionPool", "BlockingConnectionPool"])
    def test_without_room_is_an_error_that_names_it(
        self, url: str, use_cache: Callable[..., str], kind: str
    ) -> None:
        pool = {"max_connections": 2}
        if kind == "BlockingConnectionPool":
            pool["timeout"] = 0.3  # type: ignore[assignment]
        options = {
            "CONNECTION_POOL_CLASS": f"redis.connection.{kind}",
            "CONNECTION_POOL_KWARGS": pool,
        }
        alias = use_cache(f"{url}&client_name=full", OPTIONS=options)
        bucket = Bucket("orders", append_timeout=timedelta(seconds=0.3))

        async def main() -> BufferUnavailable:
            await bucket.aappend(1)
            pool: Any = client_of_loop(alias).connection_pool  # type: ignore[union-attr]
            taken = [await pool.get_connection() for _ in range(2)]
            began = time.monotonic()
            with pytest.raises(BufferUnavailable) as caught:
                await bucket.aappend(2)
            assert 0.25 < time.monotonic() - began < 1
            waiting = asyncio.create_task(bucket.aappend(3))
            await asyncio.sleep(0.05)
            for connection in taken:
                await pool.release(connection)
            await waiting
            return caught.value

        error = asyncio.run(main())
        assert not error.may_be_done
        assert f"all 2 connections of the cache {alias!r}" in str(error)
        assert "max_connections" in str(error)
        assert bucket.take() == [1, 3]

    def test_that_is_full_lets_the_first_append_of_a_process_wait_no_longer(
        self, url: str, use_cache: Callable[..., str]
    ) -> None:
        """The first one also writes the catalog."""
        pool = clients[use_cache(f"{url}&max_connections=1")].connection_pool
        bucket, taken = (
            Bucket("orders", append_timeout=timedelta(seconds=0.2)),
            pool.get_connection(),
        )
        began = time.monotonic()
        with pytest.raises(BufferUnavailable, match="max_connections"):
            bucket.append(1)
        assert time.monotonic() - began < 2
        pool.release(taken)

    def test_that_is_full_lets_each_caller_wait_as_long_as_it_may(
        self, url: str, use_cache: Callable[..., str]
    ) -> None:
        """A later caller waits for its own time. The first of its group gives up before."""
        pool = clients[use_cache(f"{url}&max_connections=1")].connection_pool
        bucket, results = Bucket("orders", append_timeout=timedelta(seconds=1)), list[Any]()
        bucket.append("before")
        taken = pool.get_connection()

        def append(event: int, delay_seconds: float) -> None:
            time.sleep(delay_seconds)
            with suppress(BufferUnavailable):
                bucket.append(event)
                results.append(event)

        def release() -> None:
            time.sleep(1.6)
            pool.release(taken)

        calls = [(1, 0.0), (2, 0.1), (3, 0.95)]
        at_once([*[partial(append, *call) for call in calls], release])
        assert results == [3]
        assert bucket.take() == ["before", 3]

    @pytest.mark.parametrize("groups", [True, False])
    def test_of_four_serves_many_tasks_and_threads(
        self, url: str, use_cache: Callable[..., str], settings: Settings, groups: bool
    ) -> None:
        settings.JSONBUFFER = {**settings.JSONBUFFER, "GROUP_COMMIT": groups}
        use_cache(f"{url}&max_connections=4")
        # Without group commit, a thousand callers wait for one of four connections each.
        patience: dict[str, Any] = {} if groups else {"append_timeout": timedelta(minutes=1)}
        bucket = Bucket("orders", **patience)

        def in_tasks() -> None:
            assert set(asyncio.run(append_all(bucket, *range(500)))) == {None}

        at_once([in_tasks, *[lambda: bucket.append("of a thread")] * 500])
        events = bucket.take()
        assert events.count("of a thread") == 500
        assert sorted(each for each in events if each != "of a thread") == [*range(500)]


class TestKinds:
    @pytest.mark.parametrize(
        "options",
        [
            {"decode_responses": True},
            {"protocol": 3},
            {"protocol": 3, "decode_responses": True},
            {"health_check_interval": 1},
            {"single_connection_client": True},
        ],
        ids=str,
    )
    def test_of_client_append_alike(
        self, private_server: Redis, use_cache: Callable[..., str], options: dict[str, Any]
    ) -> None:
        path = private_server.get_connection_kwargs()["path"]
        single = options.pop("single_connection_client", None)
        kwargs = {"single_connection_client": True} if single else {}
        cache = {"CONNECTION_POOL_KWARGS": options, "REDIS_CLIENT_KWARGS": kwargs}
        use_cache(f"unix://{path}?db=0&client_name=kind", OPTIONS=cache)
        bucket = Bucket("orders")
        event = {"text": "é\x00\r\n$😀", "number": 1}

        async def main() -> None:
            for _ in range(2):
                assert await append_all(bucket, event, event) == [None, None]

        asyncio.run(main())
        assert bucket.take() == [event] * 4

    @pytest.mark.parametrize("name", ["0", "a:b.c-d_E9", "n" * 100])
    @pytest.mark.parametrize("rest", ["/._:-", ":" * 10, "9" * 70])
    def test_of_key_append_alike(
        self, prefix: str, configure: Callable[..., None], rest: str, name: str
    ) -> None:
        configure(PREFIX=f"{prefix}:{rest}")
        bucket = Bucket(name)
        bucket.append(0)

        async def main() -> None:
            assert await append_all(bucket, 1, 2) == [None, None]

        asyncio.run(main())
        assert bucket.take() == [0, 1, 2]
