"""Buckets that only one test has, in memory or in a real Redis."""

from collections.abc import Generator

from django_jsonbuffer import isolation
from django_jsonbuffer.conf import site_configuration

from .blocks import block


@block
def isolated_buckets() -> Generator[None, None, None]:
    """Let all buckets be empty at the beginning of the block, and forget its events at the end.

    They are in the Redis that ``JSONBUFFER["TESTS"]`` says: in memory by default. The fixtures of
    pytest and :class:`BucketsMixin` do this for each test. Also a decorator.
    """
    mode = site_configuration().tests
    if mode == "site":
        yield
        return
    with isolation.isolated(mode):
        yield


@block
def real_redis() -> Generator[None, None, None]:
    """Let the buckets of the block be in the Redis of the site, under keys of their own.

    No key of the site is read or written. The keys of the block are removed at its end. Also a
    decorator.
    """
    with isolation.isolated("redis"):
        yield
