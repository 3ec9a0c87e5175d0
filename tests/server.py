"""The server of the tests in this process: a private one, or that of REDIS_URL.

``SUITE_AS`` changes how the buffer connects. With ``acl``, its user has the permissions of
`redis_acl operator` and no others. With ``tls``, it uses TLS. With ``cluster``, its server is a
cluster of three primaries and three replicas, except in tests with a server of their own.
"""

import atexit
import os
import socket
import tempfile
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest
import redis

from example_project.embedded_redis import EmbeddedRedis

Redis: TypeAlias = Any
"""A client of redis-py. Any, since its types do not say whether a reply is bytes, text or None."""

SUITE_AS = os.environ.get("SUITE_AS", "")

USER = {"acl": "operator", "tls": "site"}.get(SUITE_AS, "default")
"""The Redis user of the buffer."""

FACTORY = "django_jsonbuffer.contrib.cluster.ClusterConnectionFactory"

APP_OPTIONS: dict[str, Any] = {"SOCKET_CONNECT_TIMEOUT": 10, "SOCKET_TIMEOUT": 30}
"""OPTIONS of the buffer's cache."""


both_servers = pytest.mark.both_servers
"""Runs tests on a real server, and on the Redis in memory that tests of a project use."""

real_server = pytest.mark.real_server
"""Runs a test on a real server alone, because it needs what only a real server has."""


one_server = pytest.mark.one_server
"""Leaves a test out with ``SUITE_AS=cluster``, because it needs a server that is no cluster."""


def appends(client: Redis) -> int:
    """How many scripts a server has run that only this test uses."""
    return sum(
        stats["calls"]
        for command, stats in client.info("commandstats").items()
        if command in ("cmdstat_evalsha", "cmdstat_eval")
    )


def servers(client: Redis) -> list[Redis]:
    """A client of each server: of all nodes, if this is a client of a cluster."""
    if isinstance(client, redis.RedisCluster):
        return [client.get_redis_connection(node) for node in client.get_nodes()]
    return [client]


def start() -> tuple[EmbeddedRedis, str]:
    """Start a server. Returns it, and the URL by which the buffer uses it."""
    if SUITE_AS == "tls":
        return _with_tls()
    embedded = EmbeddedRedis().start()
    return embedded, _as_operator(embedded) if SUITE_AS == "acl" else embedded.url


def _as_operator(embedded: EmbeddedRedis) -> str:
    from django_jsonbuffer.acl import ROLES

    rules = ["on", ">s3cret", "~*", "&*", *ROLES["operator"].permissions()]
    with redis.Redis.from_url(embedded.url) as plain:
        plain.execute_command("ACL", "SETUSER", USER, *rules)
    return embedded.url.replace("unix://", f"unix://{USER}:s3cret@")


def _with_tls() -> tuple[EmbeddedRedis, str]:
    """Start a server with a password. Only its clients know the authority of its certificate."""
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
        plain.execute_command("ACL", "SETUSER", USER, "on", ">s3cret", "~*", "&*", "+@all")
    return embedded, f"rediss://{USER}:s3cret@127.0.0.1:{port}/0?ssl_ca_certs={folder}/ca.pem"


def connected() -> Redis:
    """A client of the server, or the cluster, that the buffer uses. With all permissions."""
    if SUITE_AS == "cluster":
        return redis.RedisCluster.from_url(APP_URL)
    return redis.Redis.from_url(URL)


def _started() -> tuple[str, str]:
    embedded, app_url = start()
    atexit.register(embedded.stop)
    if SUITE_AS == "cluster":
        app_url = _started_cluster()
    return embedded.url, app_url


def _started_cluster() -> str:
    from tests.cluster import cluster, url_of

    stack = ExitStack()
    nodes = stack.enter_context(cluster(nodes=3, replicas=True))
    atexit.register(stack.close)
    return url_of(nodes[0])


if url := os.environ.get("REDIS_URL"):
    URL, APP_URL = url, os.environ.get("REDIS_APP_URL", url)
else:
    URL, APP_URL = _started()

# A program that a test starts may use a server of its own, on a socket.
if SUITE_AS == "cluster" and not APP_URL.startswith("unix:"):
    APP_OPTIONS["CONNECTION_FACTORY"] = FACTORY
