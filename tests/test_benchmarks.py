import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("append", ["empty at first", "100,000 pending", "in one open batch", "RPUSH"]),
        (
            "record",
            [
                "post_save has listeners for 1 of them",
                "nothing is recorded",
                "another model is recorded",
                "a receiver that does nothing",
                "recorded ",
                "recorded, changes=True",
            ],
        ),
    ],
)
def test_runs_and_names_each_case(name: str, cases: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--rounds", "1", "--calls", "20"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    for case in cases:
        assert case in done.stdout
