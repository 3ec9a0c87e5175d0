from collections.abc import Mapping
from typing import Any

import pytest
from django.db import OperationalError

from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.sinks.database.conversions import EventDoesNotFit
from django_jsonbuffer.sinks.database.mapping import EventMapping, Sources
from tests.sinks.models import Computed, PageView, Stock


def mapped(event: Any, sources: Sources | None = None, **options: Any) -> Mapping[str, Any]:
    return EventMapping(PageView, sources or {}, **options).values(event)


def cloud_event(data: Any, **attributes: Any) -> dict[str, Any]:
    envelope = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "viewed"}
    return {**envelope, **attributes, "data": data}


class TestNames:
    def test_keys_are_names_of_fields(self) -> None:
        assert mapped({"path": "a", "product": 5}) == {"path": "a", "product_id": 5}
        assert mapped({"product_id": "5", "at": None}) == {"product_id": 5, "at": None}

    def test_source_is_a_name_or_a_function(self) -> None:
        sources: Sources = {"path": "url", "number": lambda event: len(event["url"])}
        assert mapped({"url": "/ab", "price": 1}, sources) == {
            "path": "/ab",
            "number": 3,
            "price": 1,
        }

    def test_missing_source_leaves_the_default(self) -> None:
        assert mapped({"number": 1}, {"path": "url"}) == {"number": 1}

    def test_function_may_read_the_key_of_its_field(self) -> None:
        assert mapped({"path": "A"}, {"path": lambda event: event["path"].lower()}) == {"path": "a"}

    def test_key_that_another_source_replaces_is_unknown(self) -> None:
        with pytest.raises(EventDoesNotFit, match="'path'"):
            mapped({"path": "a", "url": "b"}, {"path": "url"})

    def test_events_of_other_keys_have_a_plan_of_their_own(self) -> None:
        mapping = EventMapping(PageView, {})
        for number in range(1200):
            with pytest.raises(EventDoesNotFit):
                mapping.values({f"k{number}": 1})
            assert mapping.values({"number": number}) == {"number": number}
        assert len(mapping._plans) <= 500


class TestUnknownKeys:
    def test_error_says_what_to_write(self) -> None:
        with pytest.raises(EventDoesNotFit) as raised:
            mapped({"paht": "secret"})
        text = str(raised.value)
        assert "'paht'. Did you mean 'path'? The fields of sinks.PageView are id, path," in text
        assert "unknown='ignore'" in text
        assert "secret" not in text

    def test_error_of_many_keys_is_short(self) -> None:
        with pytest.raises(EventDoesNotFit, match="and 990 more"):
            mapped({f"k{number}" * 20: 1 for number in range(1000)})

    def test_ignored_or_kept(self) -> None:
        event = {"path": "a", "x": 1, "y": [2]}
        assert mapped(event, unknown="ignore") == {"path": "a"}
        assert mapped(event, extra="rest") == {"path": "a", "rest": {"x": 1, "y": [2]}}

    def test_key_of_the_name_of_extra_is_kept_in_it(self) -> None:
        assert mapped({"rest": 1}, extra="rest") == {"rest": {"rest": 1}}

    def test_computed_column_is_unknown(self) -> None:
        with pytest.raises(EventDoesNotFit, match="'double'"):
            EventMapping(Computed, {}).values({"name": "a", "double": 2})

    def test_blank_is_for_columns_that_are_never_null(self) -> None:
        assert EventMapping(Stock, {}, extra="rest").blank == {"rest": {}}
        assert EventMapping(PageView, {}, extra="rest").blank == {}


class TestCloudEvents:
    def test_object_of_similar_keys_is_no_cloud_event(self) -> None:
        event = {"specversion": "0.3", "id": "7", "type": "t", "source": "s", "path": "a"}
        assert mapped(event, unknown="ignore", only=["path"]) == {"path": "a"}
        event = {"specversion": "1.0", "id": "7", "type": "t", "path": "a"}
        assert mapped(event, unknown="ignore", only=["path"]) == {"path": "a"}

    def test_fields_are_in_the_data(self) -> None:
        assert mapped(cloud_event({"path": "a"})) == {"path": "a"}

    def test_attributes_are_found_by_mapping_only(self) -> None:
        event = cloud_event({"number": 1}, subject="s", time="2026-01-01T00:00:00Z", path="p")
        values = mapped(event, {"at": "time", "path": "subject"})
        assert (values["path"], values["number"], values["at"].year) == ("s", 1, 2026)
        assert mapped(event) == {"number": 1}

    def test_data_comes_before_the_attributes(self) -> None:
        event = cloud_event({"type": "in data"}, subject="s")
        assert mapped(event, {"path": "type"}) == {"path": "in data"}

    def test_function_gets_the_whole_event(self) -> None:
        values = mapped(cloud_event({}), {"path": lambda event: event["type"]})
        assert values == {"path": "viewed"}

    def test_data_that_is_not_an_object_is_bad(self) -> None:
        with pytest.raises(EventDoesNotFit, match="data of the CloudEvent is not an object"):
            mapped(cloud_event(None))
        assert mapped(cloud_event("text"), {"path": "data"}) == {"path": "text"}


class TestBadEvents:
    @pytest.mark.parametrize(
        ("event", "kind"),
        [
            ([1], "a list"),
            ("a", "text"),
            (None, "null"),
            (1.5, "a number"),
            (True, "true or false"),
        ],
    )
    def test_event_must_be_an_object(self, event: Any, kind: str) -> None:
        with pytest.raises(EventDoesNotFit, match=f"must be an object, not {kind}"):
            mapped(event)

    def test_functions_may_take_any_event(self) -> None:
        assert mapped(["a", 1], {"path": lambda event: event[0]}) == {"path": "a"}

    def test_error_of_a_function_names_the_field(self) -> None:
        with pytest.raises(EventDoesNotFit, match="for field 'path' raised KeyError: 'url'"):
            mapped({"number": 1}, {"path": lambda event: event["url"]})

    def test_outage_in_a_function_is_raised(self) -> None:
        def ask(event: Any) -> None:
            raise OperationalError("away")

        with pytest.raises(OperationalError):
            mapped({}, {"path": ask})

    @pytest.mark.parametrize("event", [{"path": "a"}, {"path": "a", "number": None}])
    def test_required_field_is_missing(self, event: Any) -> None:
        with pytest.raises(EventDoesNotFit, match="'number'"):
            mapped(event, required=["number"])


def test_unknown_field_is_a_mistake() -> None:
    with pytest.raises(BufferMisconfigured, match=r"no field 'paht'\. Did you mean 'path'"):
        EventMapping(PageView, {"paht": "a"})
