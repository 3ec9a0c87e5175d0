import pytest
from django.contrib.auth.models import Group

from django_jsonbuffer import Batch, Bucket


@pytest.fixture
def bucket() -> Bucket:
    """A bucket with receipts, whose processor writes a row for each event, which is a text."""
    bucket = Bucket("audit", batch_size=10, receipts="default")

    @bucket.processor
    def store(batch: Batch) -> None:
        Group.objects.bulk_create(Group(name=name) for name in batch)

    return bucket


def names() -> list[str]:
    """The texts of all rows, sorted."""
    return sorted(Group.objects.values_list("name", flat=True))
