"""The endpoint that the shop posts the changes of its orders to. It is out of order now and then.

Usually it belongs to somebody else. It uses nothing of django_jsonbuffer, and knows only the
specification of Standard Webhooks and the secret.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hmac
import json
import math
import time
from typing import Final, NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from example_project.shop.models import ReceivedChange, WebhookRequest

TOLERANCE_SECONDS: Final = 300
"""How far the time of a request may be from now. An older one may be a copy sent by an attacker."""


class Answer(NamedTuple):
    status: int
    retry_after_seconds: int = 0
    """How long the endpoint asks to wait. It refuses everything until then."""


ACCEPTED: Final = Answer(204)
TURNS: Final = (
    # The first request is refused, so that a demo of a few seconds shows a refusal too.
    *(Answer(503, retry_after_seconds=2), ACCEPTED, ACCEPTED, ACCEPTED),
    *(Answer(500), ACCEPTED, ACCEPTED, ACCEPTED),
    *(Answer(429, retry_after_seconds=1), ACCEPTED, ACCEPTED, ACCEPTED),
)


class Service:
    """Decides how the endpoint answers: by turns, and all over again after the last turn."""

    def __init__(self) -> None:
        self._requests = 0
        self._refusal = ACCEPTED
        self._opens_at_seconds = -math.inf

    def answer(self, *, now_seconds: float) -> Answer:
        """The answer to a request at this monotonic time."""
        if (left_seconds := self._opens_at_seconds - now_seconds) > 0:
            return self._refusal._replace(retry_after_seconds=math.ceil(left_seconds))
        answer = TURNS[self._requests % len(TURNS)]
        self._requests += 1
        self._refusal = answer
        self._opens_at_seconds = now_seconds + answer.retry_after_seconds
        return answer


service: Final = Service()


@csrf_exempt
@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    """Store the changes of a signed request, or refuse it. A repeated change is stored once."""
    if not is_signed(request, now_seconds=time.time()):
        return HttpResponse("The signature is missing, wrong or too old.", status=401)
    changes = json.loads(request.body)
    answer = service.answer(now_seconds=time.monotonic())
    if answer == ACCEPTED:
        ReceivedChange.objects.bulk_create(
            (
                ReceivedChange(
                    event_id=change["id"],
                    type=change["type"],
                    subject=change["subject"],
                    at=change["time"],
                    data=change["data"],
                )
                for change in changes
            ),
            ignore_conflicts=True,
        )
    WebhookRequest.objects.create(
        webhook_id=request.headers["webhook-id"], status_code=answer.status, changes=len(changes)
    )
    response = HttpResponse(status=answer.status)
    if answer.retry_after_seconds:
        response["Retry-After"] = str(answer.retry_after_seconds)
    return response


def is_signed(request: HttpRequest, *, now_seconds: float) -> bool:
    """Whether somebody who knows the secret has signed the request at about this Unix time."""
    id, timestamp = (request.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp"))
    if not timestamp.isdecimal() or abs(now_seconds - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    key = base64.b64decode(settings.WEBHOOK_SECRET.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{id}.{timestamp}.".encode() + request.body, "sha256")
    signature = b"v1," + base64.b64encode(digest)
    # There are several signatures while a secret is replaced.
    given = request.headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(signature, each) for each in given)
