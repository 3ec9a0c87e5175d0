import asyncio
import unittest

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.testing import redis_away


class TestDecorator:
    def test_of_a_function(self, orders: Bucket) -> None:
        @redis_away()
        def test() -> str:
            with pytest.raises(BufferUnavailable):
                orders.append(1)
            return "done"

        assert test() == test() == "done"
        orders.append(2)

    def test_of_a_coroutine_function(self, orders: Bucket) -> None:
        @redis_away()
        async def test() -> str:
            await asyncio.sleep(0)
            with pytest.raises(BufferUnavailable):
                await orders.aappend(1)
            return "done"

        assert asyncio.run(test()) == "done"
        orders.append(2)

    def test_of_a_class_is_refused(self) -> None:
        with pytest.raises(TypeError, match="Tests is a class"):

            @redis_away()
            class Tests(unittest.TestCase): ...
