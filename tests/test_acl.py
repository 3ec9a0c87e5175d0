import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.acl import ROLES
from django_jsonbuffer.catalog import deliveries, histories, known_buckets, statuses
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BucketFull, BufferUnavailable
from django_jsonbuffer.limits import Limits
from django_jsonbuffer.states import State, read_states
from django_jsonbuffer.store import catalog_entries, pending
from django_jsonbuffer.store.claims import Reason
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.dead_letters import expire
from django_jsonbuffer.store.links import BLOCKING
from django_jsonbuffer.store.messages import Messages
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.registry import register
from django_jsonbuffer.store.server import server_facts
from django_jsonbuffer.store.status import BucketStatus
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.store.waiting import waiting
from tests.prepared import keys_of, store_of
from tests.server import Redis
from tests.stamps import a_stamp

NOW = timedelta(0)


def printed(*args: str) -> str:
    out = StringIO()
    call_command("redis_acl", *args, stdout=out)
    return out.getvalue().strip()


@pytest.fixture
def become(private_server: Redis, use_cache: Callable[..., str]) -> Callable[..., None]:
    """Creates the user of the printed command, and lets the buffer connect as that user."""
    path = private_server.get_connection_kwargs()["path"]

    def become(*args: str, without: str = "") -> None:
        command = printed(*args, "--user", "app").replace("PASSWORD", "s3cret")
        private_server.execute_command(*command.split())
        if without:
            private_server.execute_command("ACL", "SETUSER", "app", f"-{without}")
        use_cache(f"unix://app:s3cret@{path}?db=0")

    return become


def append(bucket: Bucket, *events: Any, **limits: Any) -> None:
    store_of(bucket.name).append(
        [json.dumps(event).encode() for event in events],
        a_stamp(),
        Limits(**{"batch_size": 2, "batch_bytes": 1000, **limits}),
    )


def produce(plain: Redis) -> None:
    """Every path that an append may take."""
    bucket = Bucket("orders", batch_size=2)
    store = store_of("orders")
    bucket.extend([1, 2, 3])
    for value in ("[4]", " [5] ", "rubbish", "[]"):
        plain.set(bucket.key, value)
        bucket.append(6)
    plain.delete(store.keys.stats)
    bucket.extend([7, 8, 9])
    with suppress(BucketFull):
        append(bucket, 1, max_pending=1)
    append(bucket, 1, max_pending=1, overflow="drop_newest")
    append(bucket, 1, max_pending=3, overflow="drop_oldest")
    append(bucket, 1, 2, 3, max_pending=3, overflow="drop_oldest")
    finish(pending.count_lost(store, 1, BLOCKING))


def drain(plain: Redis) -> None:
    """Every path that a drain may take. Other clients have appended the events, or a spill has."""
    produce(plain)
    plain.flushdb()
    bucket = Bucket("orders", lease=NOW, max_attempts=1)
    key, batches = bucket.key, keys_of("orders").batches

    def refuse(batch: Batch) -> None:
        if 2 in batch:
            raise ValueError
        batch.reject(batch[0], "no")

    bucket.processor(refuse)
    for value in ("[1,2,3]", " [5] ", "rubbish", "[]"):
        plain.set(key, value)
        bucket.drain()
    bucket.drain()
    plain.set(key, json.dumps(["x" * 20_000]))
    assert bucket.status().open == 1
    plain.set(key, "[1,2]")
    plain.xadd(batches, {"foreign": "x"})
    bucket.drain()
    Bucket("orders").processor(lambda batch: None)
    plain.set(key, "[1]")
    held = store_of("orders")
    held.seal()
    claim = held.claim("worker", lease=NOW, linger=None).claim
    assert claim is not None
    held.renew(claim)
    held.release(claim, lease=NOW, backoff=NOW, reason=Reason.FAILURE)
    held.claim("another", lease=NOW, linger=None)
    held.beat("another", lease=NOW)
    plain.hset(held.keys.workers, "gone", 1)
    plain.rpush(held.keys.history, *["1 0 0 0 0"] * 300)
    held.beat("another", lease=NOW)
    assert len(set(plain.lrange(held.keys.history, 0, -1))) == 2
    assert plain.llen(held.keys.history) == 240
    held.retire("another", lease=NOW)
    assert [*register("worker", Names(["orders"]), configuration())] == ["worker"]
    register("worker", None, configuration())
    assert waiting(["orders"], configuration()) == {"orders": True}
    plain.delete(key)
    assert catalog_entries.names(configuration()) <= {"orders"}
    with Messages(configuration()) as messages:
        messages.read()
        Bucket("orders").append(1)
        assert any(messages.read() == "oorders" for _ in range(20))
    bucket.status()
    bucket.drain()
    assert expire(held, max_dead=1, dead_after=NOW) > 0
    plain.set(key, "[1]")
    held.seal()
    statuses([bucket])


def operate(plain: Redis) -> None:
    produce(plain)
    drain(plain)
    bucket = Bucket("orders")
    bucket.extend([1, 2])
    bucket.peek()
    bucket.processor(lambda batch: [batch.reject(event, "no") for event in batch])
    bucket.drain()
    bucket.dead.replay(bucket.dead.page()[-1])
    bucket.dead.discard_all()
    bucket.take()
    bucket.purge()
    bucket.pause()
    bucket.resume()
    assert deliveries(bucket, 100).batches == []
    [history] = histories([bucket])
    assert len(history) == 240
    pending.set_aside(store_of("orders"), [b"x"], error="no")
    known_buckets()
    assert server_facts(configuration()) is not None


TOLERATED = {
    "+eval",  # needed if the server does not know a script
    "+script|load",
    "+select",  # of a database other than 0
    "+config|get",  # which hosted servers do not have
    "+publish",  # without it, workers look for themselves
    "+exists",  # without it, the status of each bucket is read by itself
    "+ping",  # which only finds out sooner whether a silent server is there
}

WORK: dict[str, Callable[[Redis], None]] = {
    "producer": produce,
    "drainer": drain,
    "operator": operate,
}


@pytest.mark.parametrize("role", WORK)
class TestRole:
    def test_may_do_its_work(
        self, become: Callable[..., None], private_server: Redis, role: str
    ) -> None:
        become(role)
        WORK[role](private_server)

    def test_may_do_its_work_with_one_bucket_only(
        self, become: Callable[..., None], private_server: Redis, role: str
    ) -> None:
        become(role, "orders")
        WORK[role](private_server)
        for name in ("order", "orders2", "orders:batches"):
            with pytest.raises(BufferUnavailable, match=r"(?i)permission|access"):
                Store(name, configuration()).seal()

    def test_may_use_the_shards_of_its_bucket(
        self, become: Callable[..., None], private_server: Redis, role: str
    ) -> None:
        become(role, "orders")
        bucket = Bucket("orders", shards=4)
        for key in range(20):
            bucket.append(1, ordering_key=key)
        if role == "drainer":
            bucket.processor(lambda batch: None)
            assert Bucket("orders").drain().processed == 20
        if role == "operator":
            assert Bucket("orders").status().pending == 20
        with pytest.raises(BufferUnavailable, match=r"(?i)permission|access"):
            Bucket("order", shards=4).append(1, ordering_key=1)

    def test_that_may_not_read_the_shards_does_its_work_without_them(
        self, become: Callable[..., None], private_server: Redis, role: str
    ) -> None:
        """A user that an earlier version of this app has printed."""
        become(role, "orders")
        own = [f"~{keys_of('orders').open}", f"~{keys_of('orders').open}:*"]
        shared = [f"~{configuration().prefix}:{name}" for name in ("buckets", "workers")]
        private_server.execute_command("ACL", "SETUSER", "app", "resetkeys", *own, *shared)
        WORK[role](private_server)

    def test_may_do_nothing_else(
        self, become: Callable[..., None], private_server: Redis, role: str
    ) -> None:
        become(role)
        path = private_server.get_connection_kwargs()["path"]
        with redis.Redis(unix_socket_path=path, username="app", password="s3cret") as user:
            for command in (
                ["FLUSHALL"],
                ["KEYS", "*"],
                ["CONFIG", "SET", "maxmemory", "1"],
                ["SHUTDOWN"],
                ["ACL", "LIST"],
                ["GET", "another:key"],
            ):
                with pytest.raises(redis.ResponseError, match=r"(?i)permission|access"):
                    user.execute_command(*command)


def test_status_of_a_user_that_may_not_write(
    become: Callable[..., None], private_server: Redis
) -> None:
    bucket = Bucket("orders")
    become("operator", without="hset")
    private_server.set(bucket.key, json.dumps(["x" * 20_000, 1]))
    assert [bucket.status().pending for _ in range(2)] == [2, 2]
    [status] = statuses([bucket])
    assert isinstance(status, BucketStatus)
    assert (status.pending, status.bytes) == (2, 20_007)
    assert not private_server.exists(keys_of("orders").stats)


@pytest.mark.usefixtures("unhurried")
def test_operator_of_one_bucket_sees_it_beside_those_that_it_may_not_read(
    become: Callable[..., None], private_server: Redis
) -> None:
    for name in ("orders", "views"):
        Bucket(name).append(1)
    become("operator", "orders")
    orders, views = read_states([Bucket("orders"), Bucket("views")])
    assert (orders.state, views.state) == (State.FLOWING, State.UNREADABLE)
    assert "no permissions" in views.reasons[0].lower()
    assert histories([Bucket("views")]) == [[]]
    with pytest.raises(BufferUnavailable):
        statuses([Bucket("views")])


def test_statuses_are_read_without_exists(
    become: Callable[..., None], private_server: Redis
) -> None:
    for name in ("orders", "views"):
        Bucket(name).append(1)
    become("operator", without="exists")
    found = statuses([Bucket(name) for name in ("orders", "unused", "views")])
    assert [isinstance(each, BucketStatus) and each.pending for each in found] == [1, 0, 1]


@pytest.mark.parametrize(
    ("role", "permission"),
    [
        (name, permission)
        for name, role in ROLES.items()
        for permission in role.permissions()[1:]
        if permission not in TOLERATED
    ],
)
def test_each_permission_is_needed(
    become: Callable[..., None], private_server: Redis, role: str, permission: str
) -> None:
    become(role, without=permission[1:])
    with pytest.raises((BufferUnavailable, AssertionError, redis.ResponseError)):
        WORK[role](private_server)


class TestCommand:
    def test_prints_a_command_for_redis(self) -> None:
        assert printed("producer", "orders").startswith(
            f"ACL SETUSER jsonbuffer-producer reset on >PASSWORD ~{configuration().prefix}:buckets "
        )

    def test_of_buckets_that_wait_has_the_command_that_waits(
        self, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"orders": {"durability": "replicated"}})
        for role in ROLES:
            assert "+wait" in printed(role, "orders", "views").split()
            assert "+wait" not in printed(role, "views").split()
        configure(BUCKETS={"orders": {"durability": "fsynced"}})
        assert "+waitaof" in printed("producer", "orders").split()

    @pytest.mark.usefixtures("nothing_declared")
    def test_of_all_buckets_looks_at_those_that_are_declared(
        self, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"orders": {"durability": "replicated"}})
        assert "+wait" not in printed("producer").split()
        Bucket("orders").processor(print)
        Bucket("broken").processor(print)
        configure(BUCKETS={"orders": {"durability": "replicated"}, "broken": {"lease": 1}})
        assert "+wait" in printed("producer").split()

    def test_bad_name(self) -> None:
        with pytest.raises(CommandError, match="cannot be the name"):
            printed("producer", "{x}")

    def test_unknown_role(self) -> None:
        with pytest.raises(CommandError, match="invalid choice"):
            printed("king")
