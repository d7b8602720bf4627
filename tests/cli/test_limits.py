"""Models too large for one transaction, on the command line: figures before anything is sent, then stages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_cli import call
from test_deploy import ANVIL_KEY
from torch import nn

from fedvm.chain.inference import InferenceSession
from fedvm.chain.keys import load_key
from fedvm.chain.networks import connect
from fedvm.compiler.probe import reference_scores
from fedvm.learning.export import export_onnx

SHAPE = (3, 16, 16)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of some 760,000 gas, and images."""
    folder = tmp_path_factory.mktemp("limits")
    torch.manual_seed(5)
    layers: list[nn.Module] = [nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Conv2d(24, 24, 3, padding=1), nn.ReLU()]
    layers += [nn.MaxPool2d(2), nn.Conv2d(24, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5)]
    export_onnx(nn.Sequential(*layers), SHAPE, folder / "model.onnx")
    images = np.random.default_rng(2).integers(0, 256, (24, *SHAPE), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images)
    return folder


def arguments(files: Path) -> list[str]:
    return [
        str(files / "model.onnx"),
        "--calibration",
        str(files / "images.npz"),
        "--scale",
        "0.00392156862745",
    ]


@pytest.mark.slow
def test_compile_offers_stages_with_their_figures(
    capsys: pytest.CaptureFixture[str], files: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    status, out, err = call(capsys, "compile", *arguments(files), "--max-gas", "760000", "-o", str(program))
    manifest = json.loads((program / "manifest.json").read_text())
    assert status == 0 and f"{manifest['gas']['transaction']:,} gas, the limit is 760,000" in " ".join(
        err.split()
    )
    assert len(manifest["stages"]) > 1
    for row in manifest["stages"]:
        assert row["name"] in out and f"{row['transaction']:,}" in out
    status, _, err = call(
        capsys, "compile", *arguments(files), "--max-gas", "760000", "-o", str(program), "--check"
    )
    assert status == 0 and "all code hashes are equal" in err and "0 unlike ONNX Runtime" in err
    status, _, err = call(
        capsys,
        "compile",
        *arguments(files),
        "--max-gas",
        "760000",
        "--bits",
        "5",
        "-o",
        str(program),
        "--check",
    )
    assert status == 1 and "holds another program" in err


@pytest.mark.slow
def test_a_limit_out_of_reach_is_an_error(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    status, _, err = call(capsys, "compile", *arguments(files), "--max-gas", "100000")
    assert status == 2 and "The limit is 100,000" in " ".join(err.split())


@pytest.mark.slow
def test_filecoin_figures_lead_for_filecoin(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    status, out, err = call(capsys, "compile", *arguments(files), "--target", "filecoin")
    assert status == 0 and "Filecoin gas" in out and "Too much" not in err
    assert "One prediction: about" in out


@pytest.mark.slow
def test_deploy_in_stages_and_run_them(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    anvil: str,
    files: Path,
) -> None:
    monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
    out = tmp_path / "deployed"
    deploy = ["deploy", *arguments(files), "--rpc", anvil, "--out"]
    status, _, err = call(capsys, *deploy, str(tmp_path / "none"), "--stages")
    assert status != 0 and "leave --stages out" in err and not (tmp_path / "none").exists()
    status, printed, err = call(capsys, *deploy, str(out), "--max-gas", "760000", "--stages")
    assert status == 0, err
    note = json.loads((out / "stages.json").read_text())
    assert note["session"] in printed and note["program"] in printed
    account = load_key(tmp_path / ".env")
    sessions = InferenceSession(connect(anvil), note["session"])
    image = np.random.default_rng(9).integers(0, 256, (1, *SHAPE), dtype=np.uint8)
    session, _ = sessions.start(account, bytes.fromhex(note["program"][2:]), image.tobytes())
    scores = sessions.finish(account, session)
    assert np.array_equal(scores, reference_scores((out / "model.int.onnx").read_bytes(), image)[0])
