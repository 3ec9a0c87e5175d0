"""Run the example shop with real traffic: requests become events, and events become rows."""

import argparse
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, Self

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import Error as DatabaseError

from django_jsonbuffer.exceptions import JSONBufferError
from example_project.embedded_redis import EmbeddedRedisError, redis_url
from example_project.guard import GuardedProcess
from example_project.traffic import Change, Traffic

HOST = "127.0.0.1"
MANAGE = str(Path(__file__).resolve().parent.parent / "manage.py")


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
        _set_up_django()
        login = _login()
        traffic = Traffic(HOST, port, _product_paths(), rate=rate)
        books = Books(traffic, database_is_temporary=temporary)
        site = ending.enter_context(Child("runserver", f"{HOST}:{port}", "--noreload"))
        watcher = ending.enter_context(Child("drain_buckets", "--watch"))
        _wait_until_open(port, site)
        _greet(port, login)
        _watch(traffic, books, [site, watcher], seconds=seconds)
        # The site ends first, so that no event is added after the last drain.
        site.end()
        watcher.terminate()
        with Child("drain_buckets") as final_drain:
            final_drain.wait()
        books.close()


@dataclass(frozen=True, kw_only=True)
class Totals:
    sent: int
    stored: int
    changes: int
    audited: int
    rolled_back: int
    pending: int
    in_flight: int
    dead: int

    def __str__(self) -> str:
        # Fits into 80 columns. A longer line would wrap, and could not be written over.
        return (
            f"{self.sent} requests, {self.stored} rows; {self.changes} changes, "
            f"{self.audited} audited, {self.rolled_back} rolled back; {self.pending} pending"
        )

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with these totals, if everything should have been drained."""
        if self.stored != self.sent:
            yield f"{self.stored} rows stored of {self.sent} requests sent"
        if self.pending:
            yield f"{self.pending} pending"
        if self.in_flight:
            yield f"{self.in_flight} in flight"
        if self.dead:
            yield f"{self.dead} among the dead letters"


class Books:
    """Compares the requests of the demo's visitors with the rows. Other visitors do not count."""

    def __init__(self, traffic: Traffic, *, database_is_temporary: bool) -> None:
        from example_project.shop.buckets import orders, page_views
        from example_project.shop.models import AuditEntry, PageView

        self._traffic = traffic
        self._buckets = [page_views, orders]
        self._rows = PageView.objects.filter(user_agent=traffic.user_agent)
        # The demo's visitors are anonymous, unlike a user who changes an order in the admin.
        anonymous = AuditEntry.objects.filter(actor="")
        self._audit = anonymous.filter(at__gte=datetime.now(UTC)).order_by("at")
        statuses = [bucket.status() for bucket in self._buckets]
        waiting = sum(status.pending + status.in_flight for status in statuses)
        if waiting and database_is_temporary:
            raise DemoError(
                f"{waiting} events wait in the Redis of REDIS_URL, and would be drained into a "
                "temporary database. Set DATABASE_URL to the database that they belong to."
            )
        self._dead_before = sum(status.dead for status in statuses)

    def totals(self) -> Totals:
        statuses = [bucket.status() for bucket in self._buckets]
        return Totals(
            sent=self._traffic.sent,
            stored=self._rows.count(),
            changes=len(self._traffic.changes),
            audited=self._audit.count(),
            rolled_back=self._traffic.rolled_back,
            pending=sum(status.pending for status in statuses),
            in_flight=sum(status.in_flight for status in statuses),
            dead=sum(status.dead for status in statuses) - self._dead_before,
        )

    def close(self) -> None:
        totals = self.totals()
        print(totals)
        made = self._traffic.changes
        orders = {change.order for change in made}
        audited = [change for change in self._audited() if change.order in orders]
        faults = [*totals.faults(), *differences(made, audited)]
        if failed := self._traffic.failed:
            faults.append(f"{failed} requests without their answer, or with an error")
        if faults:
            raise DemoError("; ".join(faults))
        print("Each request is a row, and each committed change of an order is audited, no other;")
        print("nothing is pending, in flight or dead.")

    def _audited(self) -> list[Change]:
        return [
            Change(entry.subject, entry.type, entry.data["status"]) for entry in self._audit.all()
        ]


def differences(made: Sequence[Change], audited: Sequence[Change]) -> Iterator[str]:
    """Yield the orders whose audit entries differ from the changes that were made."""
    should, does = _by_order(made), _by_order(audited)
    for order in sorted({*should, *does}):
        if should[order] != does[order]:
            yield (
                f"order {order} should be audited as {', '.join(should[order]) or 'nothing'}, "
                f"and is as {', '.join(does[order]) or 'nothing'}"
            )


def _by_order(changes: Sequence[Change]) -> dict[str, list[str]]:
    by_order: dict[str, list[str]] = defaultdict(list)
    for change in changes:
        by_order[change.order].append(f"{change.type} {change.status}")
    return by_order


class Child:
    """A `manage.py` command beside the demo. Its output is shown only if it fails."""

    def __init__(self, *command: str) -> None:
        self._name = f"manage.py {' '.join(command)}"
        self._last_lines: deque[bytes] = deque(maxlen=40)
        self._process = GuardedProcess([sys.executable, MANAGE, *command], output=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        self._last_lines.extend(self._process.output)

    def require_alive(self) -> None:
        status = self._process.poll()
        if status is not None:
            self._fail(f"ended by itself with exit status {status}")

    def wait(self) -> None:
        """Return when the command has ended successfully."""
        try:
            status = self._process.wait(timeout_seconds=60)
        except subprocess.TimeoutExpired:
            self._fail("did not end within a minute")
        if status:
            self._fail(f"ended with exit status {status}")

    def end(self) -> None:
        self._process.end()
        self._reader.join()

    def terminate(self) -> None:
        self._process.signal("TERM")
        self.wait()

    def _fail(self, what: str) -> NoReturn:
        self.end()
        said = b"".join(self._last_lines).decode(errors="replace").strip()
        raise DemoError(f"{self._name} {what}; it said:\n{said or '(nothing)'}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()
        self._process.output.close()


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
    with _signals_noted() as signals, _live_line() as show:
        traffic.start()
        try:
            while not signals and (left := end - time.monotonic()) > 0:
                time.sleep(min(left, 0.2 if sys.stdout.isatty() else 1))
                for child in children:
                    child.require_alive()
                show(books.totals())
        finally:
            traffic.stop()


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM, so that they do not interrupt a call to Redis."""
    noted: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: noted.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield noted
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _live_line() -> Iterator[Callable[[Totals], None]]:
    """Show totals: on a terminal in one line that is written over, elsewhere in a line each."""
    terminal = sys.stdout.isatty()
    start, end = ("\r\033[K", "") if terminal else ("", "\n")
    try:
        yield lambda totals: print(start, totals, sep="", end=end, flush=True)
    finally:
        print(start, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
