"""Measure what the app adds to the start of a process, and a drain that finds nothing."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from time import perf_counter
from typing import Final

from benchmarks.rounds import Comparison, Ratio, Scale

BUCKETS: Final = 10
CALLS: Final = 20

_PROJECT: Final = """
import os
from django.conf import settings
settings.configure(
    SECRET_KEY="only-for-the-benchmarks",
    INSTALLED_APPS={apps!r},
    CACHES={{
        "default": {{"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        "jsonbuffer": {{
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": os.environ["BENCHMARKS_REDIS_URL"],
        }},
    }},
)
"""

_SET_UP: Final = """
import django
django.setup()
"""

_IMPORT_CLIENTS: Final = """
import redis, django_redis.cache, django_redis.client
"""

_COMMAND: Final = """
from django.core.management import execute_from_command_line
execute_from_command_line({arguments!r})
"""

_DECLARE: Final = f"""
from django_jsonbuffer import Bucket
for number in range({BUCKETS}):
    Bucket(f"idle-{{number}}").processor(lambda batch: None)
"""

_TIMED: Final = """
from time import perf_counter
began = perf_counter()
{code}
print((perf_counter() - began) * 1000)
"""

_DRAIN_AGAIN: Final = f"""
import io, time
from django.core.management import call_command
def drain():
    call_command("drain_buckets", stdout=io.StringIO())
drain()
began = time.perf_counter()
for _ in range({CALLS}):
    drain()
print((time.perf_counter() - began) * 1000 / {CALLS})
"""


_compiled: Final = tempfile.TemporaryDirectory(prefix="jsonbuffer-compiled-")


def project(*apps: str) -> str:
    """The code of a minimal project with users and these apps."""
    return _PROJECT.format(apps=["django.contrib.auth", "django.contrib.contenttypes", *apps])


def command(*arguments: str) -> str:
    """The code that does the same as `python -m django` with these arguments."""
    return _COMMAND.format(arguments=["django", *arguments])


def output_of(*code: str) -> str:
    """Run the code in a Python process, and return its output.

    The modules that an earlier process imported are already compiled, as installed modules are.
    """
    return subprocess.run(
        [sys.executable, "-c", "".join(code)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": _compiled.name,
        },
    ).stdout


def comparisons(scale: Scale) -> Iterator[Comparison]:
    rounds = scale.rounds(10)
    output_of(project("django_jsonbuffer"), _IMPORT_CLIENTS, _DECLARE, command("drain_buckets"))
    yield _setting_up(rounds)
    yield _importing(rounds)
    yield _draining_nothing(rounds)


def _setting_up(rounds: int) -> Comparison:
    without, clients = "without the app", "without it, Redis clients imported"
    with_app = "with the app"
    return Comparison(
        title="A process that sets up a project, and ends",
        unit="ms",
        cases={
            without: partial(_wall_time, project(), _SET_UP),
            clients: partial(_wall_time, project(), _IMPORT_CLIENTS, _SET_UP),
            with_app: partial(_wall_time, project("django_jsonbuffer"), _SET_UP),
        },
        rounds=rounds,
        ratios=[
            Ratio(what=f"start of a process, {with_app} / {other}", of=with_app, to=other)
            for other in (without, clients)
        ],
    )


def _importing(rounds: int) -> Comparison:
    start = (project(), _SET_UP)
    ours = _TIMED.format(code="import django_jsonbuffer")
    return Comparison(
        title="Imports, after django.setup()",
        unit="ms",
        cases={
            "redis and django_redis": partial(_told, *start, _TIMED.format(code=_IMPORT_CLIENTS)),
            "django_jsonbuffer, after these": partial(_told, *start, _IMPORT_CLIENTS, ours),
        },
        rounds=rounds,
    )


def _draining_nothing(rounds: int) -> Comparison:
    start = (project("django_jsonbuffer"), _DECLARE)
    nothing, drain = (
        "a process of check, which drain_buckets does too",
        "a process of drain_buckets",
    )
    return Comparison(
        title=f"A drain of {BUCKETS} empty buckets",
        unit="ms",
        cases={
            nothing: partial(_wall_time, *start, command("check")),
            drain: partial(_wall_time, *start, command("drain_buckets")),
            "drain_buckets once more in a process": partial(_told, *start, _SET_UP, _DRAIN_AGAIN),
        },
        rounds=rounds,
        ratios=[
            Ratio(what=f"{BUCKETS} empty buckets, drain_buckets / check", of=drain, to=nothing)
        ],
    )


def _wall_time(*code: str) -> float:
    began = perf_counter()
    output_of(*code)
    return (perf_counter() - began) * 1000


def _told(*code: str) -> float:
    """The milliseconds that the code measures and prints itself."""
    return float(output_of(*code).split()[-1])
