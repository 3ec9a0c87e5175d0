from django_jsonbuffer import Bucket
from django_jsonbuffer.catalog import declared_buckets, known_buckets, statuses
from django_jsonbuffer.store.status import BucketStatus
from tests.server import Redis


class TestRegister:
    def test_declared_buckets_were_found_in_the_apps(self) -> None:
        assert "page-views" in [bucket.name for bucket in declared_buckets()]

    def test_known_are_the_declared_and_those_appended_to(
        self, client_of_server: Redis, prefix: str
    ) -> None:
        Bucket("user-1").append(1)
        client_of_server.sadd(f"{prefix}:buckets", "not a name", b"\xff", "<script>")
        assert [bucket.name for bucket in known_buckets()] == [
            *["foreign", "page-views", "scripted", "user-1"]
        ]

    def test_statuses_of_several(self) -> None:
        Bucket("a").append(1)
        Bucket("b").extend([1, 2])
        found = statuses([Bucket("b"), Bucket("empty"), Bucket("a")])
        assert [s.pending for s in found if isinstance(s, BucketStatus)] == [2, 0, 1]

    def test_bucket_with_a_processor_counts_as_declared(self) -> None:
        Bucket("ad-hoc").processor(lambda batch: None)
        assert "ad-hoc" in [bucket.name for bucket in declared_buckets()]
