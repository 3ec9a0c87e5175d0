from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.declarations import declared
from django_jsonbuffer.draining import retention
from django_jsonbuffer.draining.drain import Drain
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.store import Store
from tests.prepared import bury, drain_of, keys_of
from tests.server import Redis, both_servers

pytestmark = both_servers


def left() -> list[Any]:
    return [letter.event for letter in Bucket("orders").dead]


class TestRetention:
    def test_is_off_by_default(self, caplog: pytest.LogCaptureFixture) -> None:
        bury(1, 2, 3)
        Bucket("orders").drain()
        assert left() == [1, 2, 3]
        assert "expired" not in caplog.text

    def test_of_a_number_keeps_the_newest(self, caplog: pytest.LogCaptureFixture) -> None:
        bury(1, 2, 3)
        Bucket("orders", max_dead=1).drain()
        assert left() == [3]
        assert Bucket("orders").status().dropped.expired == 2
        warnings = [record for record in caplog.records if "expired" in record.getMessage()]
        assert [record.getMessage() for record in warnings] == [
            "Bucket orders: 2 dead letters have expired. Their events are gone."
        ]
        assert warnings[0].levelname == "WARNING"

    def test_of_a_time_keeps_the_younger(self, client_of_server: Redis) -> None:
        client_of_server.xadd(keys_of("orders").dead, {"event": "0"}, id="1-1")
        bury(1, 2)
        Bucket("orders", dead_after=timedelta(hours=1)).drain()
        assert left() == [1, 2]

    def test_is_in_the_settings_too(self, configure: Any) -> None:
        bury(1, 2)
        configure(BUCKETS={"orders": {"max_dead": 1}})
        Bucket("orders").drain()
        assert left() == [2]

    def test_holds_at_the_start_and_then_once_a_minute(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(batch: Batch) -> None:
            for event in batch:
                batch.reject(event, "no")

        orders = Bucket("orders", max_dead=1, batch_size=1)
        orders.processor(refuse)
        orders.extend([1, 2, 3])
        with drain_of(orders, watch=True) as drain:
            while drain.step():
                pass
            assert left() == [1, 2, 3]
            monkeypatch.setattr(drain._retention, "_next_at", 0)
            drain.step()
            assert left() == [3]

    def test_ends_though_there_is_more_and_goes_on_later(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "MOST_CALLS", 2)
        monkeypatch.setattr("django_jsonbuffer.store.dead_letters._PORTION", 1)
        bury(*range(5))
        orders = Bucket("orders", max_dead=1)
        orders.drain()
        assert left() == [2, 3, 4]
        orders.drain()
        assert left() == [4]

    def test_that_fails_does_not_stop_the_drain(
        self, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        orders = Bucket("orders", max_dead=1)
        orders.processor(lambda batch: None)
        with drain_of(orders) as drain:
            client_of_server.set(keys_of("orders").dead, "theirs")
            drain._retention.apply()
        assert "dead letters could not expire" in caplog.text
        assert "another type" in caplog.text

    @pytest.mark.usefixtures("unreachable")
    def test_without_redis_is_an_error(self) -> None:
        orders = Bucket("orders", max_dead=1)
        orders.processor(lambda batch: None)
        drain = Drain(orders._definition.parts, declared.processor_of("orders"))
        with drain, pytest.raises(BufferUnavailable):
            drain._retention.apply()

    def test_costs_no_call_if_it_is_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called: list[object] = []
        monkeypatch.setattr(Store, "run", lambda *args: called.append(args))
        orders = Bucket("orders")
        orders.processor(lambda batch: None)
        drain_of(orders)._retention.apply()
        assert called == []
