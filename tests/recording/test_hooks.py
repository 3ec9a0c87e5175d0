import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.db import transaction
from django.db.models.signals import (
    post_save,
)
from django.dispatch import Signal
from django.http import HttpRequest
from django.test import Client

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import InvalidEvent
from tests.library.models import (
    Author,
    Book,
    Tag,
)
from tests.recorded import rolled_back

pytestmark = pytest.mark.django_db(transaction=True)


class TestHook:
    @pytest.fixture
    def signal(self) -> Signal:
        return Signal()

    @pytest.mark.parametrize(
        ("result", "events"),
        [
            ({"a": 1}, [{"a": 1}]),
            ("text", ["text"]),
            (7, [7]),
            (0, [0]),
            ([1, 2], [1, 2]),
            ((1, 2), [1, 2]),
            ([], []),
            (None, []),
            ([[1]], [[1]]),
        ],
    )
    def test_appends_what_the_function_returns(
        self, bucket: Bucket, signal: Signal, result: Any, events: list[Any]
    ) -> None:
        bucket.hook(signal)(lambda **kwargs: result)
        signal.send(sender=None)
        assert bucket.take() == events

    def test_returns_the_function(self, bucket: Bucket, signal: Signal) -> None:
        def function(**kwargs: Any) -> int:
            return 1

        assert bucket.hook(signal)(function) is function

    def test_generator(self, bucket: Bucket, signal: Signal) -> None:
        @bucket.hook(signal)
        def function(count: int, **kwargs: Any) -> Iterator[int]:
            yield from range(count)

        signal.send(sender=None, count=3)
        signal.send(sender=None, count=0)
        assert bucket.take() == [0, 1, 2]

    def test_is_called_as_a_receiver_is(self, bucket: Bucket, signal: Signal) -> None:
        got: list[Any] = []
        bucket.hook(signal)(lambda **kwargs: got.append(kwargs))
        signal.send(sender="me", color="red")
        assert got == [{"signal": signal, "sender": "me", "color": "red"}]
        assert bucket.take() == []

    def test_coroutine_function(self, bucket: Bucket, signal: Signal) -> None:
        @bucket.hook(signal)
        async def function(number: int, **kwargs: Any) -> list[int]:
            await asyncio.sleep(0)
            return [number]

        async def send() -> None:
            await signal.asend(sender=None, number=2)

        signal.send(sender=None, number=1)
        asyncio.run(send())
        assert bucket.take() == [1, 2]

    def test_function_on_a_signal_of_async_code(self, bucket: Bucket, signal: Signal) -> None:
        bucket.hook(signal)(lambda **kwargs: 1)
        asyncio.run(signal.asend(sender=None))
        assert bucket.take() == [1]

    def test_coroutine_function_waits_for_the_commit(self, bucket: Bucket, signal: Signal) -> None:
        @bucket.hook(signal)
        async def function(**kwargs: Any) -> int:
            return 1

        with transaction.atomic():
            signal.send(sender=None)
            assert bucket.status().pending == 0
        assert bucket.take() == [1]

    def test_of_one_sender(self, bucket: Bucket, signal: Signal) -> None:
        bucket.hook(signal, sender=Author)(lambda sender, **kwargs: sender.__name__)
        signal.send(sender=Author)
        signal.send(sender=Book)
        assert bucket.take() == ["Author"]

    def test_of_a_sender_by_its_label(self, bucket: Bucket) -> None:
        bucket.hook(post_save, sender="library.Author")(lambda instance, **kw: instance.name)
        Author.objects.create(name="Ann")
        Tag.objects.create(name="x")
        assert bucket.take() == ["Ann"]

    def test_twice_is_once(self, bucket: Bucket, signal: Signal) -> None:
        def function(**kwargs: Any) -> int:
            return 1

        bucket.hook(signal)(function)
        bucket.hook(signal)(function)
        Bucket("others").hook(signal)(function)
        signal.send(sender=None)
        assert bucket.take() == [1]
        assert Bucket("others").take() == [1]

    def test_function_that_nobody_else_holds(self, bucket: Bucket, signal: Signal) -> None:
        bucket.hook(signal)(lambda **kwargs: 1)
        signal.send(sender=None)
        assert bucket.take() == [1]

    def test_rollback_leaves_nothing(self, bucket: Bucket) -> None:
        bucket.hook(post_save, sender=Author)(lambda instance, **kwargs: instance.name)
        with rolled_back():
            Author.objects.create(name="Ann")
            assert bucket.status().pending == 0
        Author.objects.create(name="Bea")
        assert bucket.take() == ["Bea"]

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_waits_for_the_database_that_the_signal_names(
        self, bucket: Bucket, signal: Signal
    ) -> None:
        bucket.hook(signal)(lambda event, **kwargs: event)
        with rolled_back(using="other"):
            signal.send(sender=None, using="default", event=1)
            signal.send(sender=None, using="other", event=2)
            signal.send(sender=None, using="no database", event=3)
            signal.send(sender=None, using=["other"], event=4)
        assert bucket.take() == [1]

    def test_error_of_the_function_is_the_senders(self, bucket: Bucket, signal: Signal) -> None:
        @bucket.hook(signal)
        def function(**kwargs: Any) -> int:
            raise KeyError("x")

        with pytest.raises(KeyError):
            signal.send(sender=None)

    def test_what_is_no_event(
        self, bucket: Bucket, signal: Signal, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.hook(signal)(lambda **kwargs: [1, {2}])
        with transaction.atomic():
            signal.send(sender=None)
        assert f"Bucket {bucket.name}: 1 events are lost. An event was refused with" in caplog.text
        assert bucket.take() == [1]

    def test_what_is_no_event_is_an_error_if_the_bucket_says_so(self, signal: Signal) -> None:
        strict = Bucket("changes", on_unavailable="raise")
        strict.hook(signal)(lambda **kwargs: [1, {2}])
        with pytest.raises(InvalidEvent):
            signal.send(sender=None)
        assert strict.take() == []

    def test_redis_is_away(
        self,
        bucket: Bucket,
        signal: Signal,
        unreachable: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        bucket.hook(signal)(lambda **kwargs: 1)
        signal.send(sender=None)
        assert "1 events are lost" in caplog.text

    @pytest.mark.urls("tests.urls")
    def test_login(self, bucket: Bucket, user: User) -> None:
        @bucket.hook(user_logged_in)
        def logged_in(user: User, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
            return {"user": user.pk, "path": request.path}

        url = "/admin/login/"
        Client().post(url, {"username": "ann", "password": "wrong"})
        Client().post(url, {"username": "ann", "password": "secret"})
        assert bucket.take() == [{"user": user.pk, "path": url}]
