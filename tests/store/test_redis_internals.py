"""Real use of each part of redis-py beyond its documented commands, so that a test fails when
redis-py changes it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, cast

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cache import CacheConfig
from redis.cluster import ClusterNode
from redis.connection import BlockingConnectionPool
from redis.retry import Retry

from django_jsonbuffer.store import redis_connections
from django_jsonbuffer.store.redis_blocking import execute_once
from django_jsonbuffer.store.redis_connections import close_idle
from django_jsonbuffer.store.redis_internals import (
    decodes,
    has_timeout,
    is_pool_exhausted,
    may_wait,
    parts_of_url,
    retries,
    was_not_sent,
    wrong_option,
)
from django_jsonbuffer.store.wire import PIECE_BYTES, packed
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import cluster
from tests.faults.proxy import Cut, Hold, Proxy, at_first
from tests.server import Redis
from tests.store.twins import PATIENT_SECONDS, TIMEOUT_SECONDS
from tests.test_embedded_redis import client_of, wait_until
from tests.test_faults import answering

pytestmark = pytest.mark.usefixtures("clients_may_cache")

KEY = "key"


def withretries(count: int) -> dict[str, Any]:
    return {"retry": Retry(NoBackoff(), count)}


KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "decoding": {"decode_responses": True},
    "retrying": withretries(3),
    "one connection": {"single_connection_client": True, **withretries(0)},
    "one connection, decoding": {
        "single_connection_client": True,
        "decode_responses": True,
        **withretries(0),
    },
    "one connection, retrying": {"single_connection_client": True, **withretries(3)},
    "caching": {"protocol": 3, "cache_config": CacheConfig()},
    "blocking pool": {},
}


@pytest.fixture(scope="module")
def proxied() -> Iterator[tuple[Proxy, Redis]]:
    """A proxy of a server, and a client that connects to the server directly."""
    with EmbeddedRedis() as embedded, Proxy(embedded.url) as proxy, client_of(embedded) as plain:
        yield proxy, plain


@pytest.fixture
def proxy(proxied: tuple[Proxy, Redis]) -> Proxy:
    return proxied[0]


@pytest.fixture
def plain(proxied: tuple[Proxy, Redis]) -> Redis:
    proxied[1].flushall()
    return proxied[1]


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[EmbeddedRedis]]:
    with cluster(nodes=2) as nodes:
        yield nodes


@pytest.fixture
def clustered(nodes: list[EmbeddedRedis]) -> Iterator[Redis]:
    with client_of(nodes[0]) as plain:
        port = plain.config_get("port")["port"]
    with redis.RedisCluster.from_url(f"redis://127.0.0.1:{port}") as client:
        yield client


@pytest.fixture
def connect(proxy: Proxy, plain: Redis) -> Iterator[Callable[..., Redis]]:
    """Makes a client that connects through the proxy."""
    with ExitStack() as stack:

        def connect(**options: Any) -> Redis:
            return stack.enter_context(_client(proxy, **options))

        yield connect


def _client(proxy: Proxy, **options: Any) -> Redis:
    return redis.Redis(
        **{"host": "127.0.0.1", "port": proxy.port, "socket_timeout": TIMEOUT_SECONDS, **options}
    )


@pytest.fixture(params=KINDS)
def client(
    request: pytest.FixtureRequest, proxy: Proxy, plain: Redis, timeout_seconds: float
) -> Iterator[Redis]:
    """One for each kind of client."""
    if request.param == "blocking pool":
        options = {"host": "127.0.0.1", "port": proxy.port, "socket_timeout": timeout_seconds}
        with closing(redis.Redis(connection_pool=BlockingConnectionPool(**options))) as client:
            yield client
            client.connection_pool.disconnect()
        return
    with _client(proxy, socket_timeout=timeout_seconds, **KINDS[request.param]) as client:
        yield client


def failure_of(call: Callable[[], object]) -> Exception:
    """The error of redis-py that a call raises."""
    with pytest.raises(redis.RedisError) as caught:
        call()
    return caught.value


def failure_while_handling(
    around: Exception, call: Callable[[], object]
) -> tuple[Exception, Exception]:
    """The error of a call that is made while another error is handled, and that error."""
    try:
        raise around
    except type(around):
        return failure_of(call), around


def run(client: Redis, script: str, *args: bytes, key: str = KEY) -> Any:
    """The reply of a script that begins with the name of the key."""
    return execute_once(client, packed("EVAL"), script.encode(), packed(1, key), *args, key=key)


def incremented(client: Redis) -> Any:
    return execute_once(client, packed("INCR"), KEY.encode(), key=KEY)


SET = "return redis.call('SET', KEYS[1], ARGV[1])"
GET = "return redis.call('GET', KEYS[1])"


class TestExecuteOnce:
    def test_sends_the_arguments_and_returns_bytes(self, client: Redis) -> None:
        """Also a client that decodes, and bytes that it could not decode."""
        value = b"\xff\r\n$\x00"
        assert run(client, SET, value) == b"OK"
        assert run(client, GET) == value
        assert execute_once(client, packed("APPEND", KEY, 12), key=KEY) == len(value) + 2

    def test_many_in_turn_each_have_their_own_reply(self, client: Redis) -> None:
        assert [incremented(client) for _ in range(20)] == [*range(1, 21)]
        assert client.execute_command("INCR", KEY) == 21
        assert incremented(client) == 22

    @pytest.mark.parametrize("fault", [Cut("reply"), Hold("reply")], ids=["cut", "timeout"])
    def test_lost_reply_lets_no_command_be_sent_again(
        self, client: Redis, proxy: Proxy, plain: Redis, fault: Cut | Hold
    ) -> None:
        assert incremented(client) == 1
        with proxy.under(at_first(fault), commands=["INCR"]) as course:
            error = failure_of(lambda: incremented(client))
        assert course.seen == 1
        assert plain.get(KEY) == b"2"
        assert isinstance(error, redis.ConnectionError | redis.TimeoutError)

    def test_late_reply_is_not_that_of_the_next_command(
        self, client: Redis, proxy: Proxy, plain: Redis
    ) -> None:
        assert incremented(client) == 1
        late = Hold("reply", TIMEOUT_SECONDS * 1.5)
        with proxy.under(at_first(late), commands=["INCR"]):
            failure_of(lambda: incremented(client))
            assert incremented(client) == 3
        assert client.execute_command("INCR", KEY) == 4

    def test_interrupt_leaves_no_reply_to_the_next_command(
        self, client: Redis, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert incremented(client) == 1
        one_of_its_own = client.connection is not None and not retries(client)
        connection: Any = client.connection
        if not one_of_its_own:
            close_idle(client)  # also the one that is kept for the next command
            connection = client.connection_pool.get_connection()
            client.connection_pool.release(connection)

        def interrupted(*args: Any, **options: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(connection, "read_response", interrupted)
            with pytest.raises(KeyboardInterrupt):
                incremented(client)
        if one_of_its_own:  # the callers close it
            close_idle(client)
            connection.disconnect()
        assert incremented(client) == 3

    @pytest.mark.parametrize("has_poll", [True, False])
    def test_kept_connection_is_not_used_when_the_server_has_closed_it(
        self,
        connect: Callable[..., Redis],
        plain: Redis,
        monkeypatch: pytest.MonkeyPatch,
        has_poll: bool,
    ) -> None:
        if not has_poll:
            monkeypatch.setattr(redis_connections, "select", object())
        client = connect()
        before = execute_once(client, packed("CLIENT", "ID"), key="")
        kept = vars(client.connection_pool)["_jsonbuffer_connection"]
        assert not kept.is_stale()
        plain.client_kill_filter(_id=str(before))

        def is_stale() -> bool:
            try:
                return bool(kept.is_stale())
            except redis.ConnectionError:
                return True

        wait_until(is_stale)
        assert execute_once(client, packed("CLIENT", "ID"), key="") != before

    def test_refusal_keeps_the_connection(self, connect: Callable[..., Redis]) -> None:
        client = connect(max_connections=1)
        before = execute_once(client, packed("CLIENT", "ID"), key="")
        for _ in range(3):
            error = failure_of(lambda: execute_once(client, packed("NONSENSE"), key=""))
            assert isinstance(error, redis.ResponseError)
        assert execute_once(client, packed("CLIENT", "ID"), key="") == before

    def test_pool_has_its_connection_back_after_an_error(
        self, connect: Callable[..., Redis], proxy: Proxy
    ) -> None:
        client = connect(max_connections=1)
        for _ in range(3):
            with proxy.under(at_first(Cut("reply")), commands=["INCR"]):
                failure_of(lambda: incremented(client))
        assert incremented(client) == 4

    def test_client_of_one_connection_has_no_other_used(
        self, connect: Callable[..., Redis], plain: Redis
    ) -> None:
        client = connect(single_connection_client=True, max_connections=1, **withretries(0))
        assert execute_once(client, packed("CLIENT", "ID"), key="") == client.client_id()

    def test_threads_of_one_client_have_their_own_replies(self, client: Redis) -> None:
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda: found.extend(incremented(client) for _ in range(50)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [*range(1, 201)]

    def test_client_that_caches_takes_no_reply_for_one_that_it_has_cached(
        self, connect: Callable[..., Redis], plain: Redis
    ) -> None:
        client = connect(**KINDS["caching"])
        plain.mset({"cached": "value", "other": "another"})
        for _ in range(3):
            assert client.get("cached") == b"value"
            assert run(client, GET, key="other") == b"another"
            assert client.get("cached") == b"value"
            assert client.connection_pool.cache.size == 1
        plain.set("cached", "changed")
        wait_until(lambda: client.get("cached") == b"changed")


class TestLargeCommand:
    @pytest.fixture
    def timeout_seconds(self) -> float:
        return PATIENT_SECONDS

    def test_of_several_pieces_arrives_whole(self, client: Redis, plain: Redis) -> None:
        value = bytes(range(256)) * (3 * PIECE_BYTES // 256) + b"end"
        execute_once(client, packed("SET", KEY), value, key=KEY)
        assert plain.get(KEY) == value


class TestExecuteOnceInACluster:
    def test_goes_to_the_node_of_the_key(
        self, clustered: Redis, nodes: list[EmbeddedRedis]
    ) -> None:
        for number in range(20):
            key = f"{{{number}}}"
            assert run(clustered, SET, b"\xff", key=key) == b"OK"
            assert run(clustered, GET, key=key) == b"\xff"
        with client_of(nodes[0]) as first, client_of(nodes[1]) as second:
            sizes = first.dbsize(), second.dbsize()
        assert sum(sizes) == 20
        assert all(sizes)

    def test_reply_is_bytes_though_the_client_decodes(self, nodes: list[EmbeddedRedis]) -> None:
        with client_of(nodes[0]) as plain:
            port = plain.config_get("port")["port"]
        url = f"redis://127.0.0.1:{port}"
        with redis.RedisCluster.from_url(url, decode_responses=True) as client:
            assert run(client, SET, b"\xff") == b"OK"
            assert run(client, GET) == b"\xff"

    def test_lost_reply_lets_no_command_be_sent_again(self) -> None:
        """The client itself would send it again, as it does with a command of its own."""
        with cluster() as [node], Proxy(node.url) as proxy, client_of(node) as plain:
            ports = proxy.port, plain.config_get("port")["port"]
            plain.config_set("cluster-announce-port", proxy.port)
            # Before redis-py 7.0, a client forgets the startup node that it cannot reach.
            startup_nodes = [ClusterNode("127.0.0.1", port) for port in ports]
            with redis.RedisCluster(
                startup_nodes=startup_nodes, dynamic_startup_nodes=False
            ) as client:
                assert incremented(client) == 1
                with proxy.under(at_first(Cut("reply")), commands=["INCR"]) as course:
                    failure_of(lambda: incremented(client))
                assert (course.seen, plain.get(KEY)) == (1, b"2")
                with proxy.under(at_first(Cut("reply")), commands=["INCR"]) as course:
                    assert client.execute_command("INCR", KEY) == 4
                assert course.seen == 2


class TestWasNotSent:
    @pytest.mark.parametrize(
        "where",
        [
            {"host": "127.0.0.1", "port": 1},
            {"unix_socket_path": "/nowhere/redis.sock"},
            {"host": "nowhere.invalid"},
        ],
        ids=["refused", "no socket", "no host"],
    )
    def test_without_a_connection(self, where: dict[str, Any]) -> None:
        with redis.Redis(**where, **withretries(0)) as client:
            error, around = failure_while_handling(OSError(), lambda: incremented(client))
        assert was_not_sent(error, around=around)
        assert was_not_sent(error, around=None)

    @pytest.mark.parametrize("fault", [Cut("reply"), Cut("request", 5), Hold("reply")], ids=str)
    def test_lost_command_or_reply_may_have_been(
        self, connect: Callable[..., Redis], proxy: Proxy, fault: Cut | Hold
    ) -> None:
        client = connect()
        with proxy.under(at_first(fault), commands=["INCR"]):
            error = failure_of(lambda: incremented(client))
        assert not was_not_sent(error, around=None)

    @pytest.mark.parametrize("fault", [Cut("reply"), Hold("reply")], ids=str)
    def test_error_that_the_caller_handles_says_nothing(
        self, connect: Callable[..., Redis], proxy: Proxy, fault: Cut | Hold
    ) -> None:
        client = connect()
        with proxy.under(at_first(fault), commands=["INCR"]):
            error, around = failure_while_handling(
                ConnectionRefusedError(), lambda: incremented(client)
            )
        assert not was_not_sent(error, around=around)

    def test_refused_by_its_type_of_value(self, client: Redis, plain: Redis) -> None:
        plain.lpush(KEY, "theirs")
        error = failure_of(lambda: incremented(client))
        assert was_not_sent(error, around=None)

    @pytest.mark.parametrize("password", [None, "wrong"])
    def test_refused_without_the_password(self, password: str | None) -> None:
        with EmbeddedRedis() as embedded, client_of(embedded) as plain:
            plain.config_set("requirepass", "right")
            options = {"password": password, **withretries(0)}
            with redis.Redis(unix_socket_path=embedded.socket, **options) as client:
                error = failure_of(lambda: incremented(client))
        assert isinstance(error, redis.AuthenticationError)
        assert was_not_sent(error, around=None)

    def test_refused_while_the_server_loads(self) -> None:
        loading = b"-LOADING Redis is loading the dataset in memory\r\n"
        options = {"protocol": 2, **withretries(0)}
        with answering(loading) as port, redis.Redis(port=port, **options) as client:
            error = failure_of(lambda: incremented(client))
        assert isinstance(error, redis.BusyLoadingError)
        assert was_not_sent(error, around=None)


class TestIsPoolExhausted:
    def test_when_all_connections_are_in_use(self, connect: Callable[..., Redis]) -> None:
        client = connect(max_connections=1)
        taken = client.connection_pool.get_connection()
        error = failure_of(lambda: incremented(client))
        assert is_pool_exhausted(error)
        assert may_wait(error)
        assert was_not_sent(error, around=None)
        client.connection_pool.release(taken)
        assert incremented(client) == 1

    def test_when_it_has_waited_for_one(self, proxy: Proxy, plain: Redis) -> None:
        options = {"host": "127.0.0.1", "port": proxy.port}
        pool: Any = BlockingConnectionPool(max_connections=1, timeout=0.01, **options)
        with closing(redis.Redis(connection_pool=pool)) as client:
            taken = pool.get_connection()
            error = failure_of(lambda: incremented(client))
            assert is_pool_exhausted(error)
            assert not may_wait(error)
            assert was_not_sent(error, around=None)
            pool.release(taken)
            assert incremented(client) == 1
            pool.disconnect()

    def test_not_when_the_server_is_away(self) -> None:
        with redis.Redis(port=1, **withretries(0)) as client:
            assert not is_pool_exhausted(failure_of(lambda: incremented(client)))

    def test_not_when_the_server_takes_no_more_clients(self) -> None:
        with EmbeddedRedis() as embedded, client_of(embedded) as plain:
            plain.config_set("maxclients", 1)
            with redis.Redis(unix_socket_path=embedded.socket, **withretries(0)) as client:
                assert not is_pool_exhausted(failure_of(lambda: incremented(client)))


class TestCloseIdle:
    def test_closes_those_that_are_not_in_use(
        self, connect: Callable[..., Redis], plain: Redis
    ) -> None:
        client = connect()
        pool = client.connection_pool
        used, idle = pool.get_connection(), pool.get_connection()
        ids = []
        for connection in (used, idle):
            connection.send_command("CLIENT", "ID")
            ids.append(str(connection.read_response()))
        pool.release(idle)
        close_idle(client)
        wait_until(lambda: ids[1] not in {each["id"] for each in plain.client_list()})
        used.send_command("CLIENT", "ID")
        assert str(used.read_response()) == ids[0]
        pool.release(used)
        assert incremented(client) == 1

    def test_leaves_the_client_usable(self, client: Redis) -> None:
        assert incremented(client) == 1
        close_idle(client)
        assert incremented(client) == 2

    def test_of_a_cluster_does_nothing(self, clustered: Redis) -> None:
        close_idle(clustered)
        assert clustered.ping()


class TestWrongOption:
    def test_is_the_one_that_redis_does_not_know(self, proxy: Proxy) -> None:
        with redis.Redis.from_url(f"redis://127.0.0.1:{proxy.port}?sokcet_timeout=5") as client:
            for call in (lambda: incremented(client), lambda: client.ping()):
                with pytest.raises(TypeError) as caught:
                    call()
                assert wrong_option(caught.value) == "'sokcet_timeout'"

    def test_is_empty_for_any_other_error(self, connect: Callable[..., Redis]) -> None:
        with pytest.raises(TypeError) as caught:
            len(1)  # type: ignore[arg-type]
        assert wrong_option(caught.value) == ""
        assert wrong_option(ValueError("unexpected keyword argument 'x'")) == ""
        assert wrong_option(failure_of(lambda: connect().execute_command("NONSENSE"))) == ""


class TestHasTimeout:
    @pytest.mark.parametrize("options", [{}, {"single_connection_client": True}], ids=str)
    def test_of_a_client_that_has_one_ends_its_waiting(self, options: dict[str, Any]) -> None:
        with answering(b"") as port:
            client = redis.Redis(port=port, protocol=2, socket_timeout=0.05, **withretries(0))
            with client:
                assert has_timeout(client)
                assert isinstance(failure_of(lambda: incremented(client)), redis.TimeoutError)

    def test_of_a_client_that_has_none(self, connect: Callable[..., Redis]) -> None:
        client = connect(socket_timeout=None)
        assert not has_timeout(client)
        connection = client.connection_pool.get_connection()
        assert connection._sock.gettimeout() is None
        client.connection_pool.release(connection)

    def test_by_default_is_that_of_the_version(self, proxy: Proxy) -> None:
        with redis.Redis(port=proxy.port) as client:
            connection = client.connection_pool.get_connection()
            assert has_timeout(client) == (connection._sock.gettimeout() is not None)
            client.connection_pool.release(connection)

    def test_by_default_of_a_url(self, proxy: Proxy) -> None:
        with redis.Redis.from_url(f"redis://127.0.0.1:{proxy.port}") as client:
            connection = client.connection_pool.get_connection()
            assert has_timeout(client) == (connection._sock.gettimeout() is not None)
            client.connection_pool.release(connection)

    def test_of_a_cluster(self, nodes: list[EmbeddedRedis]) -> None:
        with client_of(nodes[0]) as plain:
            port = plain.config_get("port")["port"]
        for timeout in (None, 5):
            options = {"host": "127.0.0.1", "port": port, "socket_timeout": timeout}
            with cast(Redis, redis.RedisCluster(**options)) as client:
                assert has_timeout(client) == (timeout is not None)

    def test_with_an_unknown_option(self) -> None:
        with redis.Redis.from_url("redis://127.0.0.1:1?sokcet_timeout=5") as client:
            with pytest.raises(TypeError) as caught:
                has_timeout(client)
            assert wrong_option(caught.value) == "'sokcet_timeout'"


class TestDecodes:
    def test_is_whether_a_reply_is_text(self, client: Redis, plain: Redis) -> None:
        plain.set(KEY, "é")
        reply = client.get(KEY)
        assert decodes(client) == isinstance(reply, str)
        assert reply in ("é", "é".encode())

    @pytest.mark.parametrize("decode", [False, True])
    def test_of_a_cluster(self, nodes: list[EmbeddedRedis], decode: bool) -> None:
        with client_of(nodes[0]) as plain:
            port = plain.config_get("port")["port"]
        with redis.RedisCluster(host="127.0.0.1", port=port, decode_responses=decode) as client:
            client.set(KEY, "é")
            assert decodes(client) == decode == isinstance(client.get(KEY), str)


class TestPartsOfURL:
    def test_are_those_to_which_a_client_connects(self, proxy: Proxy, plain: Redis) -> None:
        url = f"redis://127.0.0.1:{proxy.port}/3"
        parts = parts_of_url(url)
        assert parts is not None
        assert (parts["host"], parts["port"], parts["db"]) == ("127.0.0.1", proxy.port, 3)
        with redis.Redis.from_url(url) as client:
            client.set(KEY, "value")
        assert plain.info("keyspace")["db3"]["keys"] == 1

    def test_of_a_socket(self) -> None:
        parts = parts_of_url("unix:///run/redis.sock?db=2")
        assert parts is not None
        assert (parts["path"], parts["db"]) == ("/run/redis.sock", 2)

    def test_that_are_not_said_are_missing(self) -> None:
        parts = parts_of_url("rediss://example.org")
        assert parts is not None
        assert parts["host"] == "example.org"
        assert not {"port", "db", "path"} & set(parts)

    @pytest.mark.parametrize("text", ["", "127.0.0.1:6379", "http://a/1", "/run/redis.sock"])
    def test_of_any_other_text_are_none(self, text: str) -> None:
        assert parts_of_url(text) is None


class TestRetries:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            withretries(0),
            withretries(1),
            {"retry_on_error": [redis.ConnectionError], **withretries(1)},
            {"retry_on_error": [redis.TimeoutError]},
            {"single_connection_client": True, **withretries(0)},
            {"single_connection_client": True, **withretries(1)},
        ],
        ids=["default", "none", "one", "on error", "on timeout", "one connection", "one of one"],
    )
    def test_are_those_of_commands_of_the_client(
        self, connect: Callable[..., Redis], proxy: Proxy, options: dict[str, Any]
    ) -> None:
        client = connect(**options)
        sent: list[int] = []
        for fault in (Cut("reply"), Hold("reply")):
            client.ping()
            with proxy.under(at_first(fault), commands=["INCR"]) as course:
                try:
                    client.execute_command("INCR", KEY)
                except redis.RedisError:
                    close_idle(client)
                    if client.connection is not None:
                        client.connection.disconnect()
            sent.append(course.seen)
        assert retries(client) == (max(sent) > 1)

    @pytest.mark.parametrize("option", ["retry_on_timeout=yes"])
    def test_by_url(self, proxy: Proxy, plain: Redis, option: str) -> None:
        url = f"redis://127.0.0.1:{proxy.port}?socket_timeout={TIMEOUT_SECONDS}&{option}"
        with redis.Redis.from_url(url) as client:
            client.ping()
            with proxy.under(at_first(Hold("reply")), commands=["INCR"]) as course:
                assert client.execute_command("INCR", KEY) == 2
            assert course.seen == 2
            assert retries(client)
