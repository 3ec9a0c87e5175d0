import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jsonbuffer.admin.display import MOST_CHARACTERS
from django_jsonbuffer.admin.json_layout import lay_out, members
from django_jsonbuffer.redaction import MOST_BYTES
from tests.test_json_arrays import JSON

OBJECTS = st.dictionaries(st.text(), JSON, min_size=1)


def laid_out(raw: bytes) -> str:
    return lay_out(raw, most_characters=MOST_CHARACTERS)


class TestLaidOut:
    def test_has_a_line_for_each_value(self) -> None:
        raw = b'{"a": [1, 2.50, "x,[{"],"b":{},"c":[ ],"d":{"e":null}}'
        assert laid_out(raw) == (
            '{\n  "a": [\n    1,\n    2.50,\n    "x,[{"\n  ],\n  "b": {},\n  "c": [],\n  "d": {\n'
            '    "e": null\n  }\n}'
        )

    @given(JSON)
    def test_changes_no_value(self, value: Any) -> None:
        assert json.loads(laid_out(json.dumps(value).encode())) == value

    @given(JSON, st.integers(0, 100))
    def test_stands_being_cut_anywhere(self, value: Any, size: int) -> None:
        raw = json.dumps(value).encode()[:size]
        without_space = "".join(laid_out(raw).split())
        assert without_space == "".join(raw.decode(errors="replace").split())

    @pytest.mark.parametrize("raw", [b'"plain, text"', b"12", b"no: JSON, at all", b"\xff", b""])
    def test_leaves_what_is_no_array_and_no_object(self, raw: bytes) -> None:
        assert laid_out(raw) == raw.decode(errors="replace")

    def test_of_the_deepest_is_bounded(self) -> None:
        assert len(laid_out(b"[" * MOST_BYTES)) < 100 * MOST_BYTES

    def test_of_many_values_ends_soon_after_the_most_characters(self) -> None:
        assert len(lay_out(b"[" + b"1," * 10_000, most_characters=100)) < 120


class TestMembers:
    def test_are_the_names_and_values_of_an_object(self) -> None:
        raw = b'{"a": 1.50, "b":"x,y:{", "c": [1,2], "d": {"e":{}},"":null}'
        assert members(raw) == [
            ("a", "1.50"),
            ("b", '"x,y:{"'),
            ("c", "[\n  1,\n  2\n]"),
            ("d", '{\n  "e": {}\n}'),
            ("", "null"),
        ]

    @given(OBJECTS, st.sampled_from([None, 2]), st.booleans())
    def test_change_no_name_and_no_value(
        self, value: dict[str, Any], indent: int | None, ensure_ascii: bool
    ) -> None:
        raw = json.dumps(value, indent=indent, ensure_ascii=ensure_ascii).encode(
            errors="surrogatepass"
        )
        found = [(name, json.loads(text)) for name, text in members(raw)]
        assert found == [*value.items()]

    def test_keep_every_digit(self) -> None:
        assert members(b'{"n":12345678901234567890.10}') == [("n", "12345678901234567890.10")]

    def test_keep_names_that_stand_twice(self) -> None:
        assert members(b'{"a":1,"a":2}') == [("a", "1"), ("a", "2")]

    def test_have_names_without_escapes(self) -> None:
        assert members(rb'{"\u00e4\n\"":"\u00e4"}') == [('ä\n"', r'"\u00e4"')]

    @pytest.mark.parametrize(
        "raw",
        [b"{}", b"[1]", b'"a"', b"1", b"", b"{", b'{"a":1', b'{"a":1}}', b"\xff", b"[" * 5000],
    )
    def test_of_what_is_no_object_are_none(self, raw: bytes) -> None:
        assert members(raw) == []
