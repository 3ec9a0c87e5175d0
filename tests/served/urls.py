import asyncio
import time

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_jsonbuffer import Bucket

HOLD_SECONDS = 2

served = Bucket("served")


def append(request: HttpRequest, number: int) -> HttpResponse:
    served.append(number)
    return HttpResponse("ok")


async def aappend(request: HttpRequest, number: int) -> HttpResponse:
    await served.aappend(number)
    return HttpResponse("ok")


def hold(request: HttpRequest) -> HttpResponse:
    """Occupy the thread of the request."""
    time.sleep(HOLD_SECONDS)
    return HttpResponse("ok")


async def ahold(request: HttpRequest) -> HttpResponse:
    """Occupy the thread in which the ORM runs."""
    await sync_to_async(time.sleep)(HOLD_SECONDS)
    return HttpResponse("ok")


async def hold_and_append(request: HttpRequest, number: int) -> HttpResponse:
    """Append while the thread in which the ORM of this request runs is occupied."""
    holding = asyncio.create_task(sync_to_async(time.sleep)(HOLD_SECONDS))
    await asyncio.sleep(0.1)
    await served.aappend(number)
    is_held = not holding.done()
    await holding
    return HttpResponse("ok", status=200 if is_held else 500)


urlpatterns = [
    path("append/<int:number>", append),
    path("aappend/<int:number>", aappend),
    path("hold", hold),
    path("ahold", ahold),
    path("hold-and-append/<int:number>", hold_and_append),
]
