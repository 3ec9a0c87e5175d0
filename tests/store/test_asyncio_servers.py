"""Asyncio appends over TLS, with a login, through a sentinel, and with classes of a project."""

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.connection import Connection

from django_jsonbuffer import Bucket
from django_jsonbuffer.acl import ROLES
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.async_clients import client_of_loop
from example_project.embedded_redis import EmbeddedRedis
from tests.faults.proxy import Proxy
from tests.sentinel import SERVICE, name_primary, sentinel, server_with_port
from tests.server import Redis
from tests.store.twins import info_of, run_and_close, with_twin
from tests.test_embedded_redis import client_of, wait_until
from tests.tls import Authority, tls_port

LOGIN = {"username": "site", "password": "s3cret"}


class OwnConnection(Connection):
    """A connection of the project's own, of which asyncio has no counterpart."""


@pytest.fixture(scope="module")
def embedded() -> Iterator[tuple[EmbeddedRedis, int]]:
    """A server with a user that may append and look, and its port."""
    embedded, port = server_with_port()
    with embedded:
        add_user(embedded)
        yield embedded, port


@pytest.fixture
def plain(embedded: tuple[EmbeddedRedis, int]) -> Iterator[Redis]:
    with client_of(embedded[0]) as plain:
        plain.flushall()
        yield plain


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca.pem")


def add_user(embedded: EmbeddedRedis) -> None:
    rules = ["on", ">s3cret", "~*", *ROLES["operator"].permissions(), "+client"]
    with client_of(embedded) as plain:
        plain.execute_command("ACL", "SETUSER", "site", *rules)


def bucket() -> Bucket:
    return Bucket("orders", append_timeout=timedelta(seconds=0.2))


async def append(*events: Any) -> set[threading.Thread]:
    """Append the events in tasks that run at the same time. Returns the threads that it started."""
    before = {*threading.enumerate()}
    await asyncio.gather(*map(bucket().aappend, events))
    return {*threading.enumerate()} - before


def failure_of_append() -> BufferUnavailable:
    with pytest.raises(BufferUnavailable) as caught:
        asyncio.run(append(1))
    return caught.value


class TestTLS:
    def test_uses_the_authority_and_the_login_of_the_cache(
        self,
        embedded: tuple[EmbeddedRedis, int],
        plain: Redis,
        authority: Authority,
        use_cache: Callable[..., str],
    ) -> None:
        with tls_port(embedded[0].url, authority) as port:
            use_cache(f"rediss://site:s3cret@127.0.0.1:{port}/1?ssl_ca_certs={authority.file}")
            for number in range(3):
                assert asyncio.run(append(2 * number, 2 * number + 1)) == set()
        plain.execute_command("SELECT", 0)
        assert plain.info("keyspace").keys() == {"db1"}

    def test_is_closed_with_a_loop_that_closes_nothing(
        self,
        embedded: tuple[EmbeddedRedis, int],
        plain: Redis,
        authority: Authority,
        use_cache: Callable[..., str],
    ) -> None:
        with tls_port(embedded[0].url, authority) as port:
            use_cache(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}")
            run_and_close(bucket().aappend(1))
            wait_until(lambda: len(plain.client_list()) == 1)

    def test_refuses_a_server_of_another_authority(
        self,
        embedded: tuple[EmbeddedRedis, int],
        authority: Authority,
        tmp_path: Path,
        use_cache: Callable[..., str],
    ) -> None:
        with tls_port(embedded[0].url, Authority(tmp_path / "other.pem")) as port:
            use_cache(f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority.file}")
            assert "certificate" in str(failure_of_append()).lower()


class TestLogin:
    @pytest.mark.parametrize("kind", ["port", "socket"])
    def test_of_a_user_with_few_permissions(
        self,
        embedded: tuple[EmbeddedRedis, int],
        plain: Redis,
        use_cache: Callable[..., str],
        kind: str,
    ) -> None:
        server, port = embedded
        socket = f"unix://site:s3cret@{server.socket}?db=0&client_name=shop"
        url = f"redis://site:s3cret@127.0.0.1:{port}/0" if kind == "port" else socket
        alias = use_cache(url)

        async def user() -> str:
            await append(1)
            return (await info_of(client_of_loop(alias)))["user"]

        assert asyncio.run(user()) == "site"
        assert bucket().take() == [1]

    @pytest.mark.parametrize("kind", ["port", "socket"])
    def test_that_is_refused_stores_nothing(
        self, embedded: tuple[EmbeddedRedis, int], use_cache: Callable[..., str], kind: str
    ) -> None:
        server, port = embedded
        socket = f"unix://site:wr0ng@{server.socket}?db=0"
        use_cache(f"redis://site:wr0ng@127.0.0.1:{port}/0" if kind == "port" else socket)
        error = failure_of_append()
        assert "refuses the login" in str(error)
        assert not error.may_be_done
        assert "wr0ng" not in str(error)

    def test_without_a_permission_names_the_command_that_prints_it(
        self, embedded: tuple[EmbeddedRedis, int], plain: Redis, use_cache: Callable[..., str]
    ) -> None:
        use_cache(f"redis://site:s3cret@127.0.0.1:{embedded[1]}/0?client_name=without")
        plain.execute_command("ACL", "SETUSER", "site", "-evalsha", "-eval")
        try:
            error = failure_of_append()
        finally:
            add_user(embedded[0])
        assert "redis_acl" in str(error)
        assert not error.may_be_done


class TestSentinel:
    @pytest.fixture
    def watching(self, tmp_path: Path) -> Iterator[Redis]:
        with sentinel(tmp_path) as watching:
            yield watching

    @pytest.fixture
    def of_sentinel(self, watching: Redis, use_cache: Callable[..., str]) -> None:
        port = watching.get_connection_kwargs()["port"]
        use_cache(
            f"redis://{SERVICE}/0?client_name={secrets.token_hex(4)}",
            OPTIONS={
                "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
                "CLIENT_CLASS": "django_redis.client.SentinelClient",
                "SENTINELS": [("127.0.0.1", port)],
                "CONNECTION_POOL_KWARGS": LOGIN,
            },
        )

    def test_appends_go_to_the_primary_also_when_it_is_another(
        self, embedded: tuple[EmbeddedRedis, int], plain: Redis, watching: Redis, of_sentinel: None
    ) -> None:
        other, port = server_with_port()

        async def main(plain_of_other: Redis) -> None:
            name_primary(watching, embedded[1])
            assert await append(1, 2) == set()
            assert plain.dbsize() > 0
            name_primary(watching, port)
            plain.client_kill_filter(_type="normal", skipme=True)
            await asyncio.sleep(0.01)
            assert await append(3, 4) == set()
            assert plain_of_other.dbsize() > 0

        with other, client_of(other) as plain_of_other:
            add_user(other)
            asyncio.run(main(plain_of_other))

    def test_primary_that_it_does_not_know_is_an_outage(self, of_sentinel: None) -> None:
        assert "No master found" in str(failure_of_append())

    def test_twin_has_the_settings_of_the_manager(self) -> None:
        options: dict[str, Any] = {"min_other_sentinels": 2, "force_master_ip": "127.0.0.2"}
        manager = redis.Sentinel(
            [("127.0.0.1", 1), ("127.0.0.1", 2)],
            sentinel_kwargs={"username": "watch", "socket_timeout": 3},
            **options,
        )

        async def its_manager(twin: Any) -> Any:
            return twin.connection_pool.sentinel_manager

        async def its_pool(twin: Any) -> tuple[bool, bool]:
            return twin.connection_pool.is_master, twin.connection_pool.check_connection

        with manager.slave_for(SERVICE, check_connection=True) as client:
            assert with_twin(client, its_pool) == (False, True)
        with manager.master_for(SERVICE) as client:
            assert with_twin(client, its_pool) == (True, False)
            twin = with_twin(client, its_manager)
        assert (twin.min_other_sentinels, twin._force_master_ip) == (2, "127.0.0.2")
        sentinels = [each.connection_pool.connection_kwargs for each in twin.sentinels]
        assert [each["port"] for each in sentinels] == [1, 2]
        assert {(each["username"], each["socket_timeout"]) for each in sentinels} == {("watch", 3)}


@pytest.mark.parametrize(
    "options",
    [{"connection_class": OwnConnection}, {"redis_connect_func": Connection.on_connect}],
    ids=["class", "function"],
)
def test_class_of_a_project_lets_a_thread_append(
    embedded: tuple[EmbeddedRedis, int],
    plain: Redis,
    use_cache: Callable[..., str],
    options: dict[str, Any],
) -> None:
    with Proxy(embedded[0].url) as proxy:
        alias = use_cache(
            f"redis://127.0.0.1:{proxy.port}/0", OPTIONS={"CONNECTION_POOL_KWARGS": options}
        )

        async def main() -> bool:
            threads = await append(*range(20))
            return client_of_loop(alias) is None and len(threads) > 0

        assert asyncio.run(main())
        assert bucket().take() == [*range(20)]
