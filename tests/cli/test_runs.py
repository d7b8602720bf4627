"""`fedvm runs`: what it says of finished, running, interrupted and broken runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from test_cli import call

from fedvm.pipeline.results import RunReport
from fedvm.rundir.layout import RunDirectory


def test_runs_are_listed_with_how_far_they_have_come(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: tuple[Path, RunReport]
) -> None:
    shutil.copytree(finished[0], tmp_path / "a done")
    for name in ("b running", "c stopped"):
        shutil.copytree(finished[0], tmp_path / name)
        (tmp_path / name / "report.json").unlink()
        (tmp_path / name / "rounds" / "round-0002.json").unlink()
    shutil.copytree(finished[0], tmp_path / "d broken")
    (tmp_path / "d broken" / "config.toml").write_text("[nonsense\n")
    (tmp_path / "e none").mkdir()
    with RunDirectory(tmp_path / "b running").locked():
        status, out, _ = call(capsys, "runs", str(tmp_path), "--json")
        rows = json.loads(out)
        assert status == 0
        assert [row["state"] for row in rows] == ["finished", "running", "interrupted", "unreadable"]
        assert rows[0]["accuracy"] == finished[1].evaluation.chain_accuracy
        assert [(row["rounds"], row["planned"]) for row in rows[:3]] == [(2, 2), (1, 2), (1, 2)]
    status, out, _ = call(capsys, "runs", str(tmp_path))
    assert f"fedvm run --out '{tmp_path / 'c stopped'}' --resume" in out and "running" not in out.replace(
        "b running", ""
    )


def test_a_folder_without_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, _ = call(capsys, "runs", str(tmp_path))
    assert status == 0 and "No runs in" in out
    status, _, err = call(capsys, "runs", str(tmp_path / "none"))
    assert status == 2 and "is no folder" in err
