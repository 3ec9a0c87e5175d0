import asyncio
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from pytest_django import Settings

from django_jsonbuffer import Bucket, acting_as, event_attributes
from django_jsonbuffer.exceptions import BufferMisconfigured, InvalidEvent
from tests.library.models import (
    Book,
)
from tests.recorded import pk, recorded

pytestmark = pytest.mark.django_db(transaction=True)


def create_book(request: HttpRequest) -> HttpResponse:
    Book.objects.create(title="In a request")
    return HttpResponse()


async def acreate_book(request: HttpRequest) -> HttpResponse:
    await Book.objects.acreate(title="In a request")
    return HttpResponse()


def create_as_import(request: HttpRequest) -> HttpResponse:
    with acting_as("import"):
        return create_book(request)


def delete_me(request: HttpRequest) -> HttpResponse:
    request.user.delete()
    Book.objects.create(title="By nobody")
    return HttpResponse()


urlpatterns = [
    path("create/", create_book),
    path("acreate/", acreate_book),
    path("create-as-import/", create_as_import),
    path("delete-me/", delete_me),
]


@pytest.fixture
def with_actor(settings: Settings) -> None:
    settings.MIDDLEWARE = [
        "django_jsonbuffer.middleware.actor_middleware",
        *settings.MIDDLEWARE,
        "django_jsonbuffer.middleware.gathering_middleware",
    ]


def actors(bucket: Bucket) -> list[tuple[str | None, str | None]]:
    return [(event.get("authtype"), event.get("authid")) for event in recorded(bucket)]


@pytest.mark.urls(__name__)
class TestActor:
    @pytest.mark.usefixtures("with_actor")
    @pytest.mark.parametrize("url", ["/create/", "/acreate/"])
    def test_is_the_user_of_the_request(self, bucket: Bucket, user: User, url: str) -> None:
        bucket.record(Book, actor=True)
        client = Client()
        client.post(url)
        client.force_login(user)
        client.post(url)
        client.logout()
        client.post(url)
        nobody = (None, None)
        assert actors(bucket) == [nobody, ("app_user", pk(user)), nobody]

    @pytest.mark.usefixtures("with_actor")
    @pytest.mark.parametrize("url", ["/create/", "/acreate/"])
    def test_of_an_async_request(self, bucket: Bucket, user: User, url: str) -> None:
        bucket.record(Book, actor=True)

        async def request() -> None:
            client = AsyncClient()
            await client.post(url)
            await client.aforce_login(user)
            await client.post(url)
            await Book.objects.acreate()

        asyncio.run(request())
        assert actors(bucket) == [(None, None), ("app_user", pk(user)), (None, None)]

    @pytest.mark.usefixtures("with_actor")
    def test_not_unless_asked_for(self, bucket: Bucket, user: User) -> None:
        bucket.record(Book)
        client = Client()
        client.force_login(user)
        client.post("/create/")
        assert actors(bucket) == [(None, None)]

    def test_not_without_the_middleware(self, bucket: Bucket, user: User) -> None:
        bucket.record(Book, actor=True)
        client = Client()
        client.force_login(user)
        client.post("/create/")
        assert actors(bucket) == [(None, None)]

    @pytest.mark.usefixtures("with_actor")
    def test_is_forgotten_after_the_request(self, bucket: Bucket, user: User) -> None:
        bucket.record(Book, actor=True)
        client = Client()
        client.force_login(user)
        client.post("/create/")
        Book.objects.create()
        assert actors(bucket) == [("app_user", pk(user)), (None, None)]

    @pytest.mark.usefixtures("with_actor")
    def test_who_deleted_himself_is_nobody_then(self, bucket: Bucket, user: User) -> None:
        bucket.record(Book, actor=True)
        bucket.record(User, on=["deleted"], actor=True)
        client = Client()
        client.force_login(user)
        client.post("/delete-me/")
        assert actors(bucket) == [("app_user", pk(user)), (None, None)]

    @pytest.mark.usefixtures("with_actor")
    def test_of_links_and_bulk(self, bucket: Bucket, user: User) -> None:
        from django_jsonbuffer.middleware import actor_middleware

        bucket.record(Book, on=["created"], m2m=["tags"], actor=True)

        def view(request: HttpRequest) -> HttpResponse:
            book = Book.objects.create()
            book.tags.create(name="x")
            bucket.record_bulk([book], "updated")
            return HttpResponse()

        for who in (user, AnonymousUser()):
            request = HttpRequest()
            request.user = who
            actor_middleware(view)(request)
        assert actors(bucket) == [("app_user", pk(user))] * 3 + [(None, None)] * 3


class TestActingAs:
    @pytest.fixture
    def bucket(self) -> Bucket:
        bucket = Bucket("changes")
        bucket.record(Book, actor=True, m2m=["tags"])
        return bucket

    def test_user(self, bucket: Bucket, user: User) -> None:
        with acting_as(user):
            Book.objects.create().tags.create(name="x")
            Book.objects.all().delete()
        Book.objects.create()
        assert actors(bucket) == [("app_user", pk(user))] * 3 + [(None, None)]

    def test_name(self, bucket: Bucket) -> None:
        with acting_as("nightly-import"):
            Book.objects.create()
        assert actors(bucket) == [("service_account", "nightly-import")]

    @pytest.mark.parametrize("nobody", [None, AnonymousUser(), User(username="new")])
    def test_nobody(self, bucket: Bucket, nobody: Any) -> None:
        with acting_as("import"), acting_as(nobody):
            Book.objects.create()
        assert actors(bucket) == [(None, None)]

    def test_user_without_a_key(self, bucket: Bucket) -> None:
        with acting_as(SimpleNamespace(is_authenticated=True)):
            Book.objects.create()
        assert actors(bucket) == [(None, None)]

    def test_innermost_block_wins(self, bucket: Bucket) -> None:
        with acting_as("a"):
            with acting_as("b"):
                Book.objects.create()
            Book.objects.create()
        assert [who for _, who in actors(bucket)] == ["b", "a"]

    def test_is_not_named_unless_asked_for(self) -> None:
        bucket = Bucket("others")
        bucket.record(Book)
        with acting_as("import"):
            Book.objects.create()
        assert actors(bucket) == [(None, None)]

    @pytest.mark.urls(__name__)
    @pytest.mark.usefixtures("with_actor")
    def test_wins_over_the_user_of_the_request(self, bucket: Bucket, user: User) -> None:
        client = Client()
        client.force_login(user)
        client.post("/create-as-import/")
        assert actors(bucket) == [("service_account", "import")]

    def test_request_wins_over_the_block_around_it(self, bucket: Bucket, user: User) -> None:
        from django_jsonbuffer.middleware import actor_middleware

        request = HttpRequest()
        request.user = user
        with acting_as("runserver"):
            actor_middleware(create_book)(request)
        assert actors(bucket) == [("app_user", pk(user))]

    def test_ends_with_an_error(self, bucket: Bucket) -> None:
        with pytest.raises(ZeroDivisionError), acting_as("import"):
            1 // 0  # noqa: B018
        Book.objects.create()
        assert actors(bucket) == [(None, None)]

    def test_counts_in_tasks_and_not_in_other_threads(self, bucket: Bucket) -> None:
        async def work(name: str) -> None:
            with acting_as(name):
                await asyncio.sleep(0)
                await Book.objects.acreate()

        async def all_work() -> None:
            await asyncio.gather(*map(work, "abc"))

        def note() -> None:
            bucket.record_bulk([Book(pk=1)], "deleted")

        asyncio.run(all_work())
        with acting_as("import"):
            thread = Thread(target=note)
            thread.start()
            thread.join()
        *of_tasks, of_thread = actors(bucket)
        assert sorted(who or "" for _, who in of_tasks) == ["a", "b", "c"]
        assert of_thread == (None, None)

    @pytest.mark.parametrize("wrong", [7, object(), Book(title="It"), ["ann"], ""])
    def test_mistake(self, wrong: Any) -> None:
        with pytest.raises(BufferMisconfigured, match="acting_as"), acting_as(wrong):
            pass


class TestAttributes:
    def test_are_those_of_all_recordings(self, bucket: Bucket) -> None:
        bucket.record(Book)
        with acting_as("import", correlationid="c-1"), event_attributes(batch="7"):
            Book.objects.create()
        with event_attributes(correlationid="c-2"):
            Book.objects.create()
        Book.objects.create()
        assert [(e.get("correlationid"), e.get("batch")) for e in recorded(bucket)] == [
            *[("c-1", "7"), ("c-2", None), (None, None)]
        ]

    @pytest.mark.parametrize("name", ["user_id", "subject", "data", "Correlation"])
    def test_mistake(self, name: str) -> None:
        with pytest.raises(InvalidEvent, match=name), acting_as("import", **{name: "x"}):
            pass
