"""Clients of event loops: each loop has its own connections, which are closed with the loop."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.store import async_clients
from django_jsonbuffer.store.async_clients import client_of_loop
from tests.faults.proxy import Hold, Proxy, at_first
from tests.server import Redis
from tests.test_embedded_redis import wait_until
from tests.threads import at_once


class Server:
    """A server that only this test uses, and what it knows of the connections of the buffer."""

    def __init__(self, plain: Redis, alias: str) -> None:
        self.plain = plain
        self.alias = alias

    def connections(self) -> set[str]:
        """Ids of all connections but the own one."""
        own = str(self.plain.client_id())
        return {each["id"] for each in self.plain.client_list()} - {own}

    def wait_for_connections(self, count: int) -> None:
        wait_until(lambda: len(self.connections()) == count)


@pytest.fixture
def server(private_server: Redis, settings: Settings) -> Server:
    server = Server(private_server, settings.JSONBUFFER["CACHE"])
    Bucket("orders").append("sync")
    Bucket("orders").take()
    return server


@pytest.fixture
def garbage() -> Iterator[None]:
    """Collects the garbage: a connection that nobody has closed warns, and so fails the test."""
    yield
    gc.collect()


async def append(*events: Any) -> None:
    await asyncio.gather(*map(Bucket("orders").aappend, events))


def run_without_cleanup(loop: asyncio.AbstractEventLoop, *events: Any) -> None:
    """Run a loop, and leave its asynchronous generators alone."""
    loop.run_until_complete(append(*events))


class TestLoop:
    def test_has_one_client_of_each_alias(self, server: Server) -> None:
        async def clients() -> list[Any]:
            return [client_of_loop(server.alias) for _ in range(3)]

        one, other = asyncio.run(clients()), asyncio.run(clients())
        assert len({id(client) for client in one}) == 1
        assert one[0] is not other[0]

    @pytest.mark.usefixtures("garbage")
    def test_closes_the_connections_at_its_end(self, server: Server) -> None:
        before = server.connections()

        async def main() -> None:
            await append(1, 2)
            assert len(server.connections()) > len(before)

        asyncio.run(main())
        server.wait_for_connections(len(before))
        assert Bucket("orders").take() == [1, 2]

    def test_many_short_loops_leak_no_connection(self, server: Server) -> None:
        before = server.connections()
        for number in range(100):
            asyncio.run(append(number))
        server.wait_for_connections(len(before))
        assert not async_clients._open
        assert Bucket("orders").take() == [*range(100)]

    @pytest.mark.usefixtures("garbage")
    def test_closed_without_its_generators_leaves_none_open(self, server: Server) -> None:
        before = server.connections()
        for number in range(5):
            loop = asyncio.new_event_loop()
            run_without_cleanup(loop, number)
            loop.close()
            loop.close()
        asyncio.run(append(5))
        server.wait_for_connections(len(before))
        assert Bucket("orders").take() == [*range(6)]

    def test_used_again_and_again_keeps_its_client(self, server: Server) -> None:
        with closing(asyncio.new_event_loop()) as loop:
            run_without_cleanup(loop, 1)
            during = server.connections()
            run_without_cleanup(loop, 2, 3)
            assert server.connections() == during
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_asyncgens())
        assert Bucket("orders").take() == [1, 2, 3]

    def test_that_has_begun_to_close_appends_in_a_thread(self, server: Server) -> None:
        """An asynchronous generator of the project may append when the loop closes it."""
        before = server.connections()

        async def generator() -> Any:
            try:
                yield
            finally:
                await asyncio.sleep(0.05)
                await append("at the end")

        async def main() -> Any:
            await append(1)
            kept = generator()
            await anext(kept)
            return kept

        kept = asyncio.run(main())
        assert kept is not None
        server.wait_for_connections(len(before))
        assert Bucket("orders").take() == [1, "at the end"]

    @pytest.mark.usefixtures("garbage")
    def test_that_has_begun_to_close_gets_no_other_client(
        self, server: Server, settings: Settings
    ) -> None:
        before = server.connections()

        async def generator() -> Any:
            try:
                yield
            finally:
                await asyncio.sleep(0.05)  # the loop closes its client meanwhile
                settings.CACHES = {**settings.CACHES}
                assert client_of_loop(server.alias) is None
                await append("at the end")

        async def main() -> Any:
            await append(1)
            kept = generator()
            await anext(kept)
            return kept

        kept = asyncio.run(main())
        assert kept is not None
        server.wait_for_connections(len(before))
        assert Bucket("orders").take() == [1, "at the end"]

    def test_in_several_threads_at_once(self, server: Server) -> None:
        before = server.connections()

        def use() -> None:
            for _ in range(5):
                asyncio.run(append(*range(10)))

        at_once([use] * 8)
        server.wait_for_connections(max(1, len(before)))
        assert sorted(Bucket("orders").take()) == sorted([*range(10)] * 40)

    def test_nested_in_the_thread_of_another_loop(self, server: Server) -> None:
        async def main() -> None:
            await append("outer")
            await asyncio.to_thread(asyncio.run, append("inner"))
            await append("outer again")

        asyncio.run(main())
        assert Bucket("orders").take() == ["outer", "inner", "outer again"]


class TestSettings:
    def test_that_change_give_the_loop_another_client(
        self, server: Server, settings: Settings, use_cache: Callable[..., str]
    ) -> None:
        async def main() -> None:
            await append(1)
            first, during = client_of_loop(server.alias), server.connections()
            settings.CACHES = {**settings.CACHES}
            while during <= server.connections():
                await asyncio.sleep(0.01)
            await append(2)
            assert client_of_loop(server.alias) is not first
            await asyncio.sleep(0.1)
            assert [*async_clients._open.values()] == [client_of_loop(server.alias)]

        asyncio.run(main())
        assert Bucket("orders").take() == [1, 2]

    def test_that_change_leave_a_command_its_connection(
        self, private_server: Redis, settings: Settings, use_cache: Callable[..., str]
    ) -> None:
        path = private_server.get_connection_kwargs()["path"]
        with Proxy(f"unix://{path}") as proxy:
            use_cache(f"redis://127.0.0.1:{proxy.port}/0")

            async def main() -> None:
                await append(1)
                with proxy.under(at_first(Hold("reply", 0.2))) as course:
                    task = asyncio.create_task(append(2))
                    while not course.seen:
                        await asyncio.sleep(0.01)
                    settings.CACHES = {**settings.CACHES}
                    await task
                    assert course.seen == 1
                await append(3)

            asyncio.run(main())
            assert Bucket("orders").peek() == [1, 2, 3]
