from typing import Any

import pytest
from django.utils.translation import gettext_lazy

from django_jsonbuffer.exceptions import InvalidBucketName
from django_jsonbuffer.store.keys import bucket_keys, is_valid_name, validated_name

GOOD = ["a", "0", "orders", "page-views", "shop.Order:v2_x", "A" * 64, "A" * 65, "A" * 100]
BAD: list[Any] = [
    *[
        "",
        "}",
        "{",
        "}{",
        "a}b",
        "{x}",
        "a}:x:{b",
        "a b",
        " a",
        "a ",
        "a\nb",
        "a\n",
        "a\r\nSET x 1",
    ],
    *["a\x00b", "*", "?", "[a-z]", "a*", "../x", "a/b", "-a", ".a", ":a", "_a"],
    *["A" * 101, "A" * 5000, "A" * 10_000, "Ünder", "é", "e\u0301", "１", "a\u200bb"],
    *[1, None, b"orders", ["orders"], gettext_lazy("orders")],
]


class TestNames:
    @pytest.mark.parametrize("name", GOOD, ids=len)
    def test_allowed(self, name: str) -> None:
        assert is_valid_name(name)
        assert validated_name(name) == name

    @pytest.mark.parametrize("name", BAD, ids=lambda name: repr(name)[:20])
    def test_refused_in_one_short_line(self, name: Any) -> None:
        assert not is_valid_name(name)
        with pytest.raises(InvalidBucketName, match="cannot be the name of a bucket") as caught:
            validated_name(name)
        assert len(str(caught.value)) < 250
        assert "\n" not in str(caught.value)


class TestKeys:
    def test_all_share_one_hash_tag(self) -> None:
        keys = bucket_keys("jsonbuffer", "orders")
        assert keys.open == "jsonbuffer:{orders}"
        assert keys.batches == "jsonbuffer:{orders}:batches"
        assert keys.dead == "jsonbuffer:{orders}:dead"
        assert keys.stats == "jsonbuffer:{orders}:stats"

    def test_no_two_buckets_share_a_key(self) -> None:
        names = ["a", "a:batches", "a:dead", "a.b", "a:b"]
        keys = [
            key
            for name in names
            for keys in [bucket_keys("p", name)]
            for key in (keys.open, keys.batches, keys.dead, keys.stats)
        ]
        assert len(set(keys)) == len(keys)
