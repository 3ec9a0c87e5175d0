from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from traceback import format_exception
from typing import Any

import pytest
import redis

from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import (
    AppendUndecided,
    BufferMisconfigured,
    BufferOutOfMemory,
    BufferUnavailable,
    JSONBufferError,
    KeyOccupied,
)
from django_jsonbuffer.store.clients import clients
from django_jsonbuffer.store.errors import ask, call, not_redis
from example_project.embedded_redis import EmbeddedRedis
from tests import server
from tests.faults.proxy import Cut, Fault, Hold, Proxy, at_first
from tests.server import Redis
from tests.test_embedded_redis import wait_until
from tests.test_faults import answering

OURS = "jsonbuffer"


def raised_by(*command: object, cache: str = OURS, **asked: Any) -> JSONBufferError:
    """The error of a command that Redis refuses or that does not reach it."""
    with pytest.raises(JSONBufferError) as caught:
        ask(cache, lambda client: client.execute_command(*command), **asked)
    return caught.value


def raise_(error: BaseException) -> None:
    raise error


class TestAsk:
    def test_gives_the_client(self, client_of_server: Redis, prefix: str) -> None:
        client_of_server.sadd(f"{prefix}:buckets", "orders")
        assert ask(OURS, lambda client: client.smembers(f"{prefix}:buckets")) == {b"orders"}

    @server.one_server
    def test_keeps_the_error_of_the_driver_as_the_cause(self) -> None:
        error = raised_by("GET")
        assert isinstance(error, BufferUnavailable)
        assert isinstance(error.__cause__, redis.ResponseError)
        assert "Redis refused a command: " in str(error)

    def test_does_not_show_what_was_sent(self) -> None:
        error = raised_by("NONSENSE", "a secret event")
        shown = "".join(format_exception(error))
        assert "NONSENSE" in str(error)
        assert "secret" not in shown

    def test_does_not_show_a_reply_that_redis_py_does_not_understand(
        self, use_cache: Callable[..., str]
    ) -> None:
        """Redis-py's own parser quotes it. It may be the rest of a reply that was read in part."""
        with answering(b'{"a":"secret event"}\r\n') as port:
            url = f"redis://127.0.0.1:{port}/0?protocol=2&socket_timeout=5"
            parser = {"PARSER_CLASS": "redis._parsers._RESP2Parser"}
            error = raised_by("GET", "a", cache=use_cache(url, OPTIONS=parser))
        assert "Protocol Error" in str(error)
        assert "secret" not in "".join(format_exception(error))

    def test_says_which_key_has_another_type(self, client_of_server: Redis, prefix: str) -> None:
        client_of_server.set(f"{prefix}:key", "theirs")
        command = ("SADD", f"{prefix}:key", "x")
        of_bucket = raised_by(*command, name="orders")
        assert isinstance(of_bucket, KeyOccupied)
        assert "A key for bucket 'orders' holds" in str(of_bucket)
        assert f"The key '{prefix}:key' holds" in str(raised_by(*command, key=f"{prefix}:key"))

    def test_says_that_the_memory_is_full(self, private_server: Redis) -> None:
        private_server.config_set("maxmemory", 1)
        cache = configuration().cache
        for command in (("SET", "a", "b"), ("EVAL", "return redis.call('SET', 'a', 'b')", 0)):
            error = raised_by(*command, cache=cache, name="orders")
            assert isinstance(error, BufferOutOfMemory)
            assert "for bucket 'orders'" in str(error)

    def test_of_an_option_that_redis_does_not_know(self, use_cache: Callable[..., str]) -> None:
        separator = "&" if "?" in server.APP_URL else "?"
        url = f"{server.APP_URL}{separator}sokcet_timeout=5&max_connections=1"
        alias = use_cache(url)
        for _ in range(3):
            with pytest.raises(BufferMisconfigured, match="'sokcet_timeout'"):
                ask(alias, lambda client: client.ping())

    def test_turns_any_other_error_into_one_of_ours(self) -> None:
        """A connection that another thread closes raises an AttributeError, or anything else."""
        cause = AttributeError("'NoneType' object has no attribute 'sendall'")
        with pytest.raises(BufferUnavailable, match="failed with AttributeError") as caught:
            ask(OURS, lambda client: raise_(cause), "orders")
        assert caught.value.__cause__ is cause
        assert caught.value.may_be_done
        assert caught.value.may_be_repeated
        assert not caught.value.is_unreachable

    @pytest.mark.parametrize(
        ("error", "raised"),
        [(ValueError(), BufferUnavailable), (KeyboardInterrupt(), KeyboardInterrupt)],
        ids=repr,
    )
    def test_closes_what_is_idle_after_any_other_error(
        self, private_server: Redis, error: BaseException, raised: type[BaseException]
    ) -> None:
        """A reply may be on its way, which the next user of the connection would read."""
        Bucket("orders").append(1)
        ids = {each["id"] for each in private_server.client_list()}
        others = ids - {str(private_server.client_id())}
        assert others
        with pytest.raises(raised):
            ask(configuration().cache, lambda client: raise_(error))
        wait_until(lambda: others.isdisjoint(each["id"] for each in private_server.client_list()))
        assert Bucket("orders").peek() == [1]


class TestCall:
    def test_waits_for_a_connection(self, use_cache: Callable[..., str]) -> None:
        with EmbeddedRedis() as embedded:
            alias = use_cache(f"{embedded.url}&max_connections=1")
            client: Any = clients[alias]
            taken = [client.connection_pool.get_connection()]

            def question() -> Any:
                try:
                    return client.ping()
                finally:
                    while taken:
                        client.connection_pool.release(taken.pop())

            assert call(question, client, alias, patience=timedelta(minutes=1))


class TestMayBeDone:
    def fail(self, cache: str, *, around: Exception | None = None) -> BufferUnavailable:
        try:
            if around:
                raise around
            error = raised_by("INCR", "key", cache=cache)
        except ConnectionRefusedError:
            error = raised_by("INCR", "key", cache=cache)
        assert isinstance(error, BufferUnavailable)
        return error

    @server.one_server
    def test_is_false_of_a_refused_command(self) -> None:
        error = raised_by("GET")
        assert isinstance(error, BufferUnavailable)
        assert not error.may_be_done
        assert not error.is_unreachable

    @pytest.mark.usefixtures("unreachable")
    def test_is_false_without_a_connection(self) -> None:
        error = self.fail(configuration().cache)
        assert not error.may_be_done
        assert error.is_unreachable

    @pytest.mark.parametrize("around", [None, ConnectionRefusedError()], ids=repr)
    @pytest.mark.parametrize("fault", [Cut("reply"), Hold("reply")], ids=str)
    def test_is_true_of_a_lost_reply(
        self, use_cache: Callable[..., str], fault: Fault, around: Exception | None
    ) -> None:
        """Whatever error the caller handled before."""
        with EmbeddedRedis() as embedded, Proxy(embedded.url) as proxy:
            alias = use_cache(f"redis://127.0.0.1:{proxy.port}?socket_timeout=0.2")
            with proxy.under(at_first(fault), commands=["INCR"]):
                error = self.fail(alias, around=around)
        assert error.may_be_done
        assert error.is_unreachable

    def test_is_true_of_a_reply_that_makes_no_sense(self) -> None:
        assert not_redis("orders").may_be_done
        assert "answered for bucket 'orders' is not Redis" in str(not_redis("orders"))
        assert "answered is not Redis" in str(not_redis())

    def test_of_a_server_that_loads_is_false_and_it_is_reachable(
        self, use_cache: Callable[..., str]
    ) -> None:
        with answering(b"-LOADING Redis is loading the dataset in memory\r\n") as port:
            alias = use_cache(f"redis://127.0.0.1:{port}/0?protocol=2&socket_timeout=5")
            error = self.fail(alias)
        assert not error.may_be_done
        assert not error.is_unreachable

    def test_without_a_free_connection_is_false_and_the_server_is_reachable(
        self, use_cache: Callable[..., str]
    ) -> None:
        with EmbeddedRedis() as embedded:
            alias = use_cache(f"{embedded.url}&max_connections=1")
            client = clients[alias]
            taken = client.connection_pool.get_connection()
            with pytest.raises(BufferUnavailable) as caught:
                call(client.ping, client, alias, patience=timedelta(milliseconds=10))
            error = caught.value
            client.connection_pool.release(taken)
        assert not error.may_be_done
        assert not error.is_unreachable

    def test_of_a_wrong_password_is_false(
        self, private_server: Redis, use_cache: Callable[..., str]
    ) -> None:
        private_server.config_set("requirepass", "right")
        path = private_server.get_connection_kwargs()["path"]
        error = self.fail(use_cache(f"unix://:hunter2@{path}?db=0"))
        assert "refuses the login" in str(error)
        assert "hunter2" not in "".join(format_exception(error))
        assert not error.may_be_done


class TestStopped:
    """Redis before 7.0 runs a script up to the command that its user may not run."""

    STOPPED = (
        b"-ERR Error running script (call to f_0): @user_script:9: @user_script: 9: "
        b"The user executing the script can't run this command or subcommand \r\n"
    )

    def test_may_be_done_and_may_not_be_repeated(self, use_cache: Callable[..., str]) -> None:
        with answering(self.STOPPED) as port:
            alias = use_cache(f"redis://127.0.0.1:{port}/0?protocol=2&socket_timeout=5")
            error = raised_by("EVALSHA", "0", 0, cache=alias)
        assert isinstance(error, BufferUnavailable)
        assert error.may_be_done
        assert not error.may_be_repeated
        assert "manage.py redis_acl" in str(error)

    def test_append_is_neither_repeated_nor_spilled(
        self, use_cache: Callable[..., str], tmp_path: Path
    ) -> None:
        with answering(self.STOPPED) as port:
            use_cache(f"redis://127.0.0.1:{port}/0?protocol=2&socket_timeout=5")
            with pytest.raises(AppendUndecided):
                Bucket("orders", on_unavailable="spill", spill_dir=tmp_path).append(1)
        assert [*tmp_path.iterdir()] == []


class TestFailure:
    def test_interrupted_command_leaves_no_reply_to_the_next(
        self, private_server: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*args: Any, **options: Any) -> None:
            raise KeyboardInterrupt

        bucket = Bucket("orders")
        bucket.extend([1, 2])
        bucket.peek()  # so that the server knows the script
        # So that the reply comes long after the client has given the connection back.
        private_server.execute_command("CLIENT", "PAUSE", 200)
        with monkeypatch.context() as patch:
            patch.setattr(redis.Redis, "parse_response", interrupted)
            with pytest.raises(KeyboardInterrupt):
                bucket.peek()
        assert bucket.status().pending == 2
