import hashlib
import json
import os
import threading
import time
from collections import Counter
from datetime import timedelta
from functools import partial

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.memory_redis.errors import ErrorReply
from django_jsonbuffer.memory_redis.server import MemoryRedis
from tests.threads import at_once

THREADS = 8
EACH = 250


@pytest.fixture
def server() -> MemoryRedis:
    return MemoryRedis()


class TestCommands:
    def test_are_found_in_any_case(self, server: MemoryRedis) -> None:
        assert server.execute([b"set", b"k", b"1"]) == "OK"
        assert server.execute([b"xgroup", b"Create", b"s", b"g", b"0", b"MKSTREAM"]) == "OK"

    @pytest.mark.parametrize("command", [[b"NOSUCH"], [b"XGROUP", b"NOSUCH"], [b"WATCH", b"k"]])
    def test_that_are_unknown(self, server: MemoryRedis, command: list[bytes]) -> None:
        with pytest.raises(ErrorReply, match=r"ERR unknown command '.*' of a Redis in memory"):
            server.execute(command)

    @pytest.mark.parametrize(
        ("command", "name"),
        [
            *(([b"GET"], "get"), ([b"GET", b"a", b"b"], "get"), ([b"HSET", b"k", b"x"], "hset")),
            *(([b"XINFO", b"GROUPS"], "xinfo|groups"), ([b"EVALSHA", b"x"], "evalsha")),
        ],
    )
    def test_with_too_few_or_too_many_arguments(
        self, server: MemoryRedis, command: list[bytes], name: str
    ) -> None:
        fault = f"ERR wrong number of arguments for '{name}' command"
        with pytest.raises(ErrorReply) as caught:
            server.execute(command)
        assert str(caught.value) == fault

    def test_mistake_within_a_command_is_no_error_reply(
        self, server: MemoryRedis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(server._commands, b"GET", lambda key: key + 1)
        with pytest.raises(TypeError, match="can't concat"):
            server.execute([b"GET", b"k"])

    def test_transaction_goes_on_after_an_error(self, server: MemoryRedis) -> None:
        one, fault, two = server.execute_all(
            [[b"SET", b"k", b"1"], [b"LLEN", b"k"], [b"APPEND", b"k", b"2"]]
        )
        assert (one, two) == ("OK", 2)
        assert isinstance(fault, ErrorReply)

    def test_clock(self) -> None:
        server = MemoryRedis(clock=lambda: 5_000_007)
        assert server.execute([b"TIME"]) == [b"5", b"7"]


def test_clock_is_that_of_the_machine(server: MemoryRedis) -> None:
    seconds, microseconds = map(int, server.execute([b"TIME"]))
    assert abs(seconds + microseconds / 1e6 - time.time()) < 5


class TestScripts:
    SOURCE = b"return ARGV[1]"
    SHA = hashlib.sha1(SOURCE).hexdigest().encode()

    def test_are_unknown_until_they_are_loaded(self, server: MemoryRedis) -> None:
        with pytest.raises(ErrorReply, match="NOSCRIPT"):
            server.execute([b"EVALSHA", self.SHA, b"0", b"x"])
        assert server.execute([b"SCRIPT", b"EXISTS", self.SHA]) == [0]
        assert server.execute([b"SCRIPT", b"LOAD", self.SOURCE]) == self.SHA
        assert server.execute([b"SCRIPT", b"EXISTS", self.SHA, b"y"]) == [1, 0]
        assert server.execute([b"EVALSHA", self.SHA.upper(), b"0", b"x"]) == b"x"

    def test_are_loaded_by_eval(self, server: MemoryRedis) -> None:
        server.execute([b"EVAL", self.SOURCE, b"0", b"x"])
        assert server.execute([b"EVALSHA", self.SHA, b"0", b"x"]) == b"x"

    def test_are_forgotten(self, server: MemoryRedis) -> None:
        server.execute([b"SCRIPT", b"LOAD", self.SOURCE])
        server.execute([b"SCRIPT", b"FLUSH"])
        assert server.execute([b"SCRIPT", b"EXISTS", self.SHA]) == [0]

    @pytest.mark.parametrize("count", [b"2", b"-1", b"x"])
    def test_with_a_wrong_number_of_keys(self, server: MemoryRedis, count: bytes) -> None:
        with pytest.raises(ErrorReply, match=r"ERR (Number of keys|value is not an integer)"):
            server.execute([b"EVAL", self.SOURCE, count, b"x"])


class TestFork:
    def test_child_has_a_copy(self, server: MemoryRedis) -> None:
        server.execute([b"SET", b"k", b"1"])
        assert self._in_child(server, lambda: server.execute([b"APPEND", b"k", b"2"])) == b"12"
        assert server.execute([b"GET", b"k"]) == b"1"

    def test_child_does_not_wait_for_a_thread_of_its_parent(self, server: MemoryRedis) -> None:
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with server._lock:
                held.set()
                done.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        try:
            assert self._in_child(server, lambda: server.execute([b"SET", b"k", b"x"])) == b"x"
        finally:
            done.set()
            thread.join()

    def _in_child(self, server: MemoryRedis, call: object) -> bytes:
        """What `GET k` replies in a forked process after the call."""
        assert callable(call)
        reading, writing = os.pipe()
        if (pid := os.fork()) == 0:
            try:
                call()
                os.write(writing, server.execute([b"GET", b"k"]))
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(pid, 0)
        with os.fdopen(reading, "rb") as file:
            return file.read()


@pytest.mark.parametrize("server_kind", ["memory"], indirect=True)
class TestThreads:
    def test_append_each_event_once_in_the_order_of_each_thread(self, server_kind: str) -> None:
        bucket = Bucket("orders", batch_size=100)

        def append(thread: int) -> None:
            for number in range(EACH):
                bucket.append([thread, number])

        at_once([partial(append, n) for n in range(THREADS)])
        taken = bucket.take()
        assert len(taken) == THREADS * EACH
        for thread in range(THREADS):
            numbers = [number for of, number in taken if of == thread]
            assert numbers == [*range(EACH)]

    def test_drain_each_event_once_while_others_append(self, server_kind: str) -> None:
        bucket = Bucket("orders", batch_size=20, lease=timedelta(minutes=5))
        processed, is_over = Counter[str](), threading.Event()

        @bucket.processor
        def store(batch: Batch) -> None:
            processed.update(json.dumps(event) for event in batch)

        def append(thread: int) -> None:
            for number in range(EACH):
                bucket.append([thread, number])

        def drain() -> None:
            while not is_over.is_set():
                bucket.drain()

        drains = [threading.Thread(target=drain) for _ in range(THREADS // 2)]
        for thread in drains:
            thread.start()
        at_once([partial(append, n) for n in range(THREADS // 2)])
        is_over.set()
        for thread in drains:
            thread.join()
        bucket.drain()
        status = bucket.status()
        assert len(processed) == THREADS // 2 * EACH
        assert {*processed.values()} == {1}
        assert (status.pending, status.in_flight, status.dead) == (0, 0, 0)
        assert status.processed == status.appended == THREADS // 2 * EACH
