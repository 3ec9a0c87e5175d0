from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.cloudevents import cloud_event, event_attributes
from django_jsonbuffer.exceptions import BufferMisconfigured, InvalidEvent
from tests.recorded import VALIDATOR, recorded


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("changes")


def stored(bucket: Bucket, *args: Any, **kwargs: Any) -> Any:
    """A cloud event as its consumer gets it."""
    bucket.append(cloud_event(*args, **kwargs))
    return recorded(bucket)[0]


class TestCloudEvent:
    def test_envelope(self, bucket: Bucket) -> None:
        event = stored(bucket, "shop.order.paid", {"total": 3}, subject="7")
        assert event["specversion"] == "1.0"
        assert event["source"] == "/tests"
        assert event["type"] == "shop.order.paid"
        assert event["subject"] == "7"
        assert event["datacontenttype"] == "application/json"
        assert event["data"] == {"total": 3}

    def test_time_is_that_of_the_call_with_its_offset(self, bucket: Bucket) -> None:
        event = stored(bucket, "a", None)
        assert event["time"].endswith("Z")
        age = datetime.now(UTC) - datetime.fromisoformat(event["time"])
        assert timedelta(0) <= age < timedelta(minutes=1)

    def test_each_has_an_id_of_its_own(self) -> None:
        assert len({cloud_event("a", None)["id"] for _ in range(1000)}) == 1000

    @pytest.mark.parametrize("data", [None, 1, 1.5, "text", True, [], {}, [{"a": [1]}]])
    def test_data_is_any_json_value(self, bucket: Bucket, data: Any) -> None:
        assert stored(bucket, "a", data)["data"] == data

    @pytest.mark.parametrize(
        ("arguments", "what"),
        [
            ({"type": ""}, "type"),
            ({"type": None}, "type"),
            ({"type": "a", "subject": 5}, "subject"),
            ({"type": "a", "MyExtension": "x"}, "MyExtension"),
            ({"type": "a", "my_extension": "x"}, "my_extension"),
            ({"type": "a", "x" * 21: "x"}, "x" * 21),
            ({"type": "a", "extension": 3}, "extension"),
            ({"type": "a", "extension": ""}, "extension"),
            ({"type": "a", "specversion": "2.0"}, "specversion"),
            ({"type": "a", "source": "/other"}, "source"),
        ],
    )
    def test_what_the_standard_does_not_allow(self, arguments: dict[str, Any], what: str) -> None:
        with pytest.raises(InvalidEvent, match=what):
            cloud_event(data=1, **arguments)

    @pytest.mark.parametrize("subject", [None, ""])
    def test_empty_subject_is_left_out(self, bucket: Bucket, subject: str | None) -> None:
        assert "subject" not in stored(bucket, "a", 1, subject=subject)

    def test_extension_attribute(self, bucket: Bucket) -> None:
        assert stored(bucket, "a", 1, partitionkey="x")["partitionkey"] == "x"

    def test_orjson_makes_the_same(self, bucket: Bucket, configure: Callable[..., None]) -> None:
        configure(ENCODER="orjson")
        assert stored(bucket, "a", {"b": 1}, subject="7")["data"] == {"b": 1}


class TestSource:
    @pytest.mark.parametrize("source", ["/shop", "https://shop.example/eu", "urn:shop:1", "shop"])
    def test_is_a_setting(
        self, bucket: Bucket, configure: Callable[..., None], source: str
    ) -> None:
        configure(SOURCE=source)
        assert stored(bucket, "a", 1)["source"] == source

    @pytest.mark.parametrize("source", ["", "my shop", "/läden", 'a"b', None, 7])
    def test_that_is_no_uri_reference(self, configure: Callable[..., None], source: Any) -> None:
        configure(SOURCE=source)
        with pytest.raises(BufferMisconfigured, match="SOURCE"):
            cloud_event("a", 1)


class TestSchema:
    """That the check of all recorded events is one."""

    def test_accepts_an_event(self, bucket: Bucket) -> None:
        VALIDATOR.validate(stored(bucket, "a", 1))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"time": "yesterday"},
            {"time": "2026-01-02T00:00:00"},
            {"source": "my shop"},
            {"source": ""},
            {"id": ""},
            {"id": 7},
            {"type": None},
            {"subject": 7},
            {"subject": ""},
        ],
    )
    def test_refuses_what_is_none(self, bucket: Bucket, wrong: dict[str, Any]) -> None:
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate({**stored(bucket, "a", 1), **wrong})


class TestEventAttributes:
    def test_are_added(self, bucket: Bucket) -> None:
        with event_attributes(correlationid="c-1", batch="7"):
            event = stored(bucket, "a", None, batch="8")
        assert (event["correlationid"], event["batch"]) == ("c-1", "8")
        assert "batch" not in stored(bucket, "a", None)

    def test_blocks_add_up(self, bucket: Bucket) -> None:
        with event_attributes(a="1", b="1"), event_attributes(b="2"):
            event = stored(bucket, "a", None)
        assert (event["a"], event["b"]) == ("1", "2")

    def test_mistake(self) -> None:
        with pytest.raises(InvalidEvent, match="user_id"), event_attributes(user_id="7"):
            pass
