"""Every benchmark can be started: what it imports is there, and `--help` tells what it measures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COMMANDS = sorted(file for file in BENCHMARKS.glob("*.py") if "__main__" in file.read_text())

# All in one process, since most of the time goes into importing the same libraries.
ASK = """
import contextlib, io, json, runpy, sys
said = {}
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    printed = io.StringIO()
    sys.argv = [name, "--help"]
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(name, run_name="__main__")
    except SystemExit as end:
        said[name] = [end.code, printed.getvalue()]
print(json.dumps(said))
"""


@pytest.mark.slow
def test_each_says_what_it_does() -> None:
    command = [sys.executable, "-c", ASK, str(BENCHMARKS), *map(str, COMMANDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert sorted(said) == [str(file) for file in COMMANDS] and len(said) > 15
    for status, text in said.values():
        assert status in (0, None) and text.startswith("usage:") and len(text.splitlines()) > 3, text
