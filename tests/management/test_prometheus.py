import pytest
from prometheus_client.parser import text_string_to_metric_families

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending.spill import Spill
from tests.server import Redis
from tests.spilling import put
from tests.test_show_buckets import bury, show

pytestmark = pytest.mark.usefixtures("nothing_declared")


class TestPrometheus:
    def samples(self) -> dict[tuple[str, ...], float]:
        families = [*text_string_to_metric_families(show("--format", "prometheus"))]
        assert all(family.documentation and family.samples for family in families)
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }

    @pytest.mark.usefixtures("unhurried")
    def test_is_read_by_its_own_parser(self, client_of_server: Redis) -> None:
        Bucket("orders", batch_size=2).extend([1, 2, 3])
        bury(client_of_server, "mails")
        samples = self.samples()
        assert samples["jsonbuffer_pending_events", "orders"] == 3
        assert samples["jsonbuffer_batches", "orders", "sealed"] == 1
        assert samples["jsonbuffer_batches", "open", "orders"] == 1
        assert samples["jsonbuffer_dead_events", "mails"] == 1
        assert samples["jsonbuffer_appended_events_total", "orders"] == 3
        assert samples["jsonbuffer_dropped_events_total", "oldest", "orders"] == 0
        assert samples["jsonbuffer_state", "flowing", "orders"] == 1
        assert samples["jsonbuffer_state", "orders", "stalled"] == 0
        assert samples["jsonbuffer_state", "mails", "needs-decision"] == 1

    def test_has_what_is_spilled_on_this_machine(self, spilling: Spill) -> None:
        for name in ("orders", "mails"):
            Bucket(name).append(1)
        assert self.samples()["jsonbuffer_spilled_appends", "orders"] == 0
        put(spilling, b"1", bucket=Bucket("orders").key)
        samples = self.samples()
        assert samples["jsonbuffer_spilled_appends", "orders"] == 1
        assert samples["jsonbuffer_spilled_bytes", "orders"] == 5
        assert ("jsonbuffer_spilled_bytes", "mails") not in samples
        spilling.close()
        spilling.path.write_bytes(b"no database" * 1000)
        assert ("jsonbuffer_spilled_bytes", "orders") not in self.samples()

    def test_of_no_bucket_is_read_too(self) -> None:
        assert [*text_string_to_metric_families(show("--format", "prometheus"))]
