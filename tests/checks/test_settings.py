from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured
from tests.checks.messages import found


def test_all_is_well() -> None:
    assert found() == {}


class TestCache:
    def test_setting_with_an_unknown_key(self, configure: Callable[..., None]) -> None:
        configure(CASHE="x")
        assert "CASHE" in found()["E001"].msg

    def test_encoder_that_cannot_be_imported(self, configure: Callable[..., None]) -> None:
        configure(ENCODER="no.such.Encoder")
        assert "no.such.Encoder" in found()["E001"].msg

    def test_alias_that_is_missing(self, configure: Callable[..., None]) -> None:
        configure(CACHE="nowhere")
        assert "nowhere" in found()["E002"].msg

    def test_backend_without_a_raw_client(
        self, configure: Callable[..., None], settings: Settings
    ) -> None:
        for name, backend in {
            "local": "django.core.cache.backends.locmem.LocMemCache",
            "core": "django.core.cache.backends.redis.RedisCache",
        }.items():
            settings.CACHES = {
                **settings.CACHES,
                name: {"BACKEND": backend, "LOCATION": "redis://127.0.0.1:1/9"},
            }
            configure(CACHE=name)
            assert name in found()["E003"].msg
            with pytest.raises(BufferMisconfigured, match=name):
                Bucket("orders").append(1)

    def test_alias_that_is_an_ordinary_cache(
        self, configure: Callable[..., None], settings: Settings
    ) -> None:
        settings.CACHES = {**settings.CACHES, "default": settings.CACHES["jsonbuffer"]}
        configure(CACHE="default")
        assert "clear()" in found()["W002"].msg

    @pytest.mark.parametrize(
        ("own", "other", "shares"),
        [
            ("redis://127.0.0.1:1/1", "redis://127.0.0.1:1/1", True),
            ("redis://127.0.0.1:1/1", "redis://localhost:1/1?socket_timeout=3", True),
            ("redis://127.0.0.1:1/1", "redis://127.0.0.1:1?db=1", True),
            ("redis://127.0.0.1:1/1", "redis://127.0.0.1:1/2", False),
            ("redis://127.0.0.1:1", "redis://127.0.0.1:2", False),
            ("redis://127.0.0.1", "redis://127.0.0.1:6379/0", True),
            ("unix:///tmp/a.sock?db=1", "unix:///tmp/a.sock?db=1", True),
            ("unix:///tmp/a.sock?db=1", "unix:///tmp/a.sock?db=2", False),
            ("redis://a/1", ["redis://b/1", "redis://a/1"], True),
            ("redis://a/1", ("redis://b/1", "redis://a/1"), True),
            ("redis://a/1", "redis://b/1,redis://a/1", True),
            ("redis://a/1", "redis://b/1, redis://a/1", True),
            ("redis://a/1", "some-memory", False),
            ("redis://a/1", ["redis://b/1", 5], False),
        ],
    )
    def test_database_shared_with_another_alias(
        self,
        use_cache: Callable[..., str],
        settings: Settings,
        own: str,
        other: Any,
        shares: bool,
    ) -> None:
        use_cache(own)
        settings.CACHES = {
            **settings.CACHES,
            "pages": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": other},
        }
        messages = found()
        assert ("W002" in messages) == shares
        if shares:
            assert "pages" in messages["W002"].msg

    def test_client_without_a_timeout(self, use_cache: Callable[..., str]) -> None:
        use_cache(
            "redis://patient:1/0", OPTIONS={"CONNECTION_POOL_KWARGS": {"socket_timeout": None}}
        )
        message = found()["W003"]
        assert "hang" in message.msg
        assert "SOCKET_TIMEOUT" in str(message.hint)

    def test_client_with_a_timeout(self, use_cache: Callable[..., str]) -> None:
        use_cache("redis://patient:1/1", OPTIONS={"SOCKET_TIMEOUT": 1})
        assert found() == {}

    def test_client_that_decodes(self, use_cache: Callable[..., str]) -> None:
        use_cache(
            "redis://decoding:1/0", OPTIONS={"CONNECTION_POOL_KWARGS": {"decode_responses": True}}
        )
        assert "bytes" in found()["W004"].msg

    @pytest.mark.parametrize("setting", ["SESSION_CACHE_ALIAS", "CACHE_MIDDLEWARE_ALIAS"])
    def test_alias_that_sessions_or_pages_use(self, settings: Settings, setting: str) -> None:
        setattr(settings, setting, "jsonbuffer")
        assert "an ordinary cache" in found()["W002"].msg

    @pytest.mark.parametrize(
        "options", [{"db": 1}, {"CONNECTION_POOL_KWARGS": {"db": 1}}], ids=["option", "pool"]
    )
    def test_database_shared_with_another_alias_by_its_options(
        self, use_cache: Callable[..., str], settings: Settings, options: dict[str, Any]
    ) -> None:
        use_cache("redis://a/1")
        settings.CACHES = {
            **settings.CACHES,
            "pages": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": "redis://a",
                "OPTIONS": options,
            },
        }
        assert "pages" in found()["W002"].msg
