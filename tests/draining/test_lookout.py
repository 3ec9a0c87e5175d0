"""The lookout: what a watching worker learns of its buckets, and how soon."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.draining import lookout as module
from django_jsonbuffer.draining.lookout import Lookout, Sight
from django_jsonbuffer.draining.presence import Presence
from django_jsonbuffer.draining.schedule import Kind
from django_jsonbuffer.draining.wakeups import Wakeups
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store import messages
from django_jsonbuffer.store.keys import wake_channel
from django_jsonbuffer.store.messages import Messages
from django_jsonbuffer.store.patterns import Names
from tests.server import Redis, servers

NAMES = ("carts", "orders", "tenant-*")


@pytest.fixture
def looking() -> Iterator[Callable[..., Lookout]]:
    """Makes a lookout. With `listens`, it has begun and gets messages."""
    made: list[Lookout] = []

    def looking(*names: str, listens: bool = False, interval: float = 0.001) -> Lookout:
        serves = Names(names or NAMES)
        lookout = Lookout(
            configuration(),
            serves,
            accepts=serves.__contains__,
            interval_seconds=interval,
            wake=lambda: None,
        )
        made.append(lookout)
        if listens:
            lookout.begin()
            wait_until(lambda: lookout._wakeups.is_listening)
        return lookout

    yield looking
    for lookout in made:
        lookout.end()


def wait_until(happened: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (result := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return result


def next_sight(lookout: Lookout, *, is_certain: bool) -> Sight:
    """The next one of a message, which is certain, or of a question."""

    def look() -> Sight | None:
        if not is_certain:
            lookout.ask()
        sights = [*lookout.look()]
        return next((each for each in sights if (each.ends == Kind.HELD) == is_certain), None)

    sight: Sight = wait_until(look)
    return sight


class TestQuestion:
    """Without messages, as with a Redis in memory, the lookout asks."""

    def test_finds_what_waits(self, looking: Callable[..., Lookout]) -> None:
        lookout = looking()
        lookout.ask()
        assert [*lookout.look()] == []
        Bucket("orders").append(1)
        Bucket("views").append(1)
        sight = next_sight(lookout, is_certain=False)
        assert sight[:1] == ("orders",)
        assert not sight.lingers

    def test_comes_again_after_the_interval(self, looking: Callable[..., Lookout]) -> None:
        lookout = looking(listens=True)
        lookout._wakeups.end()
        wait_until(lambda: not lookout._wakeups.is_listening)
        Bucket("orders").append(1)

        def sights() -> list[Sight]:
            return [*lookout.look()]

        assert {each.name for each in wait_until(sights)} == {"orders"}

    def test_finds_new_buckets_of_a_pattern(
        self, looking: Callable[..., Lookout], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_CATALOG_SECONDS", 0.0)
        lookout = looking()
        lookout.ask()
        assert [*lookout.names] == ["carts", "orders"]
        for name in ("tenant-7", "other-7"):
            Bucket(name).append(1)
        assert next_sight(lookout, is_certain=False).name == "tenant-7"
        assert [*lookout.names] == ["carts", "orders", "tenant-7"]

    def test_is_about_a_part_of_the_buckets_while_there_are_messages(
        self, looking: Callable[..., Lookout], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [f"b{number}" for number in range(10)]
        monkeypatch.setattr(module, "MOST_ASKED", 4)
        lookout = looking(*names)
        assert lookout._next_to_ask() == names
        lookout._wakeups.is_listening = True
        asked = [lookout._next_to_ask() for _ in range(5)]
        assert asked == [names, names[:4], names[4:8], names[8:], names[:4]]
        lookout._wakeups.is_listening = False
        assert lookout._next_to_ask() == names

    def test_that_the_user_may_not_ask_lets_the_worker_look_at_each(
        self, looking: Callable[..., Lookout], use_cache: Callable[..., str], private_server: Redis
    ) -> None:
        prefix = configuration().prefix
        rules = ["on", ">x", f"~{prefix}:{{orders}}*", "+@all"]
        private_server.execute_command("ACL", "SETUSER", "limited", *rules)
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://limited:x@{path}?db=0")
        lookout = looking("orders", "carts")
        lookout.ask()
        assert [each.name for each in lookout.look()] == ["orders", "carts"]

    def test_that_cannot_reach_redis(
        self, looking: Callable[..., Lookout], use_cache: Callable[..., str]
    ) -> None:
        use_cache("redis://127.0.0.1:1/0")
        lookout = looking("orders")
        lookout.ask()
        with pytest.raises(BufferUnavailable):
            [*lookout.look()]


@pytest.mark.real_server
class TestMessage:
    """Messages come much earlier than the next question."""

    def test_tells_of_an_open_batch(self, looking: Callable[..., Lookout]) -> None:
        lookout = looking(listens=True, interval=3600)
        before = time.monotonic()
        Bucket("orders").append(1)
        sight = next_sight(lookout, is_certain=True)
        assert (sight.name, sight.lingers) == ("orders", True)
        assert before <= sight.since <= time.monotonic()

    def test_tells_of_a_sealed_batch_whatever_was_heard_before(
        self, looking: Callable[..., Lookout]
    ) -> None:
        lookout = looking(listens=True, interval=3600)
        bucket = Bucket("orders", batch_size=3)
        bucket.append(1)
        wait_until(lambda: "orders" in lookout._wakeups._heard)
        bucket.extend([2, 3])
        wait_until(lambda: lookout._wakeups._heard["orders"].is_sealed)
        assert not next_sight(lookout, is_certain=True).lingers

    def test_tells_of_new_buckets_of_a_pattern(self, looking: Callable[..., Lookout]) -> None:
        lookout = looking(listens=True, interval=3600)
        for name in ("other-7", "tenant-7"):
            Bucket(name).append(1)
        assert wait_until(lambda: [*lookout.look()])[0].name == "tenant-7"
        assert "tenant-7" in lookout.names

    def test_of_a_bucket_that_this_database_does_not_have_is_ignored(
        self, looking: Callable[..., Lookout], client_of_server: Redis
    ) -> None:
        lookout = looking(listens=True, interval=3600)
        client_of_server.publish(wake_channel(configuration().prefix), "otenant-of-others")
        Bucket("tenant-7").append(1)
        assert wait_until(lambda: [*lookout.look()])[0].name == "tenant-7"
        assert "tenant-of-others" not in lookout.names

    @pytest.mark.parametrize("rules", [["-subscribe"], ["resetchannels"]])
    def test_that_the_user_may_not_hear_lets_the_worker_ask_about_all(
        self,
        looking: Callable[..., Lookout],
        use_cache: Callable[..., str],
        private_server: Redis,
        rules: list[str],
    ) -> None:
        user = ["on", ">x", "allkeys", "allchannels", "+@all", *rules]
        private_server.execute_command("ACL", "SETUSER", "limited", *user)
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://limited:x@{path}?db=0")
        lookout = looking()
        lookout.begin()
        time.sleep(0.2)
        assert not lookout._wakeups.is_listening

    def test_tells_of_a_replay_and_of_the_end_of_a_pause(
        self, looking: Callable[..., Lookout]
    ) -> None:
        orders = Bucket("orders", batch_size=1)
        orders.append(1)
        orders.processor(lambda batch: batch.reject(1, "no"))
        orders.drain()
        carts = Bucket("carts")
        carts.pause()
        lookout = looking(listens=True, interval=3600)
        orders.dead.replay_all()
        assert next_sight(lookout, is_certain=True).name == "orders"
        carts.resume()
        assert next_sight(lookout, is_certain=True).name == "carts"

    def test_is_not_sent_by_a_usual_append(
        self, looking: Callable[..., Lookout], client_of_server: Redis
    ) -> None:
        bucket = Bucket("orders")
        bucket.append(1)

        def messages() -> int:
            stats = [each.info("commandstats") for each in servers(client_of_server)]
            return sum(its["cmdstat_publish"]["calls"] for its in stats if "cmdstat_publish" in its)

        before = messages()
        for number in range(10):
            bucket.append(number)
        assert messages() == before

    def test_wakes_the_worker(self) -> None:
        woken: list[int] = []
        wakeups = Wakeups(configuration(), wake=lambda: woken.append(1))
        wakeups.begin()
        wait_until(lambda: wakeups.is_listening)
        Bucket("orders").append(1)
        wait_until(lambda: woken)
        assert [*wakeups.taken()] == ["orders"]
        assert wakeups.taken() == {}
        wakeups.end()

    @pytest.mark.parametrize(
        ("messages", "sealed", "ends_outage"),
        [
            *[("o", False, False), ("os", True, False), ("so", True, False)],
            *[("n", True, True), ("on", True, True), ("sn", True, True), ("nso", True, True)],
        ],
    )
    def test_of_several_messages_the_most_urgent_counts(
        self, client_of_server: Redis, messages: str, sealed: bool, ends_outage: bool
    ) -> None:
        wakeups = Wakeups(configuration(), wake=lambda: None)
        wakeups.begin()
        wait_until(lambda: wakeups.is_listening)
        for message in [*(f"{kind}orders" for kind in messages), "ox"]:
            client_of_server.publish(wake_channel(configuration().prefix), message)
        wait_until(lambda: "x" in wakeups._heard)
        heard = wakeups.taken()["orders"]
        assert (heard.is_sealed, heard.ends_outage) == (sealed, ends_outage)
        wakeups.end()

    def test_connection_that_was_lost_is_made_again(
        self, looking: Callable[..., Lookout], client_of_server: Redis
    ) -> None:
        lookout = looking(listens=True, interval=3600)
        for each in servers(client_of_server):
            each.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
        wait_until(lambda: not lookout._wakeups.is_listening)
        wait_until(lambda: lookout._wakeups.is_listening)
        Bucket("orders").append(1)
        assert next_sight(lookout, is_certain=True).name == "orders"


@pytest.mark.real_server
class TestSilence:
    """A server that says nothing is asked whether it is there."""

    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(messages, "_LONGEST_SILENCE_SECONDS", 0.01)
        monkeypatch.setattr(messages, "_LONGEST_READ_SECONDS", 0.02)

    def test_is_no_reason_to_connect_again(self) -> None:
        with Messages(configuration()) as its:
            assert [its.read() for _ in range(20)] == [""] * 20
            Bucket("orders").append(1)
            wait_until(lambda: its.read() == "oorders")

    def test_of_a_server_that_refuses_the_question(
        self, private_server: Redis, use_cache: Callable[..., str]
    ) -> None:
        rules = ["on", ">x", "allkeys", "allchannels", "+@all", "-ping"]
        private_server.execute_command("ACL", "SETUSER", "limited", *rules)
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://limited:x@{path}?db=0")
        self.test_is_no_reason_to_connect_again()

    def test_of_a_server_that_hangs_is_noticed(
        self, private_server: Redis, use_cache: Callable[..., str]
    ) -> None:
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://{path}?db=0")
        process = private_server.info("server")["process_id"]
        with Messages(configuration()) as its:
            its.read()
            os.kill(process, signal.SIGSTOP)
            try:
                with pytest.raises(RedisTimeoutError):
                    for _ in range(100):
                        its.read()
            finally:
                os.kill(process, signal.SIGCONT)


class TestPresence:
    def present(self, *serves: str) -> Presence:
        presence = Presence(configuration(), Names(serves))
        presence.begin()
        return presence

    def test_worker_alone_is_the_first(self) -> None:
        one = self.present("orders")
        assert one.is_first("orders")
        one.end()

    def test_of_several_workers_one_is_the_first_for_each_bucket(self) -> None:
        workers = [self.present("tenant-*") for _ in range(3)]
        for worker in workers:
            worker.renew()
        names = [f"tenant-{number}" for number in range(300)]
        firsts = [[worker.is_first(name) for worker in workers] for name in names]
        assert [sum(row) for row in firsts] == [1] * 300
        assert all(60 < sum(column) < 140 for column in zip(*firsts, strict=True))
        workers.pop().end()
        for worker in workers:
            worker.renew()
        assert [sum(worker.is_first(name) for worker in workers) for name in names] == [1] * 300
        for worker in workers:
            worker.end()

    def test_worker_that_does_not_serve_a_bucket_is_no_rival(self) -> None:
        one, _other = self.present("orders"), self.present("carts")
        one.renew()
        assert one.is_first("orders")

    def test_others_look_a_moment_later(self, looking: Callable[..., Lookout]) -> None:
        names = [f"b{number}" for number in range(50)]
        other = self.present(*names)
        lookout = looking(*names)
        lookout._presence.begin()
        other.renew()
        delays = {name: lookout._delay_seconds(name) for name in names}
        assert delays == {name: 0.25 if other.is_first(name) else 0 for name in names}
        assert {*delays.values()} == {0, 0.25}
        other.end()

    def test_redis_that_is_away_ends_no_worker(self, use_cache: Callable[..., str]) -> None:
        use_cache("redis://127.0.0.1:1/0")
        presence = self.present("orders")
        assert presence.is_first("orders")
        presence.end()
