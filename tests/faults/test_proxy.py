import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests.faults.proxy import Cut, Fault, Hold, Part, Proxy, at_first, at_random
from tests.server import Redis
from tests.test_embedded_redis import wait_until

INCREMENT = ("EVAL", "return redis.call('INCR', KEYS[1])", 1, "count")
REQUEST = (
    b"*4\r\n$4\r\nEVAL\r\n$34\r\nreturn redis.call('INCR', KEYS[1])\r\n$1\r\n1\r\n$5\r\ncount\r\n"
)


@pytest.fixture
def proxy(private_server: Redis) -> Iterator[Proxy]:
    path = private_server.get_connection_kwargs()["path"]
    with Proxy(f"unix://{path}") as proxy:
        yield proxy


@pytest.fixture
def connect(proxy: Proxy) -> Iterator[Callable[..., Redis]]:
    clients: list[Redis] = []

    def connect(**options: object) -> Redis:
        url = f"redis://127.0.0.1:{proxy.port}"
        clients.append(redis.Redis.from_url(url, socket_timeout=0.1, **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


class TestUnharmed:
    @pytest.mark.parametrize("protocol", [2, 3])
    def test_whatever_is_sent_and_replied(
        self, connect: Callable[..., Redis], protocol: int
    ) -> None:
        client = connect(protocol=protocol)
        big = b"\r\n$5\r\n" * 100_000
        client.set("big", big)
        assert client.get("big") == big
        assert client.get("missing") is None
        assert client.hgetall("missing") == {}
        assert client.config_get("maxmemory") == {"maxmemory": "0"}
        assert client.eval("return {1, {'a', {}}, false}", 0) == [1, [b"a", []], None]
        with pytest.raises(redis.ResponseError, match="mine"):
            client.eval("return redis.error_reply('mine')", 0)

    def test_pipeline(self, connect: Callable[..., Redis]) -> None:
        with connect().pipeline() as pipeline:
            for number in range(300):
                pipeline.rpush("numbers", number)
            assert pipeline.execute() == [*range(1, 301)]

    def test_server_on_a_port(self, proxy: Proxy, connect: Callable[..., Redis]) -> None:
        with Proxy(f"redis://127.0.0.1:{proxy.port}") as outer:
            client = redis.Redis.from_url(f"redis://127.0.0.1:{outer.port}")
            assert client.ping()
            client.close()

    def test_commands_that_are_not_chosen(
        self, proxy: Proxy, connect: Callable[..., Redis]
    ) -> None:
        client = connect()
        with proxy.under(lambda number: Cut("request")) as course:
            assert client.set("a", 1)
            assert course.seen == 0
            with pytest.raises(redis.ConnectionError):
                client.execute_command(*INCREMENT)
        assert client.execute_command(*INCREMENT) == 1
        assert (course.seen, course.done) == (1, 1)

    def test_commands_chosen_by_their_first_argument(
        self, proxy: Proxy, connect: Callable[..., Redis]
    ) -> None:
        client = connect()
        with proxy.under(lambda number: Cut("request"), commands=["a"]):
            assert client.set("b", 1)
            with pytest.raises(redis.ConnectionError):
                client.set("a", 1)


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "error", "count"),
        [
            (Cut("request"), redis.ConnectionError, None),
            (Cut("request", 40), redis.ConnectionError, None),
            (Cut("reply"), redis.ConnectionError, b"1"),
            (Cut("reply", 3), redis.ConnectionError, b"1"),
            (Hold("request"), redis.TimeoutError, None),
            (Hold("reply"), redis.TimeoutError, b"1"),
            (Hold("reply", 0.2), redis.TimeoutError, b"1"),
        ],
    )
    def test_strikes_once(
        self,
        proxy: Proxy,
        connect: Callable[..., Redis],
        private_server: Redis,
        fault: Fault,
        error: type[Exception],
        count: bytes | None,
    ) -> None:
        client = connect()
        with proxy.under(at_first(fault)) as course:
            with pytest.raises(error):
                client.execute_command(*INCREMENT)
            assert course.done == 1
            assert private_server.get("count") == count
            assert client.execute_command(*INCREMENT) == int(count or 0) + 1
        assert (course.seen, course.done) == (2, 1)

    def test_late_copy_is_delivered_when_the_client_has_gone(
        self, proxy: Proxy, connect: Callable[..., Redis], private_server: Redis
    ) -> None:
        client = connect()
        with proxy.under(at_first(Hold("request", 0.2))) as course:
            with pytest.raises(redis.TimeoutError):
                client.execute_command(*INCREMENT)
            client.close()
            assert private_server.get("count") is None
        wait_until(lambda: course.done == 1)
        assert private_server.get("count") == b"1"

    @pytest.mark.parametrize(
        ("part", "whole"), [("request", REQUEST), ("reply", b":1\r\n")], ids=["request", "reply"]
    )
    def test_cut_after_each_byte(
        self, proxy: Proxy, connect: Callable[..., Redis], part: Part, whole: bytes
    ) -> None:
        client = connect()
        for after in range(len(whole) + 1):
            with proxy.under(at_first(Cut(part, after))) as course:
                with suppress(redis.ConnectionError):
                    client.execute_command(*INCREMENT)
                assert course.done == 1
            client.close()  # it may not have noticed yet that its connection is cut
        with proxy.under(at_first(Cut(part, len(whole) + 1))) as course:
            carried_out = client.execute_command(*INCREMENT) - 1
        assert (course.seen, course.done) == (1, 0)
        # Of the requests that were cut, only the one that was cut after its last byte arrived.
        assert carried_out == (1 if part == "request" else len(whole) + 1)

    def test_server_that_is_away(self, tmp_path: Path) -> None:
        with Proxy(f"unix://{tmp_path}/nobody.sock") as proxy:
            client = redis.Redis.from_url(f"redis://127.0.0.1:{proxy.port}")
            with pytest.raises(redis.ConnectionError):
                client.ping()
            client.close()


class TestAtRandom:
    def test_same_seed_same_faults(self) -> None:
        shares: dict[Fault, float] = {Cut("reply"): 0.2, Hold("request"): 0.1}
        first, second = ([*map(at_random(seed=7, shares=shares), range(1000))] for _ in range(2))
        assert first == second
        assert 150 < first.count(Cut("reply")) < 250
        assert 60 < first.count(Hold("request")) < 140
        assert first != [*map(at_random(seed=8, shares=shares), range(1000))]


class TestEnd:
    def test_leaves_neither_thread_nor_connection(
        self, proxy: Proxy, connect: Callable[..., Redis], private_server: Redis
    ) -> None:
        before = {*threading.enumerate()}
        path = private_server.get_connection_kwargs()["path"]
        with Proxy(f"unix://{path}") as proxy:
            client = redis.Redis.from_url(f"redis://127.0.0.1:{proxy.port}", socket_timeout=0.1)
            client.ping()
            with (
                proxy.under(lambda number: Hold("request", 60)),
                pytest.raises(redis.TimeoutError),
            ):
                client.execute_command(*INCREMENT)
        assert {*threading.enumerate()} <= before
        wait_until(lambda: len(private_server.client_list()) == 1)
        client.close()
