import errno
import io
import logging
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import translation

from django_jsonbuffer import Bucket
from django_jsonbuffer.management.output import Output
from tests.declaring.buckets import scripted
from tests.prepared import make_old
from tests.server import Redis
from tests.test_drain_buckets import environment, heed_interrupts, seen, wait_for

# The drain renews database connections before each batch.
# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = pytest.mark.django_db(transaction=True)

FULL = Path("/dev/full")
needs_a_full_disk = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def run(*args: str, **streams: Any) -> "subprocess.Popen[str]":
    """Start a command. Its standard streams are pipes, if they are not given."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen(
        [sys.executable, "-m", "django", *args], env=environment(), text=True, **streams
    )


def outcome(*args: str, **streams: Any) -> tuple[int, str]:
    """The exit code of a command, and what it says on standard error."""
    with run(*args, **streams) as process:
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def closing(*descriptors: int) -> Callable[[], None]:
    def close() -> None:
        heed_interrupts()
        for descriptor in descriptors:
            os.close(descriptor)

    return close


class FullOnce(StringIO):
    """A file on a disk that is full for one write."""

    was_full = False

    def write(self, text: str) -> int:
        if not self.was_full:
            self.was_full = True
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


class TestOutput:
    def test_of_a_full_disk_notes_its_failure_and_goes_on(self) -> None:
        stream = FullOnce()
        output = Output(stream)
        print("one", file=output)
        print("two", file=output)
        assert stream.getvalue() == "\ntwo\n"
        assert output.failure is not None
        assert output.failure.errno == errno.ENOSPC
        assert not output.is_unread

    def test_without_a_stream_is_unread(self) -> None:
        output = Output(None)
        output.write("one")
        output.flush()
        output.discard_unwritten()
        assert (output.is_unread, output.failure, output.isatty()) == (True, None, False)

    def test_to_a_closed_stream_is_unread(self) -> None:
        stream = StringIO()
        stream.close()
        output = Output(stream)
        output.write("one")
        output.flush()
        output.discard_unwritten()
        assert (output.is_unread, output.failure, output.isatty()) == (True, None, False)

    def test_to_a_broken_pipe_is_unread(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as stream:
            output = Output(stream)
            output.write("one")
            output.flush()
            output.discard_unwritten()
        assert (output.is_unread, output.failure) == (True, None)

    @pytest.mark.parametrize(
        ("encoding", "written"),
        [
            ("ascii", "caf\\xe9 \\u20ac"),
            ("cp1252", "café €"),
            ("latin-1", "café \\u20ac"),
            ("utf-8", "café €"),
        ],
    )
    def test_escapes_characters_that_its_encoding_lacks(self, encoding: str, written: str) -> None:
        file = io.BytesIO()
        output = Output(io.TextIOWrapper(file, encoding=encoding))
        output.write("café €")
        output.flush()
        assert file.getvalue().decode(encoding) == written
        assert not output.is_unread

    def test_escapes_half_a_character(self) -> None:
        file = io.BytesIO()
        output = Output(io.TextIOWrapper(file, encoding="utf-8"))
        output.write("\udce9")
        output.flush()
        assert file.getvalue() == b"\\udce9"


@pytest.fixture
def broken(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A stream that cannot be written to."""
    if request.param == "full":
        with FULL.open("w") as stream:
            yield stream
        return
    reader, writer = os.pipe() if request.param == "pipe" else pty.openpty()
    os.close(reader)
    yield writer
    os.close(writer)


every_broken = pytest.mark.parametrize(
    "broken", [pytest.param("full", marks=needs_a_full_disk), "pipe", "terminal"], indirect=True
)


class TestDrain:
    """Events are processed, and the exit code is right, wherever the command cannot print."""

    @every_broken
    @pytest.mark.parametrize("verbosity", ["1", "2"])
    def test_with_broken_output(self, broken: Any, verbosity: str) -> None:
        scripted.extend([{"print": "x" * 10_000}] * 20)
        assert outcome("drain_buckets", "-v", verbosity, stdout=broken) == (0, "")
        assert scripted.status().batches == 0

    @every_broken
    def test_with_broken_output_and_errors(self, broken: Any) -> None:
        scripted.extend([{"fail": "no"}])
        process = run("drain_buckets", stdout=broken, stderr=broken)
        assert process.wait(60) == 3
        assert scripted.status().pending == 1

    @pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)])
    def test_with_closed_descriptors(self, closed: tuple[int, ...]) -> None:
        scripted.extend([{"fail": "no"}, {"print": "x"}])
        process = run("drain_buckets", stdout=None, stderr=None, preexec_fn=closing(*closed))
        assert process.wait(60) == 3
        assert scripted.status().batches == 1

    def test_with_closed_descriptors_heeds_a_signal(self, client_of_server: Redis) -> None:
        scripted.extend([{"announce": True}, *[{}] * 8, {"sleep": 1}])
        with run(
            "drain_buckets", "--watch", stdout=None, stderr=None, preexec_fn=closing(0, 1, 2)
        ) as process:
            wait_for(lambda: {"announce": True} in seen(client_of_server))
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        assert scripted.status().batches == 0

    def test_with_streams_that_python_has_closed(self) -> None:
        scripted.append({"fail": "no"})
        code = (
            "import django, logging, sys; django.setup(); logging.basicConfig(); "
            "sys.stdout.close(); sys.stderr.close(); "
            "from django.core.management import load_command_class as load; "
            "load('django_jsonbuffer', 'drain_buckets').run_from_argv(['', 'drain_buckets'])"
        )
        process = subprocess.Popen([sys.executable, "-c", code], env=environment())
        assert process.wait(60) == 3
        assert scripted.status().pending == 1

    @needs_a_full_disk
    def test_whose_log_is_on_a_full_disk(self, caplog: pytest.LogCaptureFixture) -> None:
        scripted.append({"fail": "no"})
        logger = logging.getLogger("django_jsonbuffer")
        with FULL.open("w", buffering=1) as stream, pytest.raises(CommandError) as caught:
            handler = logging.StreamHandler(stream)
            logger.addHandler(handler)
            try:
                call_command("drain_buckets", stderr=stream)
            finally:
                logger.removeHandler(handler)
                Output(stream).discard_unwritten()
        assert caught.value.returncode == 3


class TestProducts:
    """Commands that are run for their output fail if some of it is lost."""

    @needs_a_full_disk
    @pytest.mark.parametrize(
        ("command", "code"),
        [
            (("show_buckets",), 3),
            (("show_buckets", "--format", "json"), 3),
            (("show_buckets", "--format", "prometheus"), 3),
            (("show_buckets", "--watch"), 3),
            (("show_buckets", "--max-pending", "0"), 1),
            (("dead_events",), 3),
            (("dead_events", "--format", "json"), 3),
            (("redis_acl", "operator"), 1),
        ],
    )
    def test_on_a_full_disk(self, command: tuple[str, ...], code: int) -> None:
        scripted.append(1)
        with FULL.open("w") as stream:
            found, errors = outcome(*command, stdout=stream)
        assert found == code
        assert ("No space left on device" in errors) == ("--max-pending" not in command)
        assert len(errors.splitlines()) == 1

    @pytest.mark.parametrize(
        ("command", "code"),
        [
            (("show_buckets",), 0),
            (("show_buckets", "--watch"), 0),
            (("dead_events",), 0),
            (("redis_acl", "operator"), 0),
        ],
    )
    def test_that_nobody_reads(self, command: tuple[str, ...], code: int) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        assert outcome(*command, stdout=writer) == (code, "")
        os.close(writer)
        assert outcome(*command, stdout=None, preexec_fn=closing(1)) == (code, "")

    def test_in_a_language_that_the_encoding_lacks(self, client_of_server: Redis) -> None:
        Bucket("orders").append(1)
        make_old(client_of_server, "orders")
        file = io.BytesIO()
        stream = io.TextIOWrapper(file, encoding="ascii")
        with translation.override("ru"):
            call_command("show_buckets", stdout=stream)
        assert b"1 \\u0447\\u0430\\u0441" in file.getvalue()
        stream.close()


class TestActions:
    """Commands that change a bucket have done so, whether or not they could say it."""

    @needs_a_full_disk
    def test_on_a_full_disk(self) -> None:
        scripted.append(1)
        with FULL.open("w") as stream:
            for command in ("pause_buckets", "resume_buckets", "replay_dead_events"):
                assert outcome(command, "scripted", stdout=stream) == (0, "")
            purge = ("purge_buckets", "scripted", "--no-input")
            assert outcome(*purge, stdout=stream) == (0, "")
        assert scripted.status().pending == 0

    def test_without_standard_input(self) -> None:
        scripted.append(1)
        code, errors = outcome("purge_buckets", "scripted", preexec_fn=closing(0))
        assert code == 2
        assert "no terminal to ask on" in errors
        assert scripted.status().pending == 1
