from collections.abc import Callable
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_jsonbuffer import Bucket
from django_jsonbuffer.encoding import encoder
from tests import server
from tests.test_encoding import JSON_VALUES


@pytest.mark.parametrize("name", ["json", "orjson"])
@given(events=st.lists(JSON_VALUES, min_size=1, max_size=20), batch_size=st.integers(1, 30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_events_come_out_as_they_went_in(
    configure: Callable[..., None], name: str, events: list[Any], batch_size: int
) -> None:
    configure(ENCODER=name)
    bucket = Bucket("orders", batch_size=None)
    bucket.extend(events)
    with redis.Redis.from_url(server.URL) as plain:
        kept = plain.get(bucket.key)
    assert kept == b"[%b]" % b",".join(encoder(name).encode(event) for event in events)
    assert repr(bucket.peek(len(events))) == repr(events)
    assert repr(bucket.take()) == repr(events)

    sealing = Bucket("orders", batch_size=batch_size)
    for event in events:
        sealing.append(event)
    drained: list[Any] = []
    sealing.processor(drained.extend)
    assert sealing.drain().processed == len(events)
    assert repr(drained) == repr(events)
