import sys
from datetime import timedelta

import httpx
import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.sinks import Post
from tests.checks.messages import found
from tests.sinks.batches import a_batch

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.usefixtures("nothing_declared")
class TestFaultsOfPost:
    URL = "https://shop.example/hook"

    @pytest.mark.parametrize(
        ("sink", "text"),
        [
            (Post("shop.example/hook"), "URL"),
            (Post("ftp://shop.example"), "URL"),
            (Post(5), "URL"),  # type: ignore[arg-type]
            (Post("http://shop.example:99999/"), "URL"),
            (Post(URL, secret="hunter2!"), "secret"),
            (Post(URL, secret=[SECRET, ""]), "secret"),
            (Post(URL, secret=""), "secret"),
            (Post(URL, secret=[]), "secret"),
            (Post(URL, headers={"a": 1}), "headers"),  # type: ignore[dict-item]
            (Post(URL, headers={"a": "€"}), "headers"),
            (Post(URL, format="xml"), "format='xml'"),
            (Post(URL, format="json", lines=list), "format='json' and lines"),
            (Post(URL, timeout=timedelta(0)), "timeout"),
            (Post(URL, timeout=5), "timeout=5"),  # type: ignore[arg-type]
            (Post(URL, lines="id"), "lines='id'"),  # type: ignore[arg-type]
            (Post(URL, refused=[]), "refused=[]"),  # type: ignore[arg-type]
        ],
    )
    def test_fault_is_reported_and_raised(self, sink: Post, text: str) -> None:
        Bucket("orders").processor(sink)
        message = found()["E018"]
        assert text in message.msg
        assert "hunter2" not in f"{message.msg}{message.hint}"
        with pytest.raises(BufferMisconfigured) as raised:
            sink(a_batch(1))
        assert text in str(raised.value)

    def test_missing_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sink = Post(self.URL)
        Bucket("orders").processor(sink)
        assert "E017" not in found()
        monkeypatch.setitem(sys.modules, "httpx", None)
        message = found()["E017"]
        assert message.hint == "Run: pip install 'django-jsonbuffer[httpx]'"
        with pytest.raises(BufferMisconfigured, match="pip install"):
            sink(a_batch(1))

    def test_right_one_has_no_fault(self) -> None:
        sink = Post(
            lambda: self.URL,
            secret=[SECRET, SECRET.removeprefix("whsec_")],
            headers={"authorization": "Bearer b"},
            format="ndjson",
            lines=list,
            refused=dict,
            client=httpx.Client,
        )
        assert not [*sink.check()]

    def test_functions_are_not_called(self) -> None:
        """They may need the database."""

        def fail() -> str:
            raise AssertionError

        assert not [*Post(fail, secret=fail).check()]
