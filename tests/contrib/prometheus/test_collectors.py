from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.contrib.prometheus.collectors import BucketCollector
from django_jsonbuffer.exceptions import KeyOccupied
from django_jsonbuffer.metrics import METRICS
from tests.contrib.prometheus.exposed import exposed, read
from tests.server import Redis
from tests.spilling import put
from tests.test_show_buckets import show

pytestmark = pytest.mark.usefixtures("nothing_declared")


class TestCollect:
    @pytest.mark.usefixtures("unhurried")
    def test_has_the_figures_of_all_known_buckets(self, client_of_server: Redis) -> None:
        Bucket("orders", batch_size=2).extend([1, 2, 3])
        client_of_server.set(Bucket("mails").key, "no JSON")
        Bucket("mails").append(1)
        found = exposed()
        assert found.value("jsonbuffer_redis_up") == 1
        assert found.value("jsonbuffer_pending_events", bucket="orders") == 3
        assert found.value("jsonbuffer_batches", bucket="orders", state="sealed") == 1
        assert found.value("jsonbuffer_appended_events_total", bucket="orders") == 3
        assert found.value("jsonbuffer_dead_events", bucket="mails") == 1
        assert found.value("jsonbuffer_state", bucket="orders", state="flowing") == 1

    def test_is_what_show_buckets_prints(self, spilling: Spill) -> None:
        """Both have their metrics from one place."""
        Bucket("orders").processor(print)
        put(spilling, b"1", bucket=Bucket("orders").key)
        Bucket("mails").append(1)
        printed, age = read(show("--format", "prometheus")), "jsonbuffer_oldest_event_age_seconds"
        mine = exposed()
        assert {each.name for each in mine} - {each.name for each in printed} == {
            "jsonbuffer_redis_up"
        }
        for sample in printed:
            if sample.name != age:
                assert sample in mine
        assert mine.value("jsonbuffer_spilled_appends", bucket="orders") == 1

    def test_while_redis_is_away_has_what_is_spilled(
        self, spilling: Spill, use_cache: Callable[..., str], tmp_path: Path
    ) -> None:
        Bucket("orders").processor(print)
        put(spilling, b"1", bucket=Bucket("orders").key)
        use_cache(f"unix://{tmp_path}/nobody.sock?db=0")
        found = exposed()
        assert found.value("jsonbuffer_redis_up") == 0
        assert found.value("jsonbuffer_spilled_appends", bucket="orders") == 1
        assert {name for name in found.names if "spilled" not in name} == {"jsonbuffer_redis_up"}

    def test_error_of_another_kind_is_raised(
        self, client_of_server: Redis, settings: Settings
    ) -> None:
        client_of_server.set(f"{settings.JSONBUFFER['PREFIX']}:buckets", "no set")
        with pytest.raises(KeyOccupied):
            exposed()


class TestDescribe:
    def test_lets_a_registry_ask_redis_for_nothing(self, unreachable: str) -> None:
        registry = CollectorRegistry(auto_describe=True)
        registry.register(BucketCollector())
        with pytest.raises(ValueError, match="Duplicated"):
            registry.register(BucketCollector())
        assert b"jsonbuffer_redis_up 0.0" in generate_latest(registry)

    def test_has_all_metrics(self, spilling: Spill) -> None:
        Bucket("orders").append(1)
        described = {metric.name for metric in BucketCollector().describe()}
        collected = {metric.name for metric in BucketCollector().collect()}
        assert described == collected
        assert len(METRICS) == len(described) - 1
