"""Run Wagtail's test suite without and with the recording of every model, and compare.

    python -m tests.faults.wagtail_suite [--checkout FOLDER] [--parallel 2] [LABEL ...]

The labels are tests of Wagtail, such as ``wagtail.admin``; by default all of them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from example_project.embedded_redis import EmbeddedRedis

from . import report
from .journal import FOLDER

REPOSITORY: Final = Path(__file__).parents[3]


def main() -> int:
    arguments = parsed()
    folder = arguments.output or Path(tempfile.mkdtemp(prefix="wagtail-suite-"))
    plain, recorded = folder / "plain", folder / "recorded"
    sources = folder / "sources"
    sources.mkdir(parents=True)
    (sources / "django_jsonbuffer").symlink_to(arguments.checkout.resolve() / "django_jsonbuffer")
    run(plain, sources, arguments)
    with EmbeddedRedis() as server:
        run(recorded, sources, arguments, REDIS_URL=server.url)
    print(f"{arguments.checkout.resolve()}, all files in {folder}")
    return report.report(plain, recorded)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkout",
        type=Path,
        default=os.environ.get("CHECKOUT") or REPOSITORY,
        help="the repository whose django_jsonbuffer records; by default CHECKOUT, or this one",
    )
    parser.add_argument("--parallel", default="2", help="processes that run tests")
    parser.add_argument("--output", type=Path, help="a new folder for the files of the runs")
    parser.add_argument("labels", nargs="*", default=["wagtail"], metavar="LABEL")
    arguments = parser.parse_args()
    arguments.checkout = Path(arguments.checkout)
    return arguments


def run(folder: Path, sources: Path, arguments: argparse.Namespace, **environment: str) -> None:
    """Run the suite once. Its own output goes to a file, because failures are expected."""
    folder.mkdir()
    began = time.monotonic()
    # The present folder comes first on Python's path, so that the checkout wins.
    command = [sys.executable, "-m", "django", "test", *arguments.labels, "--noinput"]
    with (folder / "output.txt").open("w") as output:
        subprocess.run(
            [*command, "--parallel", arguments.parallel],
            cwd=sources,
            env={
                **{name: value for name, value in os.environ.items() if name != "REDIS_URL"},
                "DJANGO_SETTINGS_MODULE": "tests.faults.wagtail_suite.settings",
                "PYTHONPATH": str(REPOSITORY),
                FOLDER: str(folder.resolve()),
                **environment,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    print(f"{folder.name}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
