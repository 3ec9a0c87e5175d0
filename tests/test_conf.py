from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from django_jsonbuffer import Bucket, isolation
from django_jsonbuffer.cloudevents import cloud_event
from django_jsonbuffer.conf import Configuration, configuration
from django_jsonbuffer.exceptions import BufferMisconfigured


@pytest.fixture(autouse=True)
def outside_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "is_test_environment", lambda: False)


def test_defaults_when_there_is_no_setting(settings: Any) -> None:
    del settings.JSONBUFFER
    assert configuration() == Configuration(cache="jsonbuffer", prefix="jsonbuffer", buckets={})


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "jsonbuffer",
        {"CASHE": "x"},
        {"cache": "x"},
        {"CACHE": ""},
        {"CACHE": None},
        {"PREFIX": 1},
        {"PREFIX": "a{b"},
        {"PREFIX": "a}"},
        {"PREFIX": "a b"},
        {"PREFIX": "a\n"},
        {"PREFIX": "a" * 101},
        {"ENCODER": None},
        {"SOURCE": ""},
        {"SOURCE": 1},
        {"SOURCE": "/a b"},
        {"SOURCE": "/shöp"},
        {"BUCKETS": []},
        {"BUCKETS": {"orders": 200}},
    ],
)
def test_what_it_cannot_be(value: Any) -> None:
    with override_settings(JSONBUFFER=value), pytest.raises(BufferMisconfigured, match="JSONBUFF"):
        configuration()


def test_misspelled_key_is_suggested() -> None:
    with override_settings(JSONBUFFER={"CASHE": "x"}), pytest.raises(BufferMisconfigured) as caught:
        configuration()
    assert str(caught.value) == (
        "JSONBUFFER has no key 'CASHE'. Did you mean 'CACHE'? The keys are CACHE, PREFIX, ENCODER, "
        "SOURCE, LOG_ERRORS, GROUP_COMMIT, TESTS, METRICS_TOKEN, BUCKETS."
    )


def test_read_when_used() -> None:
    bucket = Bucket("orders")
    first = bucket.key
    with override_settings(JSONBUFFER={"PREFIX": "elsewhere"}):
        assert bucket.key == "elsewhere:{orders}"
    assert bucket.key == first == f"{settings.JSONBUFFER['PREFIX']}:{{orders}}"


class TestSource:
    def test_default_is_the_package_of_the_project(self) -> None:
        assert configuration().source == "/tests"

    @pytest.mark.parametrize("urlconf", [object(), None])
    def test_without_a_root_urlconf_that_names_the_package(self, urlconf: Any) -> None:
        with override_settings(JSONBUFFER={}, ROOT_URLCONF=urlconf):
            assert configuration().source == "/django"

    def test_may_be_any_uri_reference(self) -> None:
        source = "https://shop.example/orders?a=%20#b"
        with override_settings(JSONBUFFER={"SOURCE": source}):
            assert configuration().source == source

    def test_may_be_a_function(self) -> None:
        sources = iter(["/acme", "/globex"])
        with override_settings(JSONBUFFER={"SOURCE": lambda: next(sources)}):
            events = [cloud_event("a", None) for _ in range(2)]
        assert [event["source"] for event in events] == ["/acme", "/globex"]

    @pytest.mark.parametrize("wrong", ["", None, 1, "/a b"])
    def test_function_that_returns_no_uri_reference(self, wrong: Any) -> None:
        with (
            override_settings(JSONBUFFER={"SOURCE": lambda: wrong}),
            pytest.raises(BufferMisconfigured, match=r"\['SOURCE'\] must return"),
        ):
            cloud_event("a", None)
