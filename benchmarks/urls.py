"""The views that the web servers serve: each exists with one append and without."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from benchmarks.events import page_view
from django_jsonbuffer import Bucket

served = Bucket("served")
view = page_view()


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


urlpatterns = [
    path("async/without", without_aappend),
    path("async/with", with_aappend),
    path("sync/without", without_append),
    path("sync/with", with_append),
]
