"""Mutants of the scripts: each statement left out, and some made by hand. What kills them?

``python -m tests.faults.mutants`` makes one after the other, and lets the search look for a broken
promise; on those that it does not kill, it runs the tests of the scripts. It prints one line for
each, and takes some forty minutes on two cores. With names of files, such as ``renew.lua`` or
``shared/leases.lua``, or ``file:line``, it does so for these alone. docs/faults.md lists those that
survive, and why they may.
"""

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

import redis
from django.conf import settings
from django.test import override_settings

import django_jsonbuffer
from django_jsonbuffer.conf import Configuration
from example_project.embedded_redis import EmbeddedRedis
from tests.faults import mutated

FOLDER: Final = Path(django_jsonbuffer.__file__).parent / "scripts"
SEEDS: Final = 1000
TESTS: Final = [
    *("store/test_store", "store/test_appends", "store/test_catalog_entries"),
    *("store/test_pending", "store/test_deliveries", "store/test_status"),
    *("store/test_history", "store/test_dead_letters", "store/test_server", "store/test_errors"),
    *("draining/test_leases", "draining/test_drain", "draining/test_failures"),
    *("draining/test_acks", "draining/test_batches", "draining/test_processor_transactions"),
    *("test_dead_letters", "test_pending_events", "test_seed", "test_faults"),
]

_NO_STATEMENT: Final = re.compile(r"\s*(--.*|end[,)]*|else|[})]+,?|)")

BY_HAND: Final = [
    ("append.lua", "last_sequence >= tonumber(sequence)", "last_sequence > tonumber(sequence)"),
    ("append.lua", "last_sequence >= tonumber(sequence)", "last_sequence == tonumber(sequence)"),
    ("append.lua", "last == stamp or last == sequence", "last == sequence"),
    ("append.lua", "last == stamp or last == sequence", "last == stamp"),
    ("append.lua", "nonce == '' and", "false and"),
    ("append.lua", "pending > max_pending", "pending >= max_pending"),
    ("append.lua", "if is_claimed or not events then", "if not events then"),
    ("append.lua", "#splice - 1 > batch_bytes", "#splice - 1 > batch_bytes * 2"),
    ("append.lua", "batch.count + count > batch_size", "batch.count + count > batch_size + 1"),
    ("append.lua", "batch.count >= batch_size or", "batch.count > batch_size or"),
    ("append.lua", "pending - batch.count, bytes", "pending, bytes"),
    ("append.lua", "{ 'dropped', is_new", "{ 'stored', is_new"),
    ("claim.lua", "'IDLE', lease_ms, after", "'IDLE', 0, after"),
    ("claim.lua", "reply = claim_delivered(true, '-', '+', 1, worker)\n", "\n"),
    ("claim.lua", "if not reply and not is_paused then", "if not reply then"),
    ("claim.lua", "not is_paused and has_lingered()", "has_lingered()"),
    ("pause.lua", "if is_paused then return 0 end", ""),
    ("shared/take_samples.lua", "-SAMPLES, -1", "0, -1"),
    ("shared/take_samples.lua", ">= BETWEEN_MS", "> 0"),
    ("claim.lua", "deliveries + 1, holder ~= NOBODY, h", "deliveries, holder ~= NOBODY, h"),
    ("claim.lua", "holder ~= NOBODY, holder ~= NOBODY", "holder ~= NOBODY, true"),
    ("claim.lua", "holder ~= NOBODY, holder ~= NOBODY", "true, holder ~= NOBODY"),
    ("claim.lua", "worker, 0, id, 'JUSTID'", "worker, 0, id"),
    ("release.lua", "NOBODY, 0, id, 'IDLE', idle_ms, 'JUSTID'", "NOBODY, 0, id, 'JUSTID'"),
    ("release.lua", "NOBODY, 0", "worker, 0"),
    ("release.lua", "past.failures = past.failures + 1", "past.deaths = past.deaths + 1"),
    ("release.lua", "if failed == 1", "if failed == 0"),
    ("release.lua", "past.processed and past.processed ~= processed", "past.processed"),
    ("release.lua", "past.processed and past.processed ~=", "past.processed ~="),
    ("retire.lua", "NOBODY, 0", "worker, 0"),
    ("retire.lua", "== 0 then", ">= 0 then"),
    ("split.lua", "sub(events, 1, last)", "sub(events, 1, last - 1)"),
    ("split.lua", "sub(events, following)", "sub(events, following + 1)"),
    ("split.lua", "failures = failures, deaths = deaths", "failures = deaths, deaths = failures"),
    ("bury.lua", "tonumber(ARGV[at]), tonumber", "1 + tonumber(ARGV[at]), tonumber"),
    ("bury.lua", "at = FIRST_ARGV, #ARGV, 4", "at = FIRST_ARGV, #ARGV - 4, 4"),
    ("shared/leases.lua", "held[4] == attempt", "held[4] >= attempt"),
    ("shared/leases.lua", "return held ~= nil and held[4] == attempt", "return held ~= nil"),
    ("shared/leases.lua", "id, id, 1, worker)", "id, id, 1)"),
    ("shared/ensure_group.lua", "GROUP, '0', 'MKSTREAM'", "GROUP, '$', 'MKSTREAM'"),
    (
        "shared/sealing.lua",
        "batch.bytes, batch.opened = 0, 0, nil",
        "batch.bytes, batch.opened = 1, 0, nil",
    ),
    ("renew.lua", "worker, 0, id, 'JUSTID'", "worker, 0, id"),
    ("replay.lua", "table.concat(events, ',')", "events[1]"),
    ("take.lua", "if is_claimed then return false end", "if is_claimed then return true end"),
]


class Mutant(NamedTuple):
    file: str
    line: int
    """The first that is changed, from 1."""

    what: str
    source: str


def all_mutants(plain: "redis.Redis") -> list[Mutant]:
    return [*_left_out(plain), *_by_hand()]


def _by_hand() -> Iterator[Mutant]:
    for file, old, new in BY_HAND:
        source = (FOLDER / file).read_text()
        if source.count(old) < 1:
            raise ValueError(f"{file} has no {old!r}")
        line = source[: source.index(old)].count("\n") + 1
        yield Mutant(file, line, f"{old} → {new}", source.replace(old, new, 1))


def _left_out(plain: "redis.Redis") -> Iterator[Mutant]:
    """Each statement: a line, or as many from there on as have to go that what is left is Lua."""
    for path in sorted(FOLDER.glob("**/*.lua")):
        file = str(path.relative_to(FOLDER))
        lines = path.read_text().splitlines(keepends=True)
        for at, line in enumerate(lines):
            if _NO_STATEMENT.fullmatch(line.rstrip("\n")):
                continue
            for end in range(at + 1, len(lines) + 1):
                source = "".join(lines[:at] + lines[end:])
                if _is_lua(plain, source):
                    what = " ".join(" ".join(lines[at:end]).split())
                    yield Mutant(file, at + 1, f"without {what[:90]}", source)
                    break


def _is_lua(plain: "redis.Redis", source: str) -> bool:
    try:
        plain.script_load(source)
    except redis.ResponseError:
        return False
    return True


def killed_by_search(mutant: Mutant) -> str | None:
    """What the search says of it, or None when it finds nothing."""
    from tests.faults.schedules import Schedule, Violation

    mutated.inject(mutant.file, mutant.source)
    with (
        EmbeddedRedis() as embedded,
        override_settings(CACHES=_caches(embedded.url)),
        redis.Redis.from_url(embedded.url, socket_timeout=3) as plain,
    ):
        for seed in range(SEEDS):
            try:
                Schedule(plain, Configuration(cache="own", prefix="mutant"), seed).run()
            except Violation as violation:
                return f"seed {seed}: {violation}"
            except Exception as error:  # noqa: BLE001  (whatever it does, it shows)
                return f"seed {seed}: {type(error).__name__} {str(error)[:100]}"
    return None


def _caches(url: str) -> dict[str, Any]:
    return {
        "own": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": url,
            "OPTIONS": {"SOCKET_TIMEOUT": 3},
        }
    }


def killed_by_tests(mutant: Mutant) -> str | None:
    """The first test that fails with it, or None."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(mutant.source)
        file.flush()
        arguments = ["-x", "-n0", "-p", mutated.__name__, *(f"tests/{name}.py" for name in TESTS)]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *arguments],
                env={**os.environ, "MUTATED_FILE": mutant.file, "MUTATED_SOURCE": file.name},
                capture_output=True,
                text=True,
                timeout=240,
            )
        except subprocess.TimeoutExpired:
            return "one that does not end"
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return failed[1] if failed else (None if done.returncode == 0 else "the suite")


def judge(mutant: Mutant) -> str:
    verdict = killed_by_search(mutant)
    if verdict is None:
        by_test = killed_by_tests(mutant)
        verdict = f"TEST {by_test}" if by_test else "SURVIVES"
    return f"{mutant.file}:{mutant.line} | {mutant.what} | {verdict}"


def configure() -> None:
    logging.disable()
    settings.configure(CACHES=_caches(""))


def main(arguments: list[str]) -> int:
    with EmbeddedRedis() as embedded, redis.Redis.from_url(embedded.url) as plain:
        mutants = all_mutants(plain)
    chosen = [
        mutant
        for mutant in mutants
        if not arguments or not {mutant.file, f"{mutant.file}:{mutant.line}"}.isdisjoint(arguments)
    ]
    print(f"{len(chosen)} mutants", flush=True)
    with get_context("spawn").Pool(
        os.cpu_count(), initializer=configure, maxtasksperchild=20
    ) as pool:
        for verdict in pool.imap(judge, chosen):
            print(verdict, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
