"""Isolation for tests in classes of Django and unittest."""

from typing import TYPE_CHECKING, Any, ClassVar
from unittest import TestCase

from .isolating import isolated_buckets, real_redis

if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object


class BucketsMixin(_Base):
    """Let each test of a ``TestCase`` begin with empty buckets.

    ::

        class OrderTests(BucketsMixin, TestCase):
            def test_order_is_appended(self): ...

    The buckets are in memory, or where ``JSONBUFFER["TESTS"]`` says.
    """

    uses_real_redis: ClassVar[bool] = False
    """Whether the tests of the class use the Redis of the site, under keys of their own."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if issubclass(cls, TestCase) and cls.mro().index(TestCase) < cls.mro().index(BucketsMixin):
            raise TypeError(
                f"{cls.__name__} must name BucketsMixin before its TestCase: otherwise its tests "
                "share their buckets."
            )

    def run(self, *args: Any, **kwargs: Any) -> Any:
        with real_redis() if self.uses_real_redis else isolated_buckets():
            return super().run(*args, **kwargs)
