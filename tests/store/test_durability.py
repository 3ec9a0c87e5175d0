"""Appends that wait until a replica, or the disk, has them: on real servers."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.acl import ROLES
from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import (
    AppendUndecided,
    BucketFull,
    BufferMisconfigured,
    JSONBufferError,
)
from django_jsonbuffer.store.durability import wait_of
from django_jsonbuffer.store.server import OLDEST_THAT_FSYNCS, server_facts
from tests.library.models import Author, Tag
from tests.replicas import Pair, pair
from tests.server import Redis, both_servers, one_server
from tests.test_embedded_redis import wait_until
from tests.threads import at_once

SHORT = timedelta(seconds=0.1)
PATIENT = timedelta(seconds=20)

Append = Callable[..., None]


def extend(bucket: Bucket, *events: Any) -> None:
    bucket.extend(events)


def aextend(bucket: Bucket, *events: Any) -> None:
    asyncio.run(bucket.aextend(events))


both_sides = pytest.mark.parametrize("append", [extend, aextend])


def retry(error: AppendUndecided) -> None:
    error.retry()


def aretry(error: AppendUndecided) -> None:
    asyncio.run(error.aretry())


def undecided(call: Callable[..., object], *args: Any) -> AppendUndecided:
    with pytest.raises(AppendUndecided) as caught:
        call(*args)
    return caught.value


def replicated(**options: Any) -> Bucket:
    return Bucket("orders", **{"durability": "replicated", "append_timeout": SHORT, **options})


@pytest.fixture(scope="module")
def started() -> Iterator[Pair]:
    with pair() as started:
        yield started


@pytest.fixture
def servers(started: Pair, use_cache: Callable[..., str]) -> Pair:
    started.wait_for_replica()
    started.primary.flushall()
    started.primary.config_resetstat()
    use_cache(started.url)
    return started


class TestReplicated:
    @both_sides
    def test_replica_has_the_events_when_the_append_returns(
        self, servers: Pair, append: Append
    ) -> None:
        bucket = replicated(append_timeout=PATIENT)
        for number in range(1, 50):
            append(bucket, number)
            open_batch = servers.replica.get(bucket.key)
            assert open_batch.endswith(b"%d]" % number)

    @both_sides
    def test_script_that_the_server_does_not_know(self, servers: Pair, append: Append) -> None:
        servers.primary.script_flush()
        append(replicated(append_timeout=PATIENT), 1)
        assert servers.replica.get(replicated().key) == b"[1]"

    @pytest.mark.parametrize(("append", "again"), [(extend, retry), (aextend, aretry)])
    def test_append_without_an_answer_of_the_replica_is_undecided(
        self, servers: Pair, append: Append, again: Callable[..., None]
    ) -> None:
        append(replicated(append_timeout=PATIENT), 0)
        bucket = replicated()
        with servers.without_replica():
            error = undecided(append, bucket, 1, 2)
            assert "No replica has confirmed the append to bucket 'orders' in time" in str(error)
            assert not error.is_unreachable
            undecided(again, error)
        wait_until(lambda: servers.primary.wait(1, 100) == 1)
        again(error)
        assert servers.replica.get(bucket.key) == b"[0,1,2]"
        assert bucket.take() == [0, 1, 2]

    @pytest.mark.parametrize(("append", "again"), [(extend, retry), (aextend, aretry)])
    def test_retry_on_another_connection_waits_for_the_append(
        self, servers: Pair, append: Append, again: Callable[..., None]
    ) -> None:
        """A connection that has written nothing yet would have nothing to wait for."""
        bucket = replicated()
        with servers.without_replica():
            error = undecided(append, bucket, 1)
            for _ in range(3):
                servers.primary.client_kill_filter(_type="normal", skipme=True)
                undecided(again, error)

    @both_sides
    def test_append_without_a_replica_is_undecided(self, servers: Pair, append: Append) -> None:
        servers.replica.replicaof("NO", "ONE")
        wait_until(lambda: servers.primary.info("replication")["connected_slaves"] == 0)
        undecided(append, replicated(), 1)

    @both_sides
    def test_sends_again_until_the_replica_is_back(self, servers: Pair, append: Append) -> None:
        bucket = replicated(append_timeout=PATIENT)
        servers.replica.replicaof("NO", "ONE")
        back = threading.Thread(target=servers.wait_for_replica)
        back.start()
        append(bucket, 1)
        assert servers.replica.get(bucket.key) == b"[1]"
        back.join()

    @both_sides
    def test_append_that_stores_nothing_needs_no_replica(
        self, servers: Pair, append: Append
    ) -> None:
        bucket = replicated(max_pending=1)
        with servers.without_replica(), pytest.raises(BucketFull):
            append(bucket, 1, 2)

    def test_other_buckets_do_not_wait(self, servers: Pair) -> None:
        with servers.without_replica():
            Bucket("views").append(1)
        assert "cmdstat_wait" not in servers.primary.info("commandstats")

    @both_sides
    def test_appends_go_on_after_one_that_is_undecided(self, servers: Pair, append: Append) -> None:
        """Redis has answered, so the circuit breaker stays closed."""
        with servers.without_replica():
            undecided(append, replicated(), 1)
            append(Bucket("views"), 1)

    @both_sides
    def test_user_without_the_permission_to_wait(
        self, servers: Pair, use_cache: Callable[..., str], append: Append
    ) -> None:
        rules = ["reset", "on", ">s3cret", "~*", *ROLES["producer"].permissions()]
        servers.primary.execute_command("ACL", "SETUSER", "site", *rules)
        use_cache(servers.url.replace("unix://", "unix://site:s3cret@"))
        assert "redis_acl" in str(undecided(append, replicated(), 1))
        servers.primary.execute_command("ACL", "SETUSER", "site", "+wait")
        append(replicated(append_timeout=PATIENT), 2)

    def test_threads_share_a_wait(self, servers: Pair) -> None:
        bucket = replicated(append_timeout=PATIENT)
        at_once([partial(bucket.append, number) for number in range(20)])
        commands = servers.primary.info("commandstats")
        assert commands["cmdstat_wait"]["calls"] <= commands["cmdstat_evalsha"]["calls"] + 1
        assert sorted(bucket.take()) == [*range(20)]

    def test_tasks_share_a_wait(self, servers: Pair) -> None:
        bucket = replicated(append_timeout=PATIENT)

        async def main() -> None:
            await asyncio.gather(*(bucket.aappend(number) for number in range(20)))

        asyncio.run(main())
        assert servers.primary.info("commandstats")["cmdstat_wait"]["calls"] <= 3
        assert sorted(bucket.take()) == [*range(20)]

    def test_one_retry_settles_all_that_left_together(self, servers: Pair) -> None:
        bucket = replicated()

        async def main() -> list[Any]:
            calls = [bucket.aappend(number) for number in range(9)]
            return await asyncio.gather(*calls, return_exceptions=True)

        with servers.without_replica():
            errors = asyncio.run(main())
        assert {type(error) for error in errors} == {AppendUndecided}
        wait_until(lambda: servers.primary.wait(1, 100) == 1)
        for error in errors:
            error.retry()
        assert sorted(bucket.take()) == [*range(9)]

    @pytest.mark.django_db(transaction=True)
    def test_recorded_change_waits(self, servers: Pair) -> None:
        bucket = replicated(append_timeout=PATIENT, on_unavailable="raise")
        bucket.record(Author, fields=["name"])
        Author.objects.create(name="Ann")
        assert b"Ann" in servers.replica.get(bucket.key)
        replicated(on_unavailable="raise").record(Tag)
        with servers.without_replica(), pytest.raises(AppendUndecided):
            Tag.objects.create(name="long")


class TestSpill:
    @both_sides
    def test_keeps_what_is_not_confirmed_until_a_replica_has_it(
        self, servers: Pair, spilling: Spill, tmp_path: Path, append: Append
    ) -> None:
        bucket = replicated(on_unavailable="spill", spill_dir=tmp_path)
        bucket.processor(print)
        with servers.without_replica():
            append(bucket, 1)
            append(bucket, 2)
            assert spilling.holds(bucket.key)
            bucket.pause()
            bucket.drain()
            spilling._holds.clear()
            assert spilling.holds(bucket.key)
        wait_until(lambda: servers.primary.wait(1, 100) == 1)
        bucket.drain()
        spilling._holds.clear()
        assert not spilling.holds(bucket.key)
        assert servers.replica.get(bucket.key) == b"[1,2]"


class TestFsynced:
    @pytest.fixture
    def bare(self, private_server: Redis, use_cache: Callable[..., str]) -> Redis:
        """A server whose user may run any command."""
        use_cache(f"unix://{private_server.get_connection_kwargs()['path']}?db=0")
        return private_server

    @pytest.fixture
    def server(self, bare: Redis) -> Redis:
        bare.config_set("appendonly", "yes")
        return bare

    @pytest.fixture
    def knows_command(self, server: Redis) -> bool:
        facts = server_facts(configuration())
        return bool(facts and facts.version >= OLDEST_THAT_FSYNCS)

    @both_sides
    def test_file_has_the_events_when_the_append_returns(
        self, server: Redis, append: Append, knows_command: bool
    ) -> None:
        bucket = Bucket("orders", durability="fsynced")
        if not knows_command:
            with pytest.raises(BufferMisconfigured, match=r"older than Redis 7\.2"):
                append(bucket, 1)
            return
        folder = Path(
            server.config_get("dir")["dir"], server.config_get("appenddirname")["appenddirname"]
        )
        for policy in ("always", "everysec"):
            server.config_set("appendfsync", policy)
            append(bucket, policy)
            assert policy.encode() in b"".join(file.read_bytes() for file in folder.iterdir())

    @both_sides
    def test_server_without_the_file_is_misconfigured(self, bare: Redis, append: Append) -> None:
        bucket = Bucket("orders", durability="fsynced", append_timeout=PATIENT)
        with pytest.raises(BufferMisconfigured, match="The events of this append are stored"):
            append(bucket, 1)
        assert bucket.take() == [1]

    def test_append_that_does_not_reach_the_disk_is_undecided(
        self, server: Redis, knows_command: bool, settings: Settings
    ) -> None:
        server.config_set("appendfsync", "no")
        bucket = Bucket("orders", durability="fsynced", append_timeout=SHORT)
        with pytest.raises(JSONBufferError) as caught:
            bucket.append(1)
        if knows_command:
            assert isinstance(caught.value, AppendUndecided)
            assert "has not confirmed" in str(caught.value)


@both_servers
@one_server  # it has no replica
@pytest.mark.parametrize("durability", ["replicated", "fsynced"])
def test_redis_in_memory_confirms_each_append(server_kind: str, durability: str) -> None:
    bucket = Bucket("orders", durability=durability, append_timeout=SHORT)
    if server_kind == "memory":
        bucket.append(1)
    else:
        with pytest.raises(JSONBufferError):
            bucket.append(1)
    assert bucket.take() == [1]


class TestWait:
    @pytest.mark.parametrize(
        ("patience", "timeout", "wait_ms"),
        [
            (5, None, 5000),
            (5, 2, 1500),
            (5, 0.2, 100),
            (0.3, 2, 300),
            (0, 2, 100),
            (-1, None, 100),
            (5, 0.001, 1),
        ],
    )
    def test_leaves_time_for_the_reply(
        self, patience: float, timeout: float | None, wait_ms: int
    ) -> None:
        command = wait_of("replicated", timedelta(seconds=patience))(timeout)
        assert command.args == ("WAIT", 1, wait_ms)

    def test_for_the_disk_lasts_longer_than_a_second(self) -> None:
        command = wait_of("fsynced", timedelta(0))(None)
        assert command.args == ("WAITAOF", 1, 0, 1100)
