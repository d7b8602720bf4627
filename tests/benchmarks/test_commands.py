"""Every benchmark can be started: what it imports is there, and `--help` tells what it measures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COMMANDS = sorted(file for file in BENCHMARKS.glob("*.py") if "__main__" in file.read_text())


@pytest.mark.parametrize("file", COMMANDS, ids=lambda file: file.stem)
def test_says_what_it_does(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, file, "--help"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:") and len(done.stdout.splitlines()) > 3
