from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import Model

from django_jsonbuffer import Bucket
from tests.packages.ledger import Ledger


@pytest.fixture
def record() -> Callable[..., Ledger]:
    """Records these models with their changes, into a bucket."""

    def record(*models: type[Model], exclude: tuple[str, ...] = (), **options: Any) -> Ledger:
        bucket = Bucket("changes")
        for model in models:
            bucket.record(model, changes=True, count_auto_now=True, exclude=exclude, **options)
        return Ledger(bucket, models, leaving_out=exclude)

    return record
