"""A server that is away, full, loading or read-only: one clear error, and nothing lost."""

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.catalog import known_buckets, statuses
from django_jsonbuffer.exceptions import (
    BufferMisconfigured,
    BufferOutOfMemory,
    BufferUnavailable,
)
from example_project.embedded_redis import EmbeddedRedis
from tests import server
from tests.server import Redis

CALLS: dict[str, Callable[[Bucket], object]] = {
    "append": lambda bucket: bucket.append(1),
    "extend": lambda bucket: bucket.extend([1, 2]),
    "drain": lambda bucket: bucket.drain(),
    "status": lambda bucket: bucket.status(),
    "peek": lambda bucket: bucket.peek(),
    "take": lambda bucket: bucket.take(),
    "purge": lambda bucket: bucket.purge(),
    "statuses": lambda bucket: statuses([bucket]),
    "known_buckets": lambda bucket: known_buckets(),
}
WRITES = ["append", "extend", "drain", "take", "purge"]


@pytest.fixture
def bucket() -> Bucket:
    bucket = Bucket("orders", batch_size=2, append_timeout=timedelta(milliseconds=200))
    bucket.processor(lambda batch: None)
    return bucket


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
class TestAway:
    @pytest.mark.usefixtures("unreachable")
    def test_says_so_and_keeps_the_cause(
        self, bucket: Bucket, call: Callable[[Bucket], object]
    ) -> None:
        with pytest.raises(BufferUnavailable, match="Redis cannot be reached") as caught:
            call(bucket)
        assert isinstance(caught.value.__cause__, redis.ConnectionError)

    def test_alias_that_is_missing(
        self,
        bucket: Bucket,
        call: Callable[[Bucket], object],
        configure: Callable[..., None],
    ) -> None:
        configure(CACHE="nowhere")
        with pytest.raises(BufferMisconfigured, match="CACHES has no alias 'nowhere'"):
            call(bucket)

    @pytest.mark.parametrize(
        "cache",
        [
            {"BACKEND": "no.such.Backend", "LOCATION": "redis://127.0.0.1:1"},
            {"BACKEND": "django_redis.cache.RedisCache"},
            {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "127.0.0.1:6379"},
        ],
        ids=["no backend", "no location", "no url"],
    )
    def test_alias_that_cannot_be_used(
        self,
        bucket: Bucket,
        call: Callable[[Bucket], object],
        configure: Callable[..., None],
        settings: Settings,
        cache: dict[str, str],
    ) -> None:
        settings.CACHES = {**settings.CACHES, "odd": cache}
        configure(CACHE="odd")
        with pytest.raises(BufferMisconfigured, match="'odd'"):
            call(bucket)

    def test_wrong_password_is_not_shown(
        self,
        bucket: Bucket,
        call: Callable[[Bucket], object],
        private_server: Redis,
        use_cache: Callable[..., str],
    ) -> None:
        private_server.config_set("requirepass", "right")
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://:hunter2@{path}?db=0")
        with pytest.raises(BufferUnavailable) as caught:
            call(bucket)
        assert "hunter2" not in str(caught.value)


class TestRefusals:
    """Errors of a server that is reachable and refuses to serve."""

    @pytest.mark.parametrize("name", CALLS)
    def test_no_permission(self, bucket: Bucket, private_server: Redis, name: str) -> None:
        private_server.execute_command("ACL", "SETUSER", server.USER, "-eval", "-evalsha", "-@set")
        with pytest.raises(BufferUnavailable, match=r"(?i)permission"):
            CALLS[name](bucket)

    @pytest.mark.parametrize("name", CALLS)
    def test_no_connection_left(self, bucket: Bucket, private_server: Redis, name: str) -> None:
        private_server.config_set("maxclients", 1)
        with pytest.raises(BufferUnavailable):
            CALLS[name](bucket)

    @pytest.mark.parametrize("name", CALLS)
    def test_busy_with_a_script(self, bucket: Bucket, private_server: Redis, name: str) -> None:
        private_server.config_set("busy-reply-threshold", 1)
        busy = private_server.connection_pool.get_connection()
        busy.send_command("EVAL", "while true do end", 0)
        time.sleep(0.1)
        try:
            with pytest.raises(BufferUnavailable, match=r"(?i)busy"):
                CALLS[name](bucket)
        finally:
            private_server.script_kill()

    @pytest.mark.parametrize("name", [*WRITES, "status", "peek"])
    @pytest.mark.parametrize("reply", [b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"HTTP/1.1 400\r\n\r\n"])
    def test_what_answers_is_no_redis(
        self, bucket: Bucket, use_cache: Callable[..., str], reply: bytes, name: str
    ) -> None:
        with answering(reply) as port:
            use_cache(f"redis://127.0.0.1:{port}/0?protocol=2&socket_timeout=1")
            with pytest.raises(BufferUnavailable):
                CALLS[name](bucket)

    @pytest.mark.parametrize("name", CALLS)
    def test_server_that_never_answers(
        self, bucket: Bucket, use_cache: Callable[..., str], name: str
    ) -> None:
        with answering(b"") as port:
            use_cache(f"redis://127.0.0.1:{port}/0?protocol=2&socket_timeout=0.1")
            with pytest.raises(BufferUnavailable, match=r"(?i)time"):
                CALLS[name](bucket)


@contextmanager
def answering(reply: bytes) -> Iterator[int]:
    """A program that gives the same answer to everything. Yields its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while self.request.recv(65536):
                    self.request.sendall(reply)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever, args=[0.05])
        thread.start()
        try:
            yield listening.server_address[1]
        finally:
            listening.shutdown()
            thread.join()


class TestReadOnly:
    @pytest.mark.parametrize("name", WRITES)
    def test_refuses_and_keeps_everything(
        self, bucket: Bucket, private_server: Redis, name: str
    ) -> None:
        bucket.extend([1, 2, 3])
        private_server.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(BufferUnavailable, match=r"(?i)read.?only"):
            CALLS[name](bucket)
        private_server.execute_command("REPLICAOF", "NO", "ONE")
        assert bucket.take() == [1, 2, 3]


class TestLoading:
    @pytest.fixture
    def loading_server(self, tmp_path: Path, use_cache: Callable[..., str]) -> Iterator[Redis]:
        """A server that takes more than a second to load its saved data."""
        with (
            EmbeddedRedis("--dir", str(tmp_path), "--enable-debug-command", "yes") as embedded,
            redis.Redis.from_url(embedded.url) as plain,
            redis.Redis.from_url(embedded.url) as loader,
        ):
            use_cache(embedded.url)
            Bucket("orders").append("before")
            plain.mset({f"filler-{number}": "x" * 100 for number in range(3000)})
            plain.config_set("loading-process-events-interval-bytes", 1024)
            plain.config_set("key-load-delay", 500)
            connection = loader.connection_pool.get_connection()
            connection.send_command("DEBUG", "RELOAD")
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                try:
                    plain.get("filler-1")
                except redis.BusyLoadingError:
                    break
            yield plain
            plain.config_set("key-load-delay", 0)
            connection.read_response()

    def test_refuses_and_keeps_everything(self, bucket: Bucket, loading_server: Redis) -> None:
        for name in WRITES:
            with pytest.raises(BufferUnavailable, match=r"(?i)loading"):
                CALLS[name](bucket)
        loading_server.config_set("key-load-delay", 0)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                assert bucket.take() == ["before"]
                break
            except BufferUnavailable:
                time.sleep(0.05)
        else:
            pytest.fail("still loading")


class TestOutOfMemory:
    @pytest.fixture
    def full_server(self, private_server: Redis) -> Redis:
        Bucket("orders", batch_size=2).extend([1, 2, 3])
        private_server.script_flush()
        private_server.config_set("maxmemory", 1)
        return private_server

    @pytest.mark.parametrize("name", ["append", "extend"])
    @pytest.mark.usefixtures("full_server")
    def test_append_is_refused_whole(self, bucket: Bucket, name: str) -> None:
        before = bucket.status()
        with pytest.raises(BufferOutOfMemory, match="maxmemory"):
            CALLS[name](bucket)
        after = bucket.status()
        assert (after.pending, after.bytes) == (before.pending, before.bytes)
        assert bucket.peek() == [1, 2, 3]

    @pytest.mark.usefixtures("full_server")
    def test_first_append_of_a_new_bucket_is_refused(self) -> None:
        with pytest.raises(BufferOutOfMemory):
            Bucket("another").append(1)

    @pytest.mark.usefixtures("full_server")
    def test_drain_goes_on(self, bucket: Bucket) -> None:
        got: list[object] = []
        bucket.processor(got.extend)
        assert bucket.drain().processed == 3
        assert got == [1, 2, 3]
        assert bucket.status().batches == 0

    @pytest.mark.usefixtures("full_server")
    def test_failed_batch_is_released(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: 1 / 0)
        assert bucket.drain().failed == 4
        assert bucket.status().pending == 3

    @pytest.mark.usefixtures("full_server")
    def test_take_goes_on(self, bucket: Bucket) -> None:
        assert bucket.take() == [1, 2, 3]

    @pytest.mark.usefixtures("full_server")
    def test_purge_goes_on(self, bucket: Bucket) -> None:
        assert bucket.purge() == 3

    @pytest.mark.usefixtures("full_server")
    def test_open_batch_that_lingered_is_claimed(self, bucket: Bucket) -> None:
        got: list[object] = []
        bucket.processor(got.extend)
        assert watched(bucket, linger=timedelta(0)) == 2
        assert got == [1, 2, 3]

    @pytest.mark.parametrize(
        "call",
        [
            Bucket.drain,
            Bucket.take,
            Bucket.purge,
            lambda bucket: bucket._definition.parts.store.seal(),
            lambda bucket: watched(bucket, linger=timedelta(0)),
        ],
        ids=["drain", "take", "purge", "seal", "watch"],
    )
    def test_rubbish_is_set_aside(
        self, bucket: Bucket, full_server: Redis, call: Callable[[Bucket], object]
    ) -> None:
        full_server.config_set("maxmemory", 0)
        bucket.take()
        full_server.set(bucket.key, "rubbish")
        full_server.config_set("maxmemory", 1)
        call(bucket)
        assert bucket.status().dead == 1
        assert not full_server.exists(bucket.key)

    @pytest.mark.parametrize("value", ["[1]", " [1] ", "rubbish", "[]", "{}"])
    def test_append_is_refused_whatever_is_open(
        self, bucket: Bucket, full_server: Redis, value: str
    ) -> None:
        full_server.config_set("maxmemory", 0)
        full_server.set(bucket.key, value)
        full_server.config_set("maxmemory", 1)
        with pytest.raises(BufferOutOfMemory):
            bucket.append(2)
        assert full_server.get(bucket.key) == value.encode()
        assert bucket.status().dead == 0


def watched(bucket: Bucket, *, linger: timedelta) -> int:
    """Drain with `watch` until there is nothing to claim. Returns the number of batches."""
    with Bucket(bucket.name, linger=linger).drain_steps(watch=True) as drain:
        return sum(iter(drain.step, False))


class TestRestart:
    def test_connection_that_broke_is_made_anew(
        self, bucket: Bucket, tmp_path: Path, use_cache: Callable[..., str]
    ) -> None:
        embedded = EmbeddedRedis(
            *("--dir", str(tmp_path)),
            # The server is killed. With everysec, the last writes may not be on the disk yet.
            *("--appendonly", "yes", "--appendfsync", "always"),
        )
        use_cache(embedded.url)
        with embedded:
            bucket.append(1)
        with pytest.raises(BufferUnavailable):
            bucket.append(2)
        with embedded:
            time.sleep(0.2)
            bucket.append(3)
            assert bucket.take() == [1, 3]
