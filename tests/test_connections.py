from collections.abc import Callable

import pytest

from django_jsonbuffer import connections
from django_jsonbuffer.exceptions import BufferMisconfigured
from tests import server


class TestClient:
    def test_is_that_of_the_primary(self, use_cache: Callable[..., str]) -> None:
        alias = use_cache([server.URL, "unix:///nowhere/replica.sock?db=0"])
        assert connections.client(alias).ping()

    def test_class_that_cannot_be_imported(self, use_cache: Callable[..., str]) -> None:
        alias = use_cache("redis://a/1", OPTIONS={"CLIENT_CLASS": "no.such.Client"})
        with pytest.raises(BufferMisconfigured, match=alias):
            connections.client(alias)
