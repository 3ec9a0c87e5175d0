"""Signatures of requests, as Standard Webhooks specifies them.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from django_jsonbuffer.exceptions import BufferMisconfigured

_PREFIX: Final = "whsec_"
_LENGTHS: Final = range(24, 64 + 1)
"""Bytes that a secret may have."""


def signature_headers(
    id: str, timestamp: int, body: bytes, secrets: Sequence[str]
) -> dict[str, str]:
    """The headers of a signed request. `timestamp` is in seconds of Unix time.

    There is one signature for each secret. So while a secret is replaced, receivers that know the
    old one and receivers that know the new one both accept the request. Raises
    :class:`BufferMisconfigured` if a secret cannot be used.
    """
    content = b".".join([id.encode(), str(timestamp).encode(), body])
    return {
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(content, key_of(secret)) for secret in secrets),
    }


def key_of(secret: object) -> bytes:
    """The bytes of a secret. Raises :class:`BufferMisconfigured` if it is not like `whsec_…`.

    The prefix may be missing, as in the library of Standard Webhooks.
    """
    key = b""
    if isinstance(secret, str):
        text = secret.removeprefix(_PREFIX)
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except ValueError:
            key = b""
    if len(key) not in _LENGTHS:
        raise BufferMisconfigured(
            f"A secret of Post is not the base64 of {_LENGTHS[0]} to {_LENGTHS[-1]} bytes. "
            "Make one of 32 random bytes: "
            "'whsec_' + base64.b64encode(secrets.token_bytes(32)).decode()"
        )
    return key


def _signature(content: bytes, key: bytes) -> str:
    digest = hmac.new(key, content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
