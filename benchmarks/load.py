"""Load a web server: `python -m benchmarks.load SOCKET PATH --clients 200 --requests 2000`.

The clients run in a process of their own, without Django. Each has one connection that stays open,
and sends its next request when it has the response to the last. Prints a summary as JSON.
"""

import argparse
import asyncio
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter, process_time
from typing import NamedTuple


class Response(NamedTuple):
    path: str
    status: int | None
    """None if the connection failed."""

    seconds: float
    is_first: bool
    """Whether it answers the client's first request, which had to open the connection."""


async def load(socket: str, paths: Iterable[str], *, clients: int) -> list[Response]:
    """Request each path once, with that many requests at a time.

    A client ends when the paths are used up, or its connection fails.
    """
    responses: list[Response] = []
    remaining = iter(paths)
    await asyncio.gather(*(_client(socket, remaining, responses) for _ in range(clients)))
    return responses


async def _client(socket: str, paths: Iterator[str], responses: list[Response]) -> None:
    reader = writer = None
    for at, path in enumerate(paths):
        began = perf_counter()
        try:
            if reader is None or writer is None:
                reader, writer = await asyncio.open_unix_connection(socket)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            status, stays_open = await _response(reader)
        except (OSError, EOFError):
            responses.append(Response(path, None, perf_counter() - began, at == 0))
            break
        responses.append(Response(path, status, perf_counter() - began, at == 0))
        if not stays_open:
            writer.close()
            reader = writer = None
    if writer is not None:
        writer.close()


async def _response(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Read a response. Returns its status, and whether the connection stays open."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
    headers = dict(line.split(": ", 1) for line in lines if line)
    if "content-length" in headers:
        await reader.readexactly(int(headers["content-length"]))
        stays_open = headers.get("connection") != "close"
    else:
        await reader.read()
        stays_open = False
    return int(first.split()[1]), stays_open


def summary(responses: Sequence[Response]) -> dict[str, float]:
    times = sorted(response.seconds for response in responses if not response.is_first)
    return {
        "median_ms": statistics.median(times) * 1000,
        "p99_ms": times[len(times) * 99 // 100] * 1000,
        "errors": sum(response.status != 200 for response in responses),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("socket", metavar="SOCKET", help="the unix socket of the web server")
    parser.add_argument("path", metavar="PATH")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--requests", type=int, required=True)
    options = parser.parse_args()
    began, used = perf_counter(), process_time()
    paths = [options.path] * options.requests
    responses = asyncio.run(load(options.socket, paths, clients=options.clients))
    busy = (process_time() - used) / (perf_counter() - began)
    print(json.dumps({**summary(responses), "busy": busy}))


if __name__ == "__main__":
    main()
