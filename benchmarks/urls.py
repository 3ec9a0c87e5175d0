"""The views that the web servers serve: with one append, with one RPUSH by hand, and without."""

import json

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django_redis import get_redis_connection

from benchmarks import by_hand
from benchmarks.events import page_view
from django_jsonbuffer import Bucket

served = Bucket("served")
view = page_view()
encoded = json.dumps(view).encode()


async def without_aappend(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


async def with_aappend(request: HttpRequest) -> HttpResponse:
    await served.aappend(view)
    return HttpResponse("ok")


def without_append(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


def with_append(request: HttpRequest) -> HttpResponse:
    served.append(view)
    return HttpResponse("ok")


def with_rpush(request: HttpRequest) -> HttpResponse:
    by_hand.push(get_redis_connection("jsonbuffer"), encoded)
    return HttpResponse("ok")


urlpatterns = [
    path("async/without", without_aappend),
    path("async/with", with_aappend),
    path("sync/without", without_append),
    path("sync/with", with_append),
    path("sync/rpush", with_rpush),
]
