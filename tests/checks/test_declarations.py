from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.catalog import declared_buckets, options_of
from django_jsonbuffer.declarations import declared
from django_jsonbuffer.exceptions import BufferMisconfigured, InvalidBucketName
from tests.checks.messages import APP, found


@pytest.fixture
def declaring(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of Bucket declares the bucket, as while the apps are loaded."""
    monkeypatch.setattr(declared, "buckets", [])
    monkeypatch.setattr(declared, "processors", {})
    monkeypatch.setattr(declared, "rivals", {})
    monkeypatch.setattr(apps, "ready", False)


def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "ready", True)


def process(batch: Any) -> None: ...


def process_otherwise(batch: Any) -> None: ...


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
        assert message.hint == "Declared buckets: page-views. Did you mean 'page-views'?"

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
        assert "test_declarations.process," in message
        assert "test_declarations.process_otherwise" in message

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
        assert options_of(Bucket("orders")).batch_size == 1

    def test_options_hold_for_a_handle_that_was_used_before_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        early = Bucket("orders")
        assert options_of(early).batch_size == 1000
        Bucket("orders", batch_size=7)
        loaded(monkeypatch)
        assert options_of(early).batch_size == 7

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
        assert all(
            name in message for name in ("test_declarations.process,", "_otherwise", "third")
        )


class TestActor:
    @pytest.fixture(autouse=True)
    def _recording_no_more_than_noted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("django_jsonbuffer.recording.registry.recordings", [])
        monkeypatch.setattr("django_jsonbuffer.recording.signals.connect", lambda recording: None)

    def test_without_the_middleware(self) -> None:
        Bucket("page-views").record("auth.Group", actor=True)
        message = found()["W009"]
        assert "auth.Group" in message.msg
        assert "django_jsonbuffer.middleware.actor_middleware" in str(message.hint)

    def test_with_the_middleware(self, settings: Settings) -> None:
        settings.MIDDLEWARE = [
            *settings.MIDDLEWARE,
            "django_jsonbuffer.middleware.actor_middleware",
        ]
        Bucket("page-views").record("auth.Group", actor=True)
        assert found() == {}

    def test_that_nobody_asked_for(self) -> None:
        Bucket("page-views").record("auth.Group")
        assert found() == {}


@pytest.mark.usefixtures("declaring")
class TestReceipts:
    def test_in_an_unknown_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Bucket("page-views", receipts="nowhere").processor(process)
        loaded(monkeypatch)
        message = found()["E010"]
        assert "'page-views' has receipts='nowhere'" in message.msg
        assert "Correct the alias" in str(message.hint)

    def test_in_a_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Bucket("page-views", receipts="default").processor(process)
        loaded(monkeypatch)
        assert found() == {}
