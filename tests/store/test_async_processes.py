"""Connections of event loops when a process forks, and when it ends."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from django_jsonbuffer import Bucket
from tests.server import Redis
from tests.test_drain_buckets import environment
from tests.test_embedded_redis import wait_until


async def append(*events: Any) -> None:
    await asyncio.gather(*map(Bucket("orders").aappend, events))


def connections(plain: Redis) -> set[str]:
    return {each["id"] for each in plain.client_list()}


def test_child_of_a_fork_has_connections_of_its_own(private_server: Redis) -> None:
    """Also if it is forked within the loop. The parent goes on with its connections."""

    async def main() -> None:
        await append(1)
        parents = connections(private_server)
        pid = forked(appended_in_child)
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            await asyncio.sleep(0.01)
        for number in range(2, 5):
            await append(number)
        assert parents <= connections(private_server)

    asyncio.run(main())
    stored = Bucket("orders").take()
    assert sorted(map(str, stored)) == ["1", "2", "3", "4", "child"]


def test_child_of_a_fork_keeps_no_connection_of_its_parent_open(private_server: Redis) -> None:
    before, reading, writing = connections(private_server), *os.pipe()

    async def main() -> int:
        await append(1)
        return forked(lambda: os.read(reading, 1))

    pid = asyncio.run(main())
    wait_until(lambda: connections(private_server) <= before)
    os.write(writing, b".")
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)


def forked(call: Callable[[], object]) -> int:
    """The id of a child process that makes the call."""
    if (pid := os.fork()) == 0:
        try:
            call()
        finally:
            os._exit(0)
    return pid


def appended_in_child() -> None:
    """Append in a loop of a child process, in which the loop of its parent does not run."""
    asyncio._set_running_loop(None)
    asyncio.run(append("child"))


PROGRAM = """
import asyncio
import threading
import django
django.setup()
from django_jsonbuffer import Bucket

async def main():
    await Bucket("orders").aappend(1)

{run}
"""

RUNS = {
    "loops closed": """
asyncio.run(main())
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
thread = threading.Thread(target=lambda: asyncio.run(main()))
thread.start()
thread.join()
""",
    "loop left open": """
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
""",
    "exit within a loop": """
async def leave():
    await main()
    raise SystemExit(0)
asyncio.run(leave())
""",
    "exit while a thread runs a loop": """
async def wait():
    await main()
    done.set()
    await asyncio.sleep(60)
done = threading.Event()
threading.Thread(target=lambda: asyncio.run(wait()), daemon=True).start()
done.wait()
""",
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_process_ends_without_a_warning(client_of_server: Redis, run: str) -> None:
    process = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM.format(run=run)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    # On a busy machine, asyncio says how long each step took.
    errors = [line for line in process.stderr.splitlines() if not line.startswith("Executing ")]
    assert (process.returncode, process.stdout, errors) == (0, "", [])
    assert set(Bucket("orders").take()) == {1}
