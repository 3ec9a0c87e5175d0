import unittest
from collections.abc import Callable
from typing import ClassVar

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.testing import BucketsMixin
from tests.server import Redis


@pytest.fixture
def isolated() -> None:
    """No isolation around these tests, in place of the one of the folder."""


def failures(case: type[unittest.TestCase]) -> list[str]:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.testsRun == 2
    return [text for _, text in (*result.errors, *result.failures)]


class TestBucketsMixin:
    def test_each_test_begins_with_empty_buckets(
        self, configure: Callable[..., None], orders: Bucket
    ) -> None:
        class Tests(BucketsMixin, unittest.TestCase):
            def setUp(self) -> None:
                orders.append("set up")

            def test_one(self) -> None:
                orders.append("one")
                assert orders.peek() == ["set up", "one"]

            def test_two(self) -> None:
                assert orders.peek() == ["set up"]

        orders.append("before")
        configure(TESTS="memory")
        assert failures(Tests) == []
        configure(TESTS="site")
        assert orders.peek() == ["before"]

    def test_must_come_first(self) -> None:
        with pytest.raises(TypeError, match="Tests must name BucketsMixin before its TestCase"):

            class Tests(unittest.TestCase, BucketsMixin): ...  # type: ignore[misc]

    def test_on_a_real_redis(self, client_of_server: Redis, orders: Bucket) -> None:
        class Tests(BucketsMixin, unittest.TestCase):
            uses_real_redis: ClassVar[bool] = True

            def test_one(self) -> None:
                orders.append(1)
                assert client_of_server.get(orders.key) == b"[1]"

            test_two = test_one

        assert failures(Tests) == []
