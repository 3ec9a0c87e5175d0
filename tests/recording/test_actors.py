import asyncio

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from pytest_django import Settings

from django_jsonbuffer import Bucket
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


def delete_me(request: HttpRequest) -> HttpResponse:
    request.user.delete()
    Book.objects.create(title="By nobody")
    return HttpResponse()


urlpatterns = [
    path("create/", create_book),
    path("acreate/", acreate_book),
    path("delete-me/", delete_me),
]


@pytest.fixture
def with_actor(settings: Settings) -> None:
    settings.MIDDLEWARE = [
        "django_jsonbuffer.middleware.actor_middleware",
        *settings.MIDDLEWARE,
        "django_jsonbuffer.middleware.gathering_middleware",
    ]


@pytest.mark.urls(__name__)
class TestActor:
    def actors(self, bucket: Bucket) -> list[tuple[str | None, str | None]]:
        return [(event.get("authtype"), event.get("authid")) for event in recorded(bucket)]

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
        assert self.actors(bucket) == [nobody, ("app_user", pk(user)), nobody]

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
        assert self.actors(bucket) == [(None, None), ("app_user", pk(user)), (None, None)]

    @pytest.mark.usefixtures("with_actor")
    def test_not_unless_asked_for(self, bucket: Bucket, user: User) -> None:
        bucket.record(Book)
        client = Client()
        client.force_login(user)
        client.post("/create/")
        assert self.actors(bucket) == [(None, None)]

    def test_not_without_the_middleware(self, bucket: Bucket, user: User) -> None:
        bucket.record(Book, actor=True)
        client = Client()
        client.force_login(user)
        client.post("/create/")
        assert self.actors(bucket) == [(None, None)]

    @pytest.mark.usefixtures("with_actor")
    def test_is_forgotten_after_the_request(self, bucket: Bucket, user: User) -> None:
        bucket.record(Book, actor=True)
        client = Client()
        client.force_login(user)
        client.post("/create/")
        Book.objects.create()
        assert self.actors(bucket) == [("app_user", pk(user)), (None, None)]

    @pytest.mark.usefixtures("with_actor")
    def test_who_deleted_himself_is_nobody_then(self, bucket: Bucket, user: User) -> None:
        bucket.record(Book, actor=True)
        bucket.record(User, on=["deleted"], actor=True)
        client = Client()
        client.force_login(user)
        client.post("/delete-me/")
        assert self.actors(bucket) == [("app_user", pk(user)), (None, None)]

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
        assert self.actors(bucket) == [("app_user", pk(user))] * 3 + [(None, None)] * 3
