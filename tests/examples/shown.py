"""Running what an example's README shows, in a copy of the example."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
FILES_OF_THE_CHECKOUT = ("contracts", "src", "constraints.txt")
LOCAL = shutil.ignore_patterns("out", "cache", "program", "node_modules", ".venv", "__pycache__", "*.onnx")


def commands(name: str) -> str:
    """The lines of all `sh` blocks of the README of an example, as one script."""
    return "".join(BLOCK.findall((ROOT / "examples" / name / "README.md").read_text()))


def copy_of(name: str, path: Path) -> Path:
    """An example below `path`, where it has the same way to the files of the checkout."""
    for file in FILES_OF_THE_CHECKOUT:
        (path / file).symlink_to(ROOT / file)
    return Path(shutil.copytree(ROOT / "examples" / name, path / "examples" / name, ignore=LOCAL))


def run(script: str, directory: Path, *, fails: bool = False, timeout: float = 600) -> str:
    """What a script of shell commands prints, standard error too; each must succeed, or the script fails."""
    scripts = sysconfig.get_path("scripts")
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "FEDVM_HOME": str(directory / "fedvm-home"),
        "FLWR_TELEMETRY_ENABLED": "0",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout
