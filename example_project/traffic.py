"""Visitors of the shop for the demo: real requests, each counted when it is answered."""

import random
import re
import secrets
import threading
import time
from collections.abc import Generator, Sequence
from http.client import HTTPConnection, HTTPException
from http.cookies import SimpleCookie
from itertools import cycle
from typing import NamedTuple
from urllib.parse import urlencode

VISITORS = 4
GOOD_CARD = "4242 4242 4242 4242"
DECLINED_CARD = "4000 0000 0000 0002"


class Request(NamedTuple):
    path: str
    form: dict[str, object] | None = None
    """The form that is posted. None for a GET."""


class Answer(NamedTuple):
    status: int
    """Zero if there was no answer."""
    location: str = ""


class Change(NamedTuple):
    """A committed change of an order, according to the answer."""

    order: str
    type: str
    status: str
    """The status of the order after the change, or when it was deleted."""


Walk = Generator[Request, Answer, None]


class Traffic:
    """A few visitors at once, who look at products, order some, and pay or withdraw."""

    def __init__(self, host: str, port: int, products: Sequence[str], *, rate: float) -> None:
        """`products` are the paths of the product pages. `rate` is in requests per second."""
        self.user_agent = f"demo/{secrets.token_hex(8)}/"
        """How the user agents of these visitors begin, and no others. Each request has its own."""
        self._stop = threading.Event()
        self._visitors = [
            Visitor(
                HTTPConnection(host, port, timeout=20),
                products,
                user_agent=f"{self.user_agent}{number}/",
                pause_seconds=VISITORS / rate,
                stop=self._stop,
            )
            for number in range(VISITORS)
        ]

    @property
    def answered(self) -> list[str]:
        """The user agents of the answered requests. Only an answer proves that the site saw one."""
        return [user_agent for visitor in self._visitors for user_agent in visitor.answered]

    @property
    def product_pages(self) -> int:
        """Number of product pages that these visitors got."""
        return sum(visitor.product_pages for visitor in self._visitors)

    @property
    def failed(self) -> int:
        """Number of requests with an unexpected answer, or without one."""
        return sum(visitor.failed for visitor in self._visitors)

    @property
    def rolled_back(self) -> int:
        """Number of payments that were declined after the order was saved as paid."""
        return sum(visitor.rolled_back for visitor in self._visitors)

    @property
    def changes(self) -> list[Change]:
        """The changes of all orders of these visitors. Those of one order are in commit order."""
        return [change for visitor in self._visitors for change in visitor.changes]

    def start(self) -> None:
        for visitor in self._visitors:
            visitor.start()

    def stop(self) -> None:
        """Let each visitor finish its current request, so that every count is final."""
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
        self.answered: list[str] = []
        self.product_pages = 0
        self.failed = 0
        self.rolled_back = 0
        self.changes: list[Change] = []
        self._connection = connection
        self._products = products
        self._pause_seconds = pause_seconds
        self._stop_asked = stop
        self._user_agent = user_agent
        self._requests = 0
        self._csrf_token = ""

    def run(self) -> None:
        due = time.monotonic() + random.uniform(0, self._pause_seconds)
        walk = self._walk()
        request = next(walk)
        while not self._stop_asked.wait(max(0, due - time.monotonic())):
            request = walk.send(self._answer(request))
            due += self._pause_seconds

    def _walk(self) -> Walk:
        for visit in cycle([self._buy, self._look, self._withdraw, self._look, self._get_lost]):
            yield from visit()

    def _look(self) -> Walk:
        yield Request("/")
        yield Request(random.choice(self._products))

    def _get_lost(self) -> Walk:
        yield Request("/sold-out/")

    def _buy(self) -> Walk:
        path = yield from self._place_order()
        answer = yield Request(f"{path}pay/", {"card": DECLINED_CARD})
        self.rolled_back += self._is_expected(answer, 402)
        yield from self._change(path, "pay/", {"card": GOOD_CARD}, "updated", "paid")
        yield from self._change(path, "ship/", {}, "updated", "shipped")

    def _withdraw(self) -> Walk:
        path = yield from self._place_order()
        yield from self._change(path, "withdraw/", {}, "deleted", "new")

    def _place_order(self) -> Generator[Request, Answer, str]:
        """Order a product, and return the path of the order's page."""
        yield from self._look()
        product = random.choice(self._products)
        answer = yield Request(f"{product}order/", {"quantity": random.randint(1, 5)})
        if self._is_expected(answer, 302):
            self._note(answer.location, "created", "new")
        yield Request(answer.location or "/")
        return answer.location

    def _change(
        self, path: str, action: str, form: dict[str, object], type_: str, status: str
    ) -> Walk:
        answer = yield Request(f"{path}{action}", form)
        if self._is_expected(answer, 302):
            self._note(path, type_, status)

    def _note(self, path: str, type_: str, status: str) -> None:
        [order] = re.findall(r"^/orders/(\d+)/$", path)
        self.changes.append(Change(order, f"shop.order.{type_}", status))

    def _is_expected(self, answer: Answer, status: int) -> bool:
        """Check the status, and count an unexpected one as failed. 5xx are counted already."""
        is_expected = answer.status == status
        self.failed += not is_expected and 0 < answer.status < 500
        return is_expected

    def _answer(self, request: Request) -> Answer:
        method = "GET" if request.form is None else "POST"
        form = urlencode({"csrfmiddlewaretoken": self._csrf_token, **(request.form or {})})
        body = None if request.form is None else form
        self._requests += 1
        user_agent = f"{self._user_agent}{self._requests}"
        try:
            self._connection.request(method, request.path, body, self._headers(user_agent))
            with self._connection.getresponse() as response:
                response.read()
        except (OSError, HTTPException):
            self.failed += 1
            return Answer(0)
        finally:
            # A kept-alive connection may close during a request, before or after the site saw it.
            self._connection.close()
        self.answered.append(user_agent)
        self.product_pages += response.status == 200 and request.path in self._products
        self.failed += response.status >= 500
        for header in response.headers.get_all("Set-Cookie", []):
            if token := SimpleCookie(header).get("csrftoken"):
                self._csrf_token = token.value
        return Answer(response.status, response.headers.get("Location", ""))

    def _headers(self, user_agent: str) -> dict[str, str]:
        return {
            "User-Agent": user_agent,
            "Cookie": f"csrftoken={self._csrf_token}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
