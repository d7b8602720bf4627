"""kill -9 in the middle of a round, then `--resume`: the same model as if nothing had happened."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import settings, small_config, write_digits

from fedvm.pipeline.run import run_all


def _start(arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fedvm.cli.entry", "run", *arguments]
    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # a shell that runs the tests in the background has them, and their children, ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def _kill_at(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if words in line:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL, "".join(seen)


@pytest.mark.slow
def test_killed_twice_it_ends_with_the_same_model(tmp_path: Path) -> None:
    digits = write_digits(tmp_path / "digits")
    whole = run_all(small_config(digits, tmp_path / "whole"))
    out = tmp_path / "killed"
    flags = [f"--set={key}={value}" for key, value in settings(digits, out).items()]
    _kill_at(_start(flags), "Federating")
    _kill_at(_start([*flags, "--resume"]), "refused client 2")  # round 1 is over, round 2 begins
    report = run_all(small_config(digits, out), resume=True)
    assert report.model.model_root == whole.model.model_root
    assert [part.code_hash for part in report.model.parts] == [part.code_hash for part in whole.model.parts]
    assert report.evaluation.mismatches == 0


@pytest.mark.slow
def test_interrupt_says_how_to_resume(tmp_path: Path) -> None:
    digits, out = write_digits(tmp_path / "digits"), tmp_path / "run"
    flags = [f"--set={key}={value}" for key, value in settings(digits, out).items()]
    process = _start(flags)
    assert process.stderr is not None
    for line in process.stderr:
        if "Federating" in line:
            break
    process.send_signal(signal.SIGINT)
    message = process.stderr.read()
    assert process.wait() == 130
    assert f"fedvm run --out {out} --resume" in message and "Traceback" not in message
