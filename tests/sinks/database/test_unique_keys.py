import uuid
from typing import Any

import pytest

from django_jsonbuffer.sinks.database.unique_keys import fields_of_key, sorted_by_key, unique_keys
from tests.sinks.models import Cell, Count, ProductProxy, Stock


def test_keys_of_a_model() -> None:
    """Without the conditional constraint of Count."""
    assert {*unique_keys(Count)} == {frozenset({"id"}), frozenset({"product_id", "day"})}
    assert {*unique_keys(Stock)} == {frozenset({"id"}), frozenset({"sku"})}
    assert {*unique_keys(Cell)} == {frozenset({"x", "y"})}
    assert {*unique_keys(ProductProxy)} == {frozenset({"id"})}


@pytest.mark.parametrize(
    ("model", "names", "attnames"),
    [
        (Count, ["product", "day"], ["product_id", "day"]),
        (Count, ["day", "product_id"], ["day", "product_id"]),
        (Count, ["pk"], ["id"]),
        (Cell, ["pk"], ["x", "y"]),
        (Cell, ["y", "pk"], ["y", "x"]),
    ],
)
def test_fields_of_names(model: Any, names: list[str], attnames: list[str]) -> None:
    assert [field.attname for field in fields_of_key(model, names)] == attnames


def test_order_is_the_same_for_every_worker() -> None:
    keys: list[Any] = [(2, "b"), (1, "ü"), (1, "a"), (10, "a")]
    expected = [(1, "a"), (1, "ü"), (2, "b"), (10, "a")]
    assert sorted_by_key(keys, lambda key: key) == expected
    uuids = [(uuid.UUID(int=n),) for n in (3, 1, 2)]
    assert sorted_by_key(uuids, lambda key: key) == sorted(uuids)


def test_order_of_values_that_python_does_not_compare() -> None:
    keys: list[Any] = [({"b": 1},), ({"a": 1},)]
    assert sorted_by_key(keys, lambda key: key) == [({"a": 1},), ({"b": 1},)]


def test_events_of_a_key_keep_their_order() -> None:
    events = [("b", 1), ("a", 2), ("b", 0), ("a", 1)]
    found = sorted_by_key(events, lambda event: event[:1])
    assert found == [("a", 2), ("a", 1), ("b", 1), ("b", 0)]
