"""Visitors of the shop, for the demo: real requests, each counted when its answer is there."""

import random
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException
from http.cookies import SimpleCookie
from urllib.parse import urlencode

VISITORS = 4


class Traffic:
    """A few visitors at once, who look at products and now and then order one."""

    def __init__(self, host: str, port: int, products: Sequence[str], *, rate: float) -> None:
        """`products` are the paths of their pages, `rate` the requests a second of all visitors."""
        self.user_agent = f"demo/{secrets.token_hex(8)}"
        """Tells the page views of these visitors from those of anybody else."""
        self._stop = threading.Event()
        self._visitors = [
            Visitor(
                HTTPConnection(host, port, timeout=20),
                products,
                user_agent=self.user_agent,
                pause_seconds=VISITORS / rate,
                stop=self._stop,
            )
            for _ in range(VISITORS)
        ]

    @property
    def sent(self) -> int:
        """Requests that were answered: only an answer proves that the site saw the request."""
        return sum(visitor.answered for visitor in self._visitors)

    @property
    def failed(self) -> int:
        """Requests whose answer was an error of the server, or never came."""
        return sum(visitor.failed for visitor in self._visitors)

    def start(self) -> None:
        for visitor in self._visitors:
            visitor.start()

    def stop(self) -> None:
        """Let each visitor finish the request in hand, so that every count is final."""
        self._stop.set()
        for visitor in self._visitors:
            visitor.join()


class Visitor(threading.Thread):
    def __init__(
        self,
        connection: HTTPConnection,
        products: Sequence[str],
        *,
        user_agent: str,
        pause_seconds: float,
        stop: threading.Event,
    ) -> None:
        super().__init__(daemon=True)
        self.answered = 0
        self.failed = 0
        self._connection = connection
        self._products = products
        self._pause_seconds = pause_seconds
        self._stop_asked = stop
        self._user_agent = user_agent
        self._csrf_token = ""

    def run(self) -> None:
        due = time.monotonic() + random.uniform(0, self._pause_seconds)
        for method, path in self._walk():
            if self._stop_asked.wait(max(0, due - time.monotonic())):
                return
            self._request(method, path)
            due += self._pause_seconds

    def _walk(self) -> Iterator[tuple[str, str]]:
        while True:
            product = random.choice(self._products)
            yield "GET", "/"
            yield "GET", product
            if random.random() < 0.25:
                yield "POST", f"{product}order/"
                yield "GET", product
            if random.random() < 0.05:
                yield "GET", "/sold-out/"

    def _request(self, method: str, path: str) -> None:
        try:
            self._connection.request(method, path, self._form(method), self._headers())
            with self._connection.getresponse() as response:
                response.read()
        except (OSError, HTTPException):
            self.failed += 1
            return
        finally:
            # A connection that is kept open may close under the next request, seen or not.
            self._connection.close()
        self.answered += 1
        self.failed += response.status >= 500
        for header in response.headers.get_all("Set-Cookie", []):
            if token := SimpleCookie(header).get("csrftoken"):
                self._csrf_token = token.value

    def _form(self, method: str) -> str | None:
        if method == "GET":
            return None
        quantity = random.randint(1, 5)
        return urlencode({"csrfmiddlewaretoken": self._csrf_token, "quantity": quantity})

    def _headers(self) -> dict[str, str]:
        return {
            "User-Agent": self._user_agent,
            "Cookie": f"csrftoken={self._csrf_token}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
