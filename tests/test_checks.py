from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from django_jsonbuffer import Bucket, receivers, store
from django_jsonbuffer.buckets import declared_buckets, register
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferMisconfigured, InvalidBucketName
from tests.server import Redis

# The models of other apps are checked against the database, which these tests leave alone.
APP = apps.get_app_config("django_jsonbuffer")


def found(*, deploy: bool = False) -> dict[str, CheckMessage]:
    """Messages of this app, by the number of their id. Each must say what to do."""
    messages = [
        message
        for message in run_checks(app_configs=[APP], include_deployment_checks=deploy)
        if message.id and message.id.startswith("django_jsonbuffer.")
    ]
    assert all(message.hint for message in messages)
    return {str(message.id).rpartition(".")[2]: message for message in messages}


@pytest.fixture
def declaring(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while the apps are loaded: a call of Bucket declares."""
    monkeypatch.setattr(register, "declarations", [])
    monkeypatch.setattr(register, "processors", {})
    monkeypatch.setattr(register, "rivals", {})
    monkeypatch.setattr(apps, "ready", False)


def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "ready", True)


def process(batch: Any) -> None: ...


def process_otherwise(batch: Any) -> None: ...


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


@pytest.mark.usefixtures("declaring")
class TestDeclarations:
    def test_bad_name_is_reported_with_its_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bucket = Bucket("a b")
        loaded(monkeypatch)
        message = found()["E004"].msg
        assert "'a b'" in message
        assert f"{__file__}:" in message
        with pytest.raises(InvalidBucketName):
            bucket.append(1)

    def test_bad_name_with_a_processor_leaves_the_other_buckets_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Bucket("a b").processor(process)
        Bucket("orders").processor(process)
        loaded(monkeypatch)
        assert list(found()) == ["E004"]
        assert [bucket.name for bucket in declared_buckets()] == ["orders"]

    def test_bad_option_is_reported_with_its_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bucket = Bucket("orders", batch_sise=3)
        loaded(monkeypatch)
        assert "batch_sise" in found()["E004"].msg
        with pytest.raises(BufferMisconfigured):
            bucket.status()

    @pytest.mark.parametrize(
        "buckets", [{"a b": {}}, {"orders": {"batch_size": "x"}}, {"orders": {"sise": 1}}]
    )
    def test_bad_setting_is_reported(
        self,
        monkeypatch: pytest.MonkeyPatch,
        configure: Callable[..., None],
        buckets: dict[str, Any],
    ) -> None:
        loaded(monkeypatch)
        configure(BUCKETS=buckets)
        assert next(iter(buckets)) in found()["E004"].msg

    def test_setting_for_a_bucket_that_nobody_declares(
        self, monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]
    ) -> None:
        Bucket("page-views").processor(process)
        loaded(monkeypatch)
        configure(BUCKETS={"page-view": {"batch_size": 5}})
        message = found()["W008"]
        assert "'page-view'" in message.msg
        assert "page-views" in str(message.hint)

    def test_two_different_declarations_of_one_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Bucket("orders", batch_size=1).processor(process)
        Bucket("orders", batch_size=2)
        loaded(monkeypatch)
        assert found()["E005"].msg.count(f"{__file__}:") == 2

    def test_two_handles_of_one_name_are_no_fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Bucket("orders", batch_size=1).processor(process)
        Bucket("orders")
        Bucket("orders", batch_size=1).processor(process)
        loaded(monkeypatch)
        Bucket("orders", batch_size=7)
        assert found() == {}

    def test_two_processors_of_one_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Bucket("orders").processor(process)
        Bucket("orders").processor(process_otherwise)
        loaded(monkeypatch)
        message = found()["E005"].msg
        assert "test_checks.process," in message
        assert "test_checks.process_otherwise" in message

    def test_two_processors_without_a_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Bucket("orders").processor(partial(process, 1))
        Bucket("orders").processor(partial(process, 2))
        loaded(monkeypatch)
        assert found()["E005"].msg.count("functools.partial") == 2

    @pytest.mark.parametrize("name", [None, 5, ["a"], {}])
    def test_name_that_is_no_text(self, monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
        Bucket(name, batch_size=2).processor(process)
        loaded(monkeypatch)
        assert list(found()) == ["E004"]

    def test_error_of_a_faulty_declaration_does_not_grow(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket = Bucket("a b")
        loaded(monkeypatch)
        lengths = set()
        for _ in range(3):
            with pytest.raises(InvalidBucketName) as caught:
                bucket.append(1)
            lengths.add(len(caught.traceback))
        assert len(lengths) == 1

    def test_without_processor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Bucket("orders")
        Bucket("for-a-foreign-consumer", batch_size=None)
        loaded(monkeypatch)
        messages = found()
        assert list(messages) == ["W001"]
        assert "'orders'" in messages["W001"].msg

    def test_check_command_fails_on_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Bucket("a b")
        loaded(monkeypatch)
        with pytest.raises(SystemCheckError, match="E004"):
            call_command("check", APP.label)

    def test_handle_without_options_leaves_those_of_the_declaration(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Bucket("orders", batch_size=1)
        Bucket("orders")
        loaded(monkeypatch)
        assert Bucket("orders").options.batch_size == 1

    def test_options_hold_for_a_handle_that_was_used_before_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        early = Bucket("orders")
        assert early.options.batch_size == 1000
        Bucket("orders", batch_size=7)
        loaded(monkeypatch)
        assert early.options.batch_size == 7

    def test_processor_that_comes_later_is_no_rival(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Bucket("orders").processor(process)
        loaded(monkeypatch)
        Bucket("orders").processor(process_otherwise)
        assert found() == {}

    def test_three_processors_of_one_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def third(batch: Any) -> None: ...

        for function in (process, process_otherwise, third):
            Bucket("orders").processor(function)
        loaded(monkeypatch)
        message = found()["E005"].msg
        assert all(name in message for name in ("test_checks.process,", "_otherwise", "third"))


class TestServer:
    def test_is_not_asked_without_deploy(self, unreachable: str) -> None:
        assert found() == {}

    def test_that_cannot_be_reached(self, unreachable: str) -> None:
        assert "could not be asked" in found(deploy=True)["W005"].msg

    def test_is_not_asked_when_the_settings_are_at_fault(
        self, configure: Callable[..., None]
    ) -> None:
        configure(CACHE="nowhere")
        assert list(found(deploy=True)) == ["E002"]

    def test_that_evicts_and_does_not_persist(self, private_server: Redis) -> None:
        private_server.config_set("maxmemory-policy", "allkeys-lru")
        messages = found(deploy=True)
        assert "allkeys-lru" in messages["W006"].msg
        assert "no persistence" in messages["W007"].msg

    def test_that_writes_snapshots_only(self, private_server: Redis) -> None:
        private_server.config_set("save", "60 1000")
        messages = found(deploy=True)
        assert list(messages) == ["W007"]
        assert "snapshots only" in messages["W007"].msg

    def test_that_keeps_what_it_is_given(self, private_server: Redis) -> None:
        private_server.config_set("appendonly", "yes")
        assert found(deploy=True) == {}

    def test_that_has_no_config_command(
        self, private_server: Redis, use_cache: Callable[..., str]
    ) -> None:
        private_server.execute_command("ACL SETUSER default -config")
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://{path}?db=3")
        assert list(found(deploy=True)) == ["W007"]

    def test_that_is_too_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store, "OLDEST_VERSION", (99, 0))
        assert "99.0" in str(found(deploy=True)["E006"].hint)

    @pytest.mark.usefixtures("private_server")
    def test_that_is_just_new_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        version = store.server_facts(configuration()).version
        monkeypatch.setattr(store, "OLDEST_VERSION", version)
        assert "E006" not in found(deploy=True)


class TestActor:
    @pytest.fixture(autouse=True)
    def _recording_no_more_than_noted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(receivers, "recordings", [])
        monkeypatch.setattr(receivers.Recording, "connect", lambda recording: None)

    def test_that_nobody_tells(self) -> None:
        Bucket("page-views").record("auth.Group", actor=True)
        message = found()["W009"]
        assert "auth.Group" in message.msg
        assert "django_jsonbuffer.middleware.actor_middleware" in str(message.hint)

    def test_that_the_middleware_tells(self, settings: Settings) -> None:
        settings.MIDDLEWARE = [
            *settings.MIDDLEWARE,
            "django_jsonbuffer.middleware.actor_middleware",
        ]
        Bucket("page-views").record("auth.Group", actor=True)
        assert found() == {}

    def test_that_nobody_asked_for(self) -> None:
        Bucket("page-views").record("auth.Group")
        assert found() == {}
