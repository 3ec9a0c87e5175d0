"""System checks of the sinks that write rows."""

import re
from typing import Any

import pytest
from django.db import connections
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.checks.sinks import check_sinks
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.sinks import Increment, Insert, Upsert
from django_jsonbuffer.sinks.sink import Sink
from tests.sinks.batches import processed
from tests.sinks.models import Cell, Computed, Count, PageView, ProductProxy, SpecialProduct, Stock

NAN = float("nan")
KEY = ["product", "day"]
COUNTED: dict[str, Any] = {"key": KEY, "fields": ["views"]}


def faults(sink: Sink) -> list[str]:
    """Id, message and hint of each fault."""
    texts = [f"{each.id} {each.msg} {each.hint}" for each in sink.check()]
    return [text.removeprefix("django_jsonbuffer.") for text in texts]


@pytest.mark.parametrize(
    "sink",
    [
        Insert("sinks.PageView"),
        Insert(PageView, mapping={"path": "url", "product_id": lambda event: 1}, extra="rest"),
        Insert(ProductProxy),
        Insert(Cell, using="other"),
        Upsert(Stock, unique_fields=["sku"], version_field="version", update_fields=["note"]),
        Upsert(Stock, unique_fields="id"),
        Upsert(Cell, unique_fields=["pk"]),
        Upsert(Cell, unique_fields=["y", "x"]),
        Upsert("sinks.count", unique_fields=["day", "product_id"]),
        Increment(Count, **COUNTED),
        Increment(Count, key={"product": "p", "day": len}, fields={"total": 1, "ratio": "r"}),
        Increment(Cell, key="pk", fields="value"),
        Increment(Cell, key=["pk"], fields={"value": -5}),
        Increment(Computed, key={"pk": "what"}, fields={"other": 1}),
        Increment(Computed, key="pk", fields={"other": 1, "number": "n"}),
    ],
    ids=repr,
)
def test_correct_declaration(sink: Sink) -> None:
    assert faults(sink) == []
    assert [*sink.databases()] == ["other" if sink.__dict__["_target"]._using else "default"]


@pytest.mark.parametrize(
    ("sink", "text"),
    [
        (
            Insert("sinks.PageVeiw"),
            "E014 No installed app .* model 'sinks.PageVeiw'.*mean 'sinks.PageView'",
        ),
        (Insert("PageView"), "E014 .*'PageView'.*app_label.ModelName.*mean 'sinks.PageView'"),
        (Insert("shop.Nothing"), "E014 .*'shop.Nothing'"),
        (Insert(SpecialProduct), "E016 .*several models"),
        (Insert(PageView, using="dflt"), "E016 using='dflt'.*default, other.*mean 'default'"),
        (Insert(PageView, mapping={"paht": "a"}), "E014 mapping names 'paht'.*mean 'path'"),
        (Insert(PageView, mapping={"path": 5}), "E016 mapping gives 5"),  # type: ignore[dict-item]
        (
            Insert(PageView, mapping={"product": "a", "product_id": "b"}),
            "E016 mapping names 'product' and 'product_id', which are the same field",
        ),
        (
            Increment(Count, key={"product": "a", "product_id": "b", "day": "c"}, fields="views"),
            "E016 key names 'product' and 'product_id'",
        ),
        (Insert(PageView, mapping={"rest": "a"}, extra="rest"), "E016 extra names 'rest', which"),
        (Insert(PageView, extra="rst"), "E014 extra names 'rst'.*mean 'rest'"),
        (Insert(PageView, extra="path"), "E016 extra names 'path', .* has: rest"),
        (Upsert(Stock, unique_fields=["skuu"]), "E014 unique_fields names 'skuu'.*mean 'sku'"),
        (
            Upsert(Stock, unique_fields=["sku"], version_field="versoin"),
            "E014 version_field names 'versoin'.*mean 'version'",
        ),
        (
            Upsert(Stock, unique_fields=["sku"], update_fields=["nope"]),
            "E014 update_fields names 'nope'",
        ),
        (
            Upsert(Stock, unique_fields=["sku"], version_field="sku"),
            "E016 version_field names 'sku'",
        ),
        (
            Upsert(Stock, unique_fields=["quantity"]),
            r"E015 .*exactly quantity.*fields=\['quantity'\].*\['sku'\], pk",
        ),
        (Upsert(Count, unique_fields=["note"]), "E015 .*exactly note.*condition"),
        (Upsert(Count, unique_fields=["day"]), "E015"),
        (Upsert(Cell, unique_fields=["x"]), "E015"),
        (Increment(Cell, key="x", fields="value"), "E015 .* which key names"),
        (Increment(Count, key="dya", fields="views"), "E014 key names 'dya'.*mean 'day'"),
        (Increment(Count, **{**COUNTED, "fields": ["veiws"]}), "E014 fields names 'veiws'"),
        (Increment(Count, **{**COUNTED, "fields": {"veiws": 1}}), "E014 fields names 'veiws'"),
        (Increment(Count, **{**COUNTED, "fields": ["note"]}), "E016 .*'note', which cannot be"),
        (Increment(Count, **{**COUNTED, "fields": {"views": []}}), r"E016 fields gives \[\]"),
        (
            Increment(Count, **{**COUNTED, "fields": {"views": 1.5}}),
            "E016 fields gives 1.5 .*whole",
        ),
        (Increment(Count, key=KEY, fields={"views": 10**20}), "E016 fields gives 10000.*"),
        (
            Increment(Count, **{**COUNTED, "fields": {"ratio": NAN}}),
            "E016 fields gives nan .*finite",
        ),
        (Increment(Count, key=KEY, fields={"total": NAN}), "E016 fields gives nan "),
        (Increment(Count, key=KEY, fields={"total": 10**7}), "E016 .*too many digits"),
        (Increment(Cell, key={"pk": "p"}, fields="value"), "E014 key names 'pk'.*x, y, value"),
        (Increment(Computed, key={"pk": 5}, fields="other"), "E016 key gives 5"),  # type: ignore[dict-item]
        (
            Increment("sinks.Strict", key="name", fields="number"),
            "E016 A new row of sinks.Strict needs a value for 'needed'",
        ),
        (Increment(Computed, key="name", fields="double"), "E014 fields names 'double'"),
    ],
)
def test_fault_says_what_to_write(sink: Sink, text: str) -> None:
    (found,) = faults(sink)
    assert re.match(text, found), found


@pytest.mark.parametrize(
    ("sink", "options", "text"),
    [
        (Insert, {"mapping": ["path"]}, "mapping=.*Write a dict with the source of each field"),
        (Insert, {"mapping": "path"}, "mapping='path'"),
        (Upsert, {"unique_fields": []}, "unique_fields=.*Write the name of a field, or a list"),
        (Upsert, {"unique_fields": None}, "unique_fields=None"),
        (Upsert, {"unique_fields": "id", "update_fields": 5}, "update_fields=5"),
        (Upsert, {"unique_fields": "id", "mapping": [1]}, "mapping="),
        (Increment, {"key": None, "fields": "number"}, "key=None"),
        (Increment, {"key": {}, "fields": "number"}, "key={}"),
        (Increment, {"key": "id", "fields": [5]}, r"fields=\[5\]"),
        (Increment, {"key": {5: "a"}, "fields": "number"}, "key={5: 'a'}.*Write a dict"),
    ],
)
def test_option_of_a_wrong_type(sink: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(BufferMisconfigured, match=text):
        sink(PageView, **options)


@pytest.mark.parametrize(
    ("sink", "name"),
    [
        (Upsert(Stock, unique_fields=["skuu"]), "skuu"),
        (Increment(Count, key="day", fields={"veiws": 1}), "veiws"),
        (Increment(Count, key="dya", fields={"views": 1}), "dya"),
    ],
)
def test_wrong_name_without_the_checks(sink: Sink, name: str) -> None:
    with pytest.raises(BufferMisconfigured, match=f"has no field '{name}'"):
        processed(sink, {"sku": "a", "day": "2026-01-01"})


def test_unknown_model_has_no_database() -> None:
    assert [*Insert("sinks.PageVeiw").databases()] == []
    assert [*Insert("sinks.PageVeiw", using="nowhere").databases()] == []


def test_database_without_autocommit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["other"].settings_dict, "AUTOCOMMIT", False)
    (found,) = faults(Insert(PageView, using="other"))
    assert found.startswith("E016 The database 'other' has AUTOCOMMIT off")


def test_database_without_on_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections["other"], "vendor", "oracle")
    for sink in (
        Upsert(Stock, unique_fields=["sku"], using="other"),
        Increment(Count, **COUNTED, using="other"),
    ):
        (found,) = faults(sink)
        assert found.startswith("E016 The database 'other'")
    assert faults(Insert(PageView, using="other")) == []


def test_check_names_the_bucket(nothing_declared: None, settings: Settings) -> None:
    Bucket("views", processor=Insert("sinks.PageVeiw"))
    (message,) = check_sinks()
    assert message.msg.startswith("Bucket 'views': No installed app has a model")
