"""The server of this process: a private one, or that of REDIS_URL.

The buffer may be another user there than the tests, or come another way. ``SUITE_AS`` says so:
``acl`` for a user that is allowed what `redis_acl operator` says and nothing else, ``tls`` for TLS.
"""

import atexit
import os
import socket
import tempfile
from typing import Any, TypeAlias

import redis

from example_project.embedded_redis import EmbeddedRedis

Redis: TypeAlias = Any
"""A client of redis-py, whose types leave open whether replies are bytes or text, or none."""

SUITE_AS = os.environ.get("SUITE_AS", "")

USER = {"acl": "operator", "tls": "site"}.get(SUITE_AS, "default")
"""That the buffer is."""


def start() -> tuple[EmbeddedRedis, str]:
    """A server, and the URL by which the buffer is to use it."""
    if SUITE_AS == "tls":
        return _with_tls()
    embedded = EmbeddedRedis().start()
    return embedded, _as_operator(embedded) if SUITE_AS == "acl" else embedded.url


def _as_operator(embedded: EmbeddedRedis) -> str:
    from django_jsonbuffer.acl import ROLES

    rules = ["on", ">s3cret", "~*", *ROLES["operator"].permissions()]
    with redis.Redis.from_url(embedded.url) as plain:
        plain.execute_command("ACL", "SETUSER", USER, *rules)
    return embedded.url.replace("unix://", f"unix://{USER}:s3cret@")


def _with_tls() -> tuple[EmbeddedRedis, str]:
    """With a password, and a certificate of an authority that only this server's clients know."""
    import trustme

    folder = tempfile.mkdtemp()
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(f"{folder}/ca.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(f"{folder}/server.pem")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    embedded = EmbeddedRedis(
        *("--tls-port", str(port), "--bind", "127.0.0.1", "--tls-auth-clients", "no"),
        *("--tls-cert-file", f"{folder}/server.pem", "--tls-key-file", f"{folder}/server.pem"),
        *("--tls-ca-cert-file", f"{folder}/ca.pem"),
    ).start()
    with redis.Redis.from_url(embedded.url) as plain:
        plain.execute_command("ACL", "SETUSER", USER, "on", ">s3cret", "~*", "+@all")
    return embedded, f"rediss://{USER}:s3cret@127.0.0.1:{port}/0?ssl_ca_certs={folder}/ca.pem"


def _started() -> tuple[str, str]:
    embedded, app_url = start()
    atexit.register(embedded.stop)
    return embedded.url, app_url


if url := os.environ.get("REDIS_URL"):
    URL, APP_URL = url, os.environ.get("REDIS_APP_URL", url)
else:
    URL, APP_URL = _started()
