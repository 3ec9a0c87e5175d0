"""Run the example shop with real traffic: requests become events, and events become rows."""

import argparse
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from typing import Final

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import Error as DatabaseError

from django_jsonbuffer.exceptions import JSONBufferError
from example_project.books import Books
from example_project.children import Child, ChildFailed
from example_project.embedded_redis import EmbeddedRedisError, redis_url
from example_project.guard import GuardedProcess
from example_project.terminal import INTERVAL_SECONDS, live_line, signals_noted
from example_project.traffic import Traffic

HOST: Final = "127.0.0.1"

DELIVERY_TIMEOUT_SECONDS: Final = 60.0
"""How long the last webhooks may take, after the traffic has ended."""

MOST_FAULTS: Final = 10
"""Most faults that are printed."""


class DemoError(Exception):
    """The demo cannot continue. The message is for the person who started it."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(options.port, rate=options.rate, seconds=options.seconds)
    except KeyboardInterrupt:
        return 130
    except (
        DemoError,
        ChildFailed,
        EmbeddedRedisError,
        JSONBufferError,
        DatabaseError,
        ImproperlyConfigured,
    ) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m example_project.demo", description=__doc__)
    parser.add_argument("--seconds", type=_positive, help="end after so many seconds")
    parser.add_argument("--port", type=_port, default=8000, help="port of the site; default 8000")
    parser.add_argument(
        "--rate", type=_positive, default=30, help="requests per second; default 30"
    )
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    with suppress(ValueError):
        if 0 < int(text) < 65536:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port")


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")


def _run(port: int, *, rate: float, seconds: float | None) -> None:
    _require_free_port(port)
    with ExitStack() as ending:
        temporary = not os.environ.get("DATABASE_URL")
        if temporary:
            folder = ending.enter_context(_temporary_folder())
            os.environ["DATABASE_URL"] = f"sqlite:///{folder}/db.sqlite3"
        os.environ["REDIS_URL"] = ending.enter_context(redis_url())
        os.environ["SITE_URL"] = f"http://{HOST}:{port}"
        os.environ["no_proxy"] = HOST  # the webhooks must not take a detour
        _set_up_django()
        login = _login()
        products = _product_paths()
        traffic = Traffic(HOST, port, products, rate=rate)
        books = Books(traffic, products=products)
        if temporary:
            _require_empty_buckets(books)
        site = ending.enter_context(Child("runserver", f"{HOST}:{port}", "--noreload"))
        watcher = ending.enter_context(Child("drain_buckets", "--watch"))
        _wait_until_open(port, site)
        _greet(port, login)
        _watch(traffic, books, [site, watcher], seconds=seconds)
        _wait_until_delivered(books, [site, watcher])
        # The site ends before the last drain, so that no event is added after it.
        site.end()
        watcher.terminate()
        with Child("drain_buckets") as final_drain:
            final_drain.wait()
        _close(books)


def _require_empty_buckets(books: Books) -> None:
    if books.waiting_before:
        raise DemoError(
            f"{books.waiting_before} events wait in the Redis of REDIS_URL, and would be drained "
            "into a temporary database. Set DATABASE_URL to the database that they belong to."
        )


def _require_free_port(port: int) -> None:
    with socket.socket() as candidate:
        # As the site does: a port whose last owner has just ended is free.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError as error:
            raise DemoError(
                f"port {port} of {HOST} is not free ({error.strerror}): choose another with "
                f"make demo PORT={port + 1}, or with --port {port + 1}"
            ) from error


@contextmanager
def _temporary_folder() -> Iterator[str]:
    """A folder that is removed at the end, even if this process is killed before that."""
    folder = os.path.join(tempfile.gettempdir(), f"jsonbuffer-demo-{secrets.token_hex(6)}")
    idle = ["tail", "-f", "/dev/null"]
    with GuardedProcess(idle, output=subprocess.DEVNULL, folder=folder) as guard:
        while not os.path.isdir(folder):
            if guard.poll() is not None:
                raise DemoError(f"the folder {folder} could not be made")
            time.sleep(0.005)
        yield folder


def _set_up_django() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"
    os.environ["PYTHONUNBUFFERED"] = "1"
    django.setup()
    call_command("migrate", interactive=False, verbosity=0)


def _login() -> str:
    """Return how to log in. A database that already existed keeps its user and password."""
    from django.contrib.auth.models import User

    if User.objects.filter(username="admin").exists():
        return "user admin, as this database knows it"
    User.objects.create_superuser("admin", password="admin")
    return "user admin, password admin"


def _product_paths() -> list[str]:
    from example_project.shop.models import Product

    return [product.get_absolute_url() for product in Product.objects.all()]


def _wait_until_open(port: int, site: Child) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        site.require_alive()
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.05)
    raise DemoError(f"the site did not open port {port} within a minute")


def _greet(port: int, login: str) -> None:
    print(f"Shop   http://{HOST}:{port}/")
    print(f"Admin  http://{HOST}:{port}/admin/  {login}")
    print("Ctrl-C ends it, and drains what is pending.", flush=True)


def _watch(
    traffic: Traffic, books: Books, children: Sequence[Child], *, seconds: float | None
) -> None:
    """Send traffic and show the totals, until the time is up or a signal arrives."""
    end = time.monotonic() + (seconds or float("inf"))
    with signals_noted() as signals, live_line() as show:
        traffic.start()
        try:
            while not signals and (left := end - time.monotonic()) > 0:
                time.sleep(min(left, INTERVAL_SECONDS))
                for child in children:
                    child.require_alive()
                show(books)
        finally:
            traffic.stop()


def _wait_until_delivered(books: Books, children: Sequence[Child]) -> None:
    """Wait for the last webhooks. Their endpoint is a part of the site, and may be out of order."""
    deadline = time.monotonic() + DELIVERY_TIMEOUT_SECONDS
    with live_line() as show:
        while books.webhooks_wait():
            if time.monotonic() > deadline:
                raise DemoError(f"the last webhooks do not arrive: {books.totals()}")
            for child in children:
                child.require_alive()
            show(books)
            time.sleep(INTERVAL_SECONDS)
        show(books)


def _close(books: Books) -> None:
    """Print the final totals. Raises :class:`DemoError` if anything is missing or wrong."""
    totals = books.totals()
    print(totals)
    print(totals.details())
    if faults := [*islice(books.faults(), MOST_FAULTS)]:
        raise DemoError("; ".join(faults))
    print("Each request is one row, and each view of a product is counted once. Each committed")
    print("change of an order is audited once and delivered, no other. Nothing is pending, in")
    print("flight or dead.")


if __name__ == "__main__":
    sys.exit(main())
