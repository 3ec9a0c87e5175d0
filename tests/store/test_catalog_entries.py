from collections.abc import Callable

import pytest

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferUnavailable, KeyOccupied
from django_jsonbuffer.store import catalog_entries, clients, late_entries, pending
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.links import BLOCKING
from django_jsonbuffer.store.shards import UsedShards
from django_jsonbuffer.store.store import Store
from tests import server
from tests.server import Redis, both_servers
from tests.store.steps import MINUTE, append, commands_of, dump
from tests.test_faults import answering

pytestmark = both_servers


class TestAppend:
    def test_bucket_is_registered(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        assert catalog_entries.names(configuration()) == {"orders"}

    def test_bucket_is_registered_again_after_the_database_was_emptied(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1)
        client_of_server.delete(*client_of_server.keys(f"{prefix}:*"))
        append(store, 1)
        assert catalog_entries.names(configuration()) == {"orders"}

    def test_bucket_is_registered_again_although_a_worker_has_sent_a_heartbeat(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1)
        client_of_server.delete(*client_of_server.keys(f"{prefix}:*"))
        store.beat("worker", lease=MINUTE)
        append(store, 1)
        assert catalog_entries.names(configuration()) == {"orders"}

    def test_register_that_cannot_be_written_afterwards_undoes_nothing(
        self,
        store: Store,
        client_of_server: Redis,
        prefix: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        append(store, 1)
        client_of_server.delete(store.keys.stats, store.keys.appends)
        client_of_server.set(f"{prefix}:buckets", "foreign")
        append(store, 2)
        assert pending.take(store) == [b"[1,2]"]
        assert "catalog" in caplog.text
        client_of_server.delete(f"{prefix}:buckets")
        append(store, 3)
        assert catalog_entries.names(configuration()) == {"orders"}

    def test_is_one_round_trip_once_the_bucket_is_registered(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        append(store, 1)
        commands = commands_of(private_server, lambda: append(store, 2))
        assert commands["evalsha"] == 1
        assert not {"eval", "sadd"} & set(commands)

    def test_bucket_is_registered_before_anything_is_written(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        client_of_server.set(f"{prefix}:buckets", "foreign")
        with pytest.raises(KeyOccupied):
            append(store, 1)
        assert list(dump(client_of_server, prefix)) == [f"{prefix}:buckets".encode()]


class TestWrite:
    def test_puts_the_name_into_the_set_and_remembers_it(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        finish(catalog_entries.write(store.identity, BLOCKING))
        assert client_of_server.smembers(f"{prefix}:buckets") == {b"orders"}
        assert store.identity in catalog_entries.written

    def test_that_fails_remembers_nothing_and_names_the_key(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        client_of_server.set(f"{prefix}:buckets", "theirs")
        with pytest.raises(KeyOccupied, match=f"{prefix}:buckets"):
            finish(catalog_entries.write(store.identity, BLOCKING))
        assert store.identity not in catalog_entries.written

    def test_remembers_a_limited_number_of_names(
        self, prefix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(catalog_entries, "written", set())
        monkeypatch.setattr(catalog_entries, "_MOST_WRITTEN", 3)
        for number in range(10):
            bucket = Store(f"user-{number}", configuration()).identity
            finish(catalog_entries.write(bucket, BLOCKING))
            assert 1 <= len(catalog_entries.written) <= 3
        assert len(catalog_entries.names(configuration())) == 10

    def test_of_one_prefix_is_not_that_of_another(
        self, store: Store, configure: Callable[..., None], prefix: str
    ) -> None:
        finish(catalog_entries.write(store.identity, BLOCKING))
        configure(PREFIX=f"{prefix}:other")
        other = Store("orders", configuration())
        assert other.identity not in catalog_entries.written
        append(other, 1)
        assert catalog_entries.names(configuration()) == {"orders"}


class TestShards:
    def test_are_written_beside_the_bucket(self, prefix: str, client_of_server: Redis) -> None:
        for shard in (0, 3):
            append(Store("orders", configuration(), shard), 1)
        assert catalog_entries.names(configuration()) == {"orders"}
        assert client_of_server.smembers(f"{prefix}:shards") == {b"orders#3"}
        assert UsedShards.read(configuration()).names == [
            *("orders", "orders#1", "orders#2", "orders#3")
        ]

    @pytest.mark.parametrize("member", ["orders#0", "orders#1000", "orders#x", "#", "\xff"])
    def test_of_another_client_are_none(
        self, prefix: str, client_of_server: Redis, member: str
    ) -> None:
        client_of_server.sadd(f"{prefix}:shards", member)
        assert UsedShards.read(configuration()).count("orders") == 1

    def test_under_a_key_of_another_type_are_none(
        self, prefix: str, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        client_of_server.set(f"{prefix}:shards", "theirs")
        used = UsedShards.read(configuration())
        assert used.count("orders") == 1
        assert f"{prefix}:shards" in caplog.text


class TestWriteAgain:
    def test_that_fails_is_logged_and_made_up_for(
        self,
        store: Store,
        client_of_server: Redis,
        prefix: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        finish(catalog_entries.write(store.identity, BLOCKING))
        client_of_server.delete(f"{prefix}:buckets")
        client_of_server.set(f"{prefix}:buckets", "theirs")
        finish(late_entries.write_again(store.identity, BLOCKING))
        assert "Bucket orders could not be written into the catalog of buckets" in caplog.text
        assert [vars(record)["bucket"] for record in caplog.records] == ["orders"]
        assert store.identity not in catalog_entries.written


class TestNames:
    def test_of_no_bucket(self) -> None:
        assert catalog_entries.names(configuration()) == set()

    @pytest.mark.parametrize("decode", [False, True])
    def test_are_text_whether_the_client_decodes_or_not(
        self, store: Store, use_cache: Callable[..., str], decode: bool
    ) -> None:
        # django-redis has one pool for each URL.
        url = f"{server.APP_URL}{'&' if '?' in server.APP_URL else '?'}protocol={2 + decode}"
        options = {"CONNECTION_POOL_KWARGS": {"decode_responses": decode}}
        use_cache(url, OPTIONS=server.APP_OPTIONS | options)
        assert clients.decodes(configuration().cache) == decode
        append(Store("orders", configuration()), 1)
        assert catalog_entries.names(configuration()) == {"orders"}

    def test_that_are_no_text_do_not_hide_the_others(
        self, client_of_server: Redis, prefix: str
    ) -> None:
        client_of_server.sadd(f"{prefix}:buckets", b"\xff", "orders")
        assert catalog_entries.names(configuration()) == {"\ufffd", "orders"}

    def test_under_a_key_of_another_type(self, client_of_server: Redis, prefix: str) -> None:
        client_of_server.set(f"{prefix}:buckets", "theirs")
        with pytest.raises(KeyOccupied, match=f"{prefix}:buckets"):
            catalog_entries.names(configuration())

    def test_of_a_server_that_is_not_redis(self, use_cache: Callable[..., str]) -> None:
        with answering(b":1\r\n") as port:
            use_cache(f"redis://127.0.0.1:{port}/0?protocol=2&socket_timeout=5")
            with pytest.raises(BufferUnavailable, match="is not Redis"):
                catalog_entries.names(configuration())
