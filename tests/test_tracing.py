"""A tracer that fails must not touch the way of an event."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from django_jsonbuffer import Bucket, tracing


class FailingTracer:
    """Fails when it is asked, entered or left."""

    def __init__(self, moment: str) -> None:
        self.moment = moment

    def appending(self, bucket: str, count: int) -> AbstractContextManager[str]:
        return self._around("")

    def processing(self, *args: Any, **kwargs: Any) -> AbstractContextManager[object]:
        return self._around(None)

    def _around(self, entered: Any) -> AbstractContextManager[Any]:
        if self.moment == "ask":
            raise OSError("secret")
        return self._manager(entered)

    @contextmanager
    def _manager(self, entered: Any) -> Iterator[Any]:
        if self.moment == "enter":
            raise OSError("secret")
        try:
            yield entered
        finally:
            raise OSError("secret")


@pytest.mark.parametrize("moment", ["ask", "enter", "leave"])
class TestFailingTracer:
    @pytest.fixture(autouse=True)
    def failing(self, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tracing, "tracer", FailingTracer(moment))

    def test_appends_and_processes_once(self, caplog: pytest.LogCaptureFixture) -> None:
        bucket, seen = Bucket("orders"), list[int]()
        bucket.processor(seen.extend)
        bucket.append(1)
        assert bucket.drain().processed == 1
        assert seen == [1]
        assert caplog.text.count("The tracer failed with OSError") == 2
        assert "secret" not in caplog.text

    def test_leaves_the_failure_of_a_processor(self) -> None:
        bucket = Bucket("orders")

        @bucket.processor
        def fail(batch: object) -> None:
            raise KeyError("path")

        bucket.append(1)
        assert bucket.drain().failed > 0
        assert "KeyError" in bucket.status().error
