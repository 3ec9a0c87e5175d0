"""Post: a sink that sends each batch as one HTTP request."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from django.core.checks import CheckMessage

from django_jsonbuffer.cloudevents import is_cloud_event
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.encoding import encoder
from django_jsonbuffer.exceptions import BufferMisconfigured, DestinationRefused, EventsRefused
from django_jsonbuffer.sinks.faults import refuse_faulty
from django_jsonbuffer.sinks.isolation import (
    process_or_reject,
    reject_unless_all,
    results_or_reject,
)
from django_jsonbuffer.sinks.sink import Sink

from .endpoints import Endpoint
from .post_faults import faults_of_headers, faults_of_post, faults_of_secret, faults_of_url
from .webhook_signatures import signature_headers

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
Secrets: TypeAlias = str | Sequence[str]

TIMEOUT: Final = timedelta(seconds=20)
"""How long each step of a request may take by default. Standard Webhooks recommends 15 to 30
seconds for a request."""


class Post(Sink):
    """Sends each batch as one HTTP POST request. Needs the extra ``httpx``.

    The body is a JSON array: ``application/cloudevents-batch+json`` if all events of the batch are
    CloudEvents, else ``application/json``. With ``format="ndjson"`` it has one event in each line:
    ``application/x-ndjson``. Numbers are sent as they were appended.

    The header ``webhook-id`` is the id of the batch, the same on every delivery. So a receiver can
    recognize a repeat. With `secret`, the request is signed as Standard Webhooks specifies.

    `url`, `secret` and `headers` may be functions without arguments, which are called for each
    batch: ``secret=lambda: settings.WEBHOOK_SECRET``. What they return is checked. So a function
    that finds no secret raises `BufferMisconfigured`, and nothing is sent without a signature.

    - `secret`: text like ``whsec_…``, or a list of them while a secret is replaced.
    - `headers`: more headers of the request. They override those of the content.
    - `lines`: for bulk APIs that need more than one line for each event. A function of the event
      that returns a list of JSON values. Each becomes a line. It implies ``format="ndjson"``.
    - `refused`: for APIs whose answer is a success although they refuse single events. A function
      of the decoded JSON answer. It returns the refused events as a dict of reasons by the place of
      the event in the request, counted from 0. It may raise `DestinationUnavailable`. With any
      other result, the batch is kept.
    - `timeout`: how long it may take to connect, to send or receive a piece, and to answer.
    - `client`: a function that returns an ``httpx.Client``, for example with a certificate. It is
      called once in each process. `timeout` applies, and redirects are not followed.

    Answers, by their code:

    - 2xx: the events are processed.
    - 408, 425, 429, 5xx, and no complete answer: an outage. If the answer has ``Retry-After``, all
      workers wait that long, or a lease if that is shorter. The process that has got the answer
      sends nothing before that time, at most for an hour.
    - 401, 403, 404, 405, 407, 410 and redirects: the batch is kept for another attempt.
    - Another 4xx: the batch is sent in halves until the refused events are found. These are
      rejected. A half has an id of its own, the same on every delivery of the batch. If no event is
      accepted, the batch is kept for another attempt.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        secret: Secrets | Callable[[], Secrets] | None = None,
        headers: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
        format: str | None = None,  # noqa: A002  (the usual word)
        lines: Callable[[Any], Iterable[Any]] | None = None,
        refused: Callable[[Any], Mapping[int, object]] | None = None,
        timeout: timedelta = TIMEOUT,
        client: "Callable[[], httpx.Client] | None" = None,
    ) -> None:
        self._url = url
        self._secret = secret
        self._headers = headers
        self._format = format
        self._lines = lines
        self._refused = refused
        self._timeout = timeout
        self._make_client = client
        self._endpoint: Endpoint | None = None

    def __call__(self, batch: Batch) -> None:
        refuse_faulty(self.check())
        encoded = results_or_reject(batch, self._encode)
        parts = {place: part for place, part in encoded.items() if part}
        content_type = self._content_type(batch)
        refusals: dict[int, Exception] = {}

        def send(places: Sequence[int]) -> None:
            is_whole = len(places) == len(parts)
            id = batch.id if is_whole else f"{batch.id}_{places[0]}-{places[-1]}"
            answer = self._send(id, [parts[place] for place in places], content_type)
            found = self._refusals(answer, len(places))
            refusals.update({places[at]: error for at, error in found.items()})

        process_or_reject(batch, [*parts], send, bad_event_errors=(EventsRefused,))
        reject_unless_all(batch, refusals)

    def check(self) -> Iterator[CheckMessage]:
        yield from faults_of_post(
            url=self._url,
            secret=self._secret,
            headers=self._headers,
            format=self._format,
            timeout=self._timeout,
            functions={
                "lines": self._lines,
                "refused": self._refused,
                "client": self._make_client,
            },
        )

    @property
    def _is_ndjson(self) -> bool:
        return self._format == "ndjson" or self._lines is not None

    def _encode(self, event: Any) -> bytes:
        """What the body has for the event. Empty if `lines` returns nothing for it."""
        encode = encoder(configuration().encoder).encode
        if not self._is_ndjson:
            return encode(event)
        values = [event] if self._lines is None else self._lines(event)
        if isinstance(values, str | bytes | Mapping):
            raise BufferMisconfigured(
                f"lines= of Post returned a {type(values).__name__}. Return a list of JSON values, "
                "one for each line."
            )
        return b"".join(encode(value) + b"\n" for value in values)

    def _content_type(self, batch: Batch) -> str:
        if self._is_ndjson:
            return "application/x-ndjson"
        is_standard = all(map(is_cloud_event, batch))
        return "application/cloudevents-batch+json" if is_standard else "application/json"

    def _send(self, id: str, parts: Sequence[bytes], content_type: str) -> bytes:
        """Send one request, and return the body of its answer."""
        body = b"".join(parts) if self._is_ndjson else b"[" + b",".join(parts) + b"]"
        own = {} if self._headers is None else _now(self._headers, faults_of_headers)
        headers = {
            "content-type": content_type,
            "user-agent": "django-jsonbuffer",
            **{name.lower(): value for name, value in own.items()},
            "webhook-id": id,
        }
        if self._secret is not None:
            secret = _now(self._secret, faults_of_secret)
            secrets = [secret] if isinstance(secret, str) else secret
            headers |= signature_headers(id, int(time.time()), body, secrets)
        if self._endpoint is None:
            self._endpoint = Endpoint(timeout=self._timeout, make_client=self._make_client)
        url = _now(self._url, faults_of_url)
        return self._endpoint.post(url, body=body, headers=headers)

    def _refusals(self, answer: bytes, count: int) -> dict[int, Exception]:
        """The events of a request that a successful answer refuses, by their place in it.

        `count` is how many events the request has.
        """
        if self._refused is None:
            return {}
        try:
            decoded = json.loads(answer)
        except ValueError as error:
            raise DestinationRefused(
                "Post has refused=, but the answer is not JSON. Leave refused= out, or correct the "
                "URL."
            ) from error
        refused: object = self._refused(decoded)
        if not isinstance(refused, Mapping) or not all(_is_place(at, count) for at in refused):
            raise DestinationRefused(
                f"refused= of Post returned {refused!r:.200} for a request with {count} events. "
                f"Return a dict of reasons by place. Places are from 0 to {count - 1}."
            )
        return {
            place: reason if isinstance(reason, Exception) else EventsRefused(str(reason))
            for place, reason in refused.items()
        }


def _is_place(place: object, count: int) -> bool:
    return isinstance(place, int) and 0 <= place < count


def _now(value: "T | Callable[[], T]", faults: Callable[[object], Iterator[CheckMessage]]) -> T:
    """A value that was checked before, or the result of its function, which is checked here."""
    if not callable(value):
        return value
    result = value()
    refuse_faulty(faults(result))
    return result
