"""`fedvm deploy` onto anvil, a chain with a socket, and asking the model there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import call

from fedvm.compiler.probe import reference_scores
from fedvm.images.prepare import Preparation, load_image
from fedvm.learning.export import export_onnx
from fedvm.learning.models import ModelSpec, build_model

ROOT = Path(__file__).parent.parent.parent
ANVIL_KEY = (
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"  # public, of anvil's account 0
)


@pytest.fixture(scope="module")
def anvil(start_anvil: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    with start_anvil() as url:
        yield url


@pytest.fixture
def model(tmp_path: Path) -> Path:
    network = build_model(ModelSpec("mlp", (1, 16, 16), 10), seed=4)
    export_onnx(network, (1, 16, 16), tmp_path / "own.onnx")
    return tmp_path / "own.onnx"


def test_deploy_predict_record_audit(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    anvil: str,
    model: Path,
) -> None:
    monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
    images = np.random.default_rng(1).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    out = tmp_path / "deployed"
    status, printed, err = call(
        capsys, "deploy", str(model), "--rpc", anvil, "--out", str(out), "--scale", str(1 / 127.5),
        "--offset", "-1", "--calibration", str(tmp_path / "images.npz"), "--classes", "a,b,c,d,e,f,g,h,i,j",
        "--preparation", "drawing",
    )  # fmt: skip
    assert status == 0, err
    assert "ModelService" in printed and "version       1" in printed
    drawing = np.zeros((60, 60), np.uint8)
    drawing[10:40, 20:26] = 255
    Image.fromarray(255 - drawing).save(tmp_path / "image.png")
    seen = load_image(tmp_path / "image.png", (1, 16, 16), Preparation.DRAWING)
    assert seen.pixels.max() > 200 and seen.pixels[0, 0].max() == 0
    asked = ["predict", str(tmp_path / "image.png"), "--run", str(out), "--json"]
    status, answer, _ = call(capsys, *asked)
    exact = reference_scores((out / "model.int.onnx").read_bytes(), seen.pixels[None])[0]
    assert status == 0 and json.loads(answer)["scores"] == exact.tolist()
    assert json.loads(answer)["class"] == "abcdefghij"[int(exact.argmax())]
    status, answer, _ = call(capsys, *asked, "--record")
    assert status == 0 and json.loads(answer)["decision"] == 1
    status, found, _ = call(capsys, "audit", "--run", str(out))
    assert status == 0 and "Nothing found in 8 checks" in found, found
    assert ANVIL_KEY[2:] not in "".join(
        file.read_text("latin-1") for file in out.rglob("*") if file.is_file()
    )


def test_real_inputs_are_audited(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    anvil: str,
    model: Path,
) -> None:
    monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
    np.save(tmp_path / "real.npy", np.random.default_rng(1).normal(size=(80, 1, 16, 16)))
    out = tmp_path / "deployed"
    status, _, err = call(
        capsys,
        "deploy",
        str(model),
        "--rpc",
        anvil,
        "--out",
        str(out),
        "--calibration",
        str(tmp_path / "real.npy"),
    )
    assert status == 0, err
    status, found, _ = call(capsys, "audit", "--run", str(out))
    assert status == 0 and "Nothing found in 7 checks" in found, found


def test_without_calibration_it_warns(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    anvil: str,
    model: Path,
) -> None:
    monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
    status, _, err = call(capsys, "deploy", str(model), "--rpc", anvil, "--out", str(tmp_path / "out"))
    assert status == 0 and "synthetic" in err and "--calibration" in err


def test_an_unreachable_chain_is_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
    status, _, err = call(capsys, "deploy", str(model), "--rpc", "http://127.0.0.1:1")
    assert status == 1 and "no Ethereum RPC answers" in err and ANVIL_KEY not in err


def test_an_account_without_funds_is_told(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    anvil: str,
    model: Path,
) -> None:
    monkeypatch.setenv("PRIVATE_KEY", "0x" + "77" * 32)
    status, _, err = call(capsys, "deploy", str(model), "--rpc", anvil, "--out", str(tmp_path / "out"))
    assert status == 1 and "fund it" in err
