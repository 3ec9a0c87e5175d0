"""The pytest plugin of django_jsonbuffer: empty buckets for each test.

It is not in the package, because pytest loads it in each run, also in those of other projects. An
import of the package would load Django.
"""

import sys
from collections.abc import Iterator
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "real_redis: let the buckets use the Redis of the site, under keys of their own",
    )


@pytest.fixture(autouse=True)
def _isolated_buckets(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let each test begin with empty buckets."""
    if not _uses_buckets():
        yield
        return
    from django_jsonbuffer.testing import isolated_buckets, real_redis

    is_real = request.node.get_closest_marker("real_redis") is not None
    with real_redis() if is_real else isolated_buckets():
        yield


@pytest.fixture
def buckets(_isolated_buckets: None) -> Any:
    """The functions of :mod:`django_jsonbuffer.testing`: ``buckets.assert_appended("orders")``."""
    from django_jsonbuffer import testing

    return testing


def _uses_buckets() -> bool:
    """Whether the tests use Django with this app."""
    if "django_jsonbuffer" not in sys.modules:
        return False
    from django.apps import apps

    return apps.ready and apps.is_installed("django_jsonbuffer")
