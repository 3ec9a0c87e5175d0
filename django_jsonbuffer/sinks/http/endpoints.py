"""HTTP requests of sinks, and what their answers mean."""

import os
import time
import weakref
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from django_jsonbuffer.exceptions import (
    BufferMisconfigured,
    DestinationRefused,
    DestinationUnavailable,
    EventsRefused,
)

from .retry_after import retry_after_of

if TYPE_CHECKING:
    import httpx

MOST_BYTES_OF_ANSWER: Final = 16 * 1024 * 1024
"""The rest of a longer answer is not read."""

_LONGEST_QUOTE: Final = 200
"""Most characters of an answer that an error quotes."""

_OUTAGES: Final = frozenset({408, 425, 429})
"""Codes below 500 that ask to send the same request again later."""

_NOT_ABOUT_EVENTS: Final = frozenset({401, 403, 404, 405, 407, 410})
"""Codes that are about the address or the secret, and not about an event."""


class Endpoint:
    """A server that a sink sends requests to, through one client in each process.

    The client keeps its connections. Threads share it, and a forked child makes one of its own.
    Redirects are not followed. The environment variables of proxies apply.
    """

    def __init__(
        self, *, timeout: timedelta, make_client: "Callable[[], httpx.Client] | None"
    ) -> None:
        self._timeout_seconds = timeout.total_seconds()
        self._make_client = make_client
        self._clients: dict[int, httpx.Client] = {}
        """By process. The child of a fork leaves that of its parent alone."""
        self._not_before_seconds = float("-inf")
        """The monotonic time until which the server wants no request."""
        weakref.finalize(self, _close, self._clients)

    def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Send one request, and return the body of the answer.

        Raises :class:`DestinationUnavailable` in an outage. Raises it without a request while the
        server wants none. Raises :class:`EventsRefused` if the server refuses the content, and
        :class:`DestinationRefused` if it refuses the request for another reason.

        The errors name the host of the URL alone, because the rest may contain a secret.
        """
        host = _host_of(url)
        if (left_seconds := self._not_before_seconds - time.monotonic()) > 0:
            raise DestinationUnavailable(
                f"{host} has asked to wait, so no request was sent.",
                retry_after=timedelta(seconds=left_seconds),
            )
        response, answer = self._send(host, url, body, headers)
        if not response.is_success:
            raise self._error(host, response, answer)
        return answer

    def _send(
        self, host: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> "tuple[httpx.Response, bytes]":
        import httpx

        try:
            with self._client().stream(
                "POST",
                url,
                content=body,
                headers=headers,
                timeout=self._timeout_seconds,
                follow_redirects=False,
            ) as response:
                return response, self._read(response)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
            # The message may quote a header.
            raise BufferMisconfigured(
                f"The URL or a header of Post cannot be sent to {host}: {type(error).__name__}. "
                "Correct them."
            ) from None
        except httpx.RequestError as error:
            raise DestinationUnavailable(
                f"{host} did not answer: {type(error).__name__}: {error}"
            ) from error

    def _read(self, response: "httpx.Response") -> bytes:
        """The body of the answer. Raises ``httpx.ReadTimeout`` if it comes too slowly."""
        import httpx

        deadline_seconds = time.monotonic() + self._timeout_seconds
        answer = bytearray()
        for piece in response.iter_bytes():
            answer += piece
            if len(answer) > MOST_BYTES_OF_ANSWER:
                break
            if time.monotonic() > deadline_seconds:
                raise httpx.ReadTimeout("The answer took too long.")
        return bytes(answer)

    def _error(self, host: str, response: "httpx.Response", answer: bytes) -> Exception:
        """The exception for an answer that is not a success."""
        status = response.status_code
        says = f"{host} answered {status}{_quote(answer)}."
        if status >= 500 or status in _OUTAGES:
            wait = retry_after_of(response.headers)
            if wait is not None:
                self._not_before_seconds = time.monotonic() + wait.total_seconds()
            return DestinationUnavailable(says, retry_after=wait)
        if response.is_redirect:
            return DestinationRefused(
                f"{says} This is a redirect, which Post does not follow. Give Post the URL that it "
                "leads to."
            )
        if status < 400 or status in _NOT_ABOUT_EVENTS:
            return DestinationRefused(f"{says} Correct the URL, the secret or the headers of Post.")
        return EventsRefused(says)

    def _client(self) -> "httpx.Client":
        process_id = os.getpid()
        if (client := self._clients.get(process_id)) is None:
            import httpx

            made = (self._make_client or httpx.Client)()
            # Without a lock, which a fork could leave locked in the child.
            client = self._clients.setdefault(process_id, made)
            if client is not made:
                made.close()
        return client


def _close(clients: "dict[int, httpx.Client]") -> None:
    if (client := clients.pop(os.getpid(), None)) is not None:
        client.close()


def _host_of(url: str) -> str:
    """Scheme, host and port."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _quote(answer: bytes) -> str:
    """The beginning of an answer, quoted. Quotes do not count when errors are compared."""
    text = " ".join(answer[: 4 * _LONGEST_QUOTE].decode(errors="replace").split())
    return f": {text[:_LONGEST_QUOTE]!r}" if text else ""
