"""TLS in front of a server that need not be built with it."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.faults.proxy import Proxy


class Authority:
    """A certificate authority that only the clients of a test know."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(file))

    def server_side(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert("127.0.0.1").configure_cert(context)
        return context


@contextmanager
def tls_port(url: str, authority: Authority) -> Iterator[int]:
    """A port that ends TLS, and passes all to the server of the URL."""
    with Proxy(url, tls=authority.server_side()) as proxy:
        yield proxy.port
