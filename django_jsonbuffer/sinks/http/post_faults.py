"""What can be wrong with the declaration of a Post, and with the results of its functions."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from django.core.checks import CheckMessage

from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.sinks.faults import fault, missing_extra

from .webhook_signatures import key_of


def faults_of_post(
    *,
    url: object,
    secret: object,
    headers: object,
    format: object,  # noqa: A002  (as Post names it)
    timeout: object,
    functions: Mapping[str, object],
) -> Iterator[CheckMessage]:
    """The faults of these arguments, of which `functions` must be callable or None.

    A function in place of a value is not called, because it may need the database.
    """
    yield from missing_extra("Post", "httpx")
    if not callable(url):
        yield from faults_of_url(url)
    if secret is not None and not callable(secret):
        yield from faults_of_secret(secret)
    if headers is not None and not callable(headers):
        yield from faults_of_headers(headers)
    yield from _faults_of_format(format, functions["lines"])
    if not isinstance(timeout, timedelta) or timeout <= timedelta(0):
        yield fault(
            f"Post has timeout={timeout!r}.", hint="Write timeout=timedelta(seconds=20), above 0."
        )
    for name, function in functions.items():
        if function is not None and not callable(function):
            yield fault(f"Post has {name}={function!r:.200}.", hint=f"Give {name} a function.")


def faults_of_url(url: object) -> Iterator[CheckMessage]:
    if not _is_url(url):
        yield fault(
            "Post has a URL that is not like 'https://host/path'.",
            hint="Write Post('https://host/path'), or give it a function that returns the URL.",
        )


def faults_of_headers(headers: object) -> Iterator[CheckMessage]:
    if not _are_headers(headers):
        yield fault(
            "Post has headers that are not a dict of text by text, in ASCII.",
            hint="Write headers={'authorization': 'Bearer …'}.",
        )


def faults_of_secret(secret: object) -> Iterator[CheckMessage]:
    """The faults of a secret, or of a list of them. At least one must be there."""
    secrets = secret if isinstance(secret, Sequence) and not isinstance(secret, str) else [secret]
    if not secrets:
        yield fault(
            "Post has an empty list in place of its secret.",
            hint="Give it a secret. To send requests without a signature, leave secret= out.",
        )
    try:
        for each in secrets:
            key_of(each)
    except BufferMisconfigured as error:
        message, _, hint = str(error).partition(". ")
        yield fault(f"{message}.", hint=hint)


def _faults_of_format(name: object, lines: object) -> Iterator[CheckMessage]:
    if name not in (None, "json", "ndjson") or (name == "json" and lines):
        yield fault(
            f"Post has format={name!r}{' and lines' if lines else ''}.",
            hint="Write format='json' or format='ndjson'. lines= implies 'ndjson'.",
        )


def _is_url(url: object) -> bool:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is None or parts.port == 0:
            return False
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # for example, the port is too large
        return False


def _are_headers(headers: object) -> bool:
    return isinstance(headers, Mapping) and all(
        isinstance(text, str) and text.isascii() for header in headers.items() for text in header
    )
