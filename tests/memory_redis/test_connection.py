from functools import partial

import pytest
import redis

from django_jsonbuffer.memory_redis.connection import MemoryConnection, client_of
from django_jsonbuffer.memory_redis.server import MemoryRedis
from tests.memory_redis.comparing import Pair
from tests.server import Redis
from tests.threads import at_once


@pytest.fixture
def client() -> Redis:
    return client_of(MemoryRedis())


class TestReplies:
    def test_are_those_of_redis_py(self, client: Redis) -> None:
        assert client.ping() is True
        assert client.set("k", "é") is True
        assert client.get("k") == "é".encode()
        assert client.get("missing") is None
        assert client.set("k", 1, nx=True) is None
        assert client.hset("h", mapping={"a": 1, "b": b"\xff\r\n"}) == 2
        assert client.hgetall("h") == {b"a": b"1", b"b": b"\xff\r\n"}
        assert client.sadd("s", 1, 2) == 2
        assert client.smembers("s") == {b"1", b"2"}
        assert client.type("s") == b"set"
        assert [*client.scan_iter("h*")] == [b"h"]
        assert client.eval("return {1, {'x'}, false}", 0) == [1, [b"x"], None]

    def test_of_streams(self, client: Redis) -> None:
        id = client.xadd("x", {"a": 1})
        client.xgroup_create("x", "g", "0")
        assert client.xreadgroup("g", "c", {"x": ">"}) == [[b"x", [(id, {b"a": b"1"})]]]
        assert client.xpending("x", "g")["pending"] == 1
        assert client.xinfo_groups("x")[0]["last-delivered-id"] == id

    def test_that_are_large(self, client: Redis) -> None:
        value = b"\0" * 5_000_000
        client.set("k", value)
        assert client.get("k") == value
        assert client.getrange("k", 0, 9) == value[:10]

    def test_facts_of_the_server(self, client: Redis) -> None:
        assert client.info()["role"] == "master"
        assert client.config_get("save") == {}

    def test_dump_says_whether_a_value_has_changed(self, client: Redis) -> None:
        client.hset("k", "a", 1)
        before = client.dump("k")
        client.hset("k", "a", 1)
        assert client.dump("k") == before
        client.hset("k", "a", 2)
        assert client.dump("k") != before
        assert client.dump("missing") is None


class TestErrors:
    def test_are_those_of_redis_py(self, client: Redis) -> None:
        client.set("k", "x")
        with pytest.raises(redis.ResponseError, match=r"^WRONGTYPE Operation against a key"):
            client.llen("k")
        with pytest.raises(redis.ResponseError, match=r"^value is not an integer or out of range$"):
            client.incrby("k", 1)
        with pytest.raises(redis.exceptions.NoScriptError):
            client.evalsha("0" * 40, 0)
        with pytest.raises(redis.ResponseError, match=r"^unknown command 'NOSUCH'"):
            client.execute_command("NOSUCH")

    def test_leave_the_connection_usable(self, client: Redis) -> None:
        with pytest.raises(redis.ResponseError):
            client.execute_command("NOSUCH")
        assert client.ping()


class TestPipelines:
    def test_without_a_transaction(self, client: Redis) -> None:
        with client.pipeline(transaction=False) as pipeline:
            pipeline.set("k", 1).get("k").llen("k").append("k", "2")
            one, two, fault, four = pipeline.execute(raise_on_error=False)
        assert (one, two, four) == (True, b"1", 2)
        assert isinstance(fault, redis.ResponseError)

    def test_transaction(self, client: Redis) -> None:
        with client.pipeline(transaction=True) as pipeline:
            pipeline.set("k", 1).get("k")
            assert pipeline.execute() == [True, b"1"]

    def test_transaction_goes_on_after_an_error(self, client: Redis) -> None:
        with client.pipeline(transaction=True) as pipeline:
            pipeline.set("k", 1).llen("k").append("k", "2")
            one, fault, three = pipeline.execute(raise_on_error=False)
        assert (one, three) == (True, 2)
        assert isinstance(fault, redis.ResponseError)

    def test_replies_are_those_of_a_server(self, servers: Pair) -> None:
        for transaction in (False, True):
            with servers.client.pipeline(transaction=transaction) as pipeline:
                pipeline.set("k", 1).get("k").llen("k").hset("h", "a", 1).hgetall("h").delete("k")
                pipeline.execute(raise_on_error=False)
            servers.check()
        for command in ("EXEC", "DISCARD"):
            with pytest.raises(redis.ResponseError):
                servers.client.execute_command(command)
            servers.check()
        servers.client.flushall()

    def test_discarded_transaction_does_nothing(self) -> None:
        connection = MemoryConnection(server=MemoryRedis())
        replies = []
        for command in (["MULTI"], ["SET", "k", 1], ["DISCARD"], ["GET", "k"]):
            connection.send_command(*command)
            replies.append(connection.read_response())
        assert replies == [b"OK", b"QUEUED", b"OK", None]

    def test_watch_is_not_supported(self, client: Redis) -> None:
        with (
            client.pipeline() as pipeline,
            pytest.raises(redis.ResponseError, match="unknown command 'WATCH"),
        ):
            pipeline.watch("k")


def test_threads_share_a_client(client: Redis) -> None:
    def push(thread: int) -> None:
        for number in range(200):
            with client.pipeline() as pipeline:
                pipeline.rpush("all", f"{thread}:{number}").rpush(f"of:{thread}", number).execute()

    at_once([partial(push, n) for n in range(8)])
    assert client.llen("all") == 1600
    assert client.lrange("of:3", 0, -1) == [b"%d" % number for number in range(200)]


def test_clients_of_two_servers_share_nothing() -> None:
    one, other = client_of(MemoryRedis()), client_of(MemoryRedis())
    one.set("k", 1)
    assert other.get("k") is None
