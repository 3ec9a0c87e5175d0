import pytest

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import KeyOccupied
from django_jsonbuffer.store import catalog_entries, pending
from django_jsonbuffer.store.store import Store
from tests.server import Redis
from tests.store.steps import append, commands_of, dump


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

    def test_register_that_cannot_be_written_afterwards_undoes_nothing(
        self,
        store: Store,
        client_of_server: Redis,
        prefix: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        append(store, 1)
        client_of_server.delete(store.keys.stats)
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
