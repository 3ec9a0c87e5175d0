from typing import Any

import pytest

from django_jsonbuffer.sinks.event_keys import Key, key_function
from tests.sinks.batches import a_change


class TestKeyFunction:
    def test_finds_a_name_in_the_event(self) -> None:
        key = key_function("sku")
        assert key({"sku": 1, "n": 1}) == key({"sku": 1, "n": 2}) != key({"sku": 2})

    def test_finds_a_name_of_a_cloud_event_in_its_data_first(self) -> None:
        one = a_change(1, subject="a", data={"id": 7})
        other = a_change(2, subject="a", data={"id": 7})
        assert key_function("id")(one) == key_function("id")(other)
        assert key_function("subject")(one) == key_function("subject")(other)
        assert key_function("type")(a_change(1, data=None)) == key_function(["type"])(one)

    @pytest.mark.parametrize(
        ("one", "other"), [(1, True), (1, "1"), (0, False), (0, None), ([1], [2]), ({}, [])]
    )
    def test_tells_values_apart_that_differ_in_json(self, one: Any, other: Any) -> None:
        key = key_function("k")
        assert key({"k": one}) != key({"k": other})

    def test_of_several_names(self) -> None:
        key = key_function(["a", "b"])
        assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1}) != key({"a": 2, "b": 1})

    def test_of_a_function(self) -> None:
        assert key_function(len)([1, 2]) == 2

    @pytest.mark.parametrize(
        ("key", "event", "error"),
        [
            ("sku", {}, LookupError),
            ("sku", "sku", LookupError),
            (["a", "b"], {"a": 1}, LookupError),
            (list, [1], TypeError),
        ],
    )
    def test_raises_if_there_is_no_key(self, key: Key, event: Any, error: type[Exception]) -> None:
        with pytest.raises(error):
            key_function(key)(event)
