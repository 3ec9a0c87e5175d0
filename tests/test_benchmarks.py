import subprocess
import sys


def test_runs_and_names_each_case() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.append", "--rounds", "1", "--calls", "20"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "100,000 pending" in done.stdout
    assert "RPUSH" in done.stdout
