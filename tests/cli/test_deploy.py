"""`fedvm deploy` onto anvil, a chain with a socket, and asking the model there."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eth_account import Account
from PIL import Image
from test_cli import call

from fedvm.chain.filecoin_address import filecoin_address
from fedvm.chain.networks import connect
from fedvm.cli.entry import main
from fedvm.compiler.probe import reference_scores
from fedvm.images.prepare import Preparation, load_image
from fedvm.learning.export import export_onnx
from fedvm.learning.models import ModelSpec, build_model
from fedvm.rundir.deployment import ChainRef, Deployment

ROOT = Path(__file__).parent.parent.parent
ANVIL_KEY = (
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"  # public, of anvil's account 0
)


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
    assert status == 0 and "Nothing found in" in found, found
    service = json.loads((out / "deployment.json").read_text())["service"]
    at = ["--rpc", anvil, "--service", service, "--store", str(out / "store")]
    status, answer, err = call(capsys, "predict", str(tmp_path / "image.png"), *at, "--json")
    assert status == 0 and json.loads(answer)["scores"] == exact.tolist(), err
    native = filecoin_address(service, testnet=True)
    status, rows, _ = call(capsys, "decisions", "--rpc", anvil, "--service", native, "--json")
    assert status == 0 and json.loads(rows)[0]["class"].startswith("class ")
    status, rows, _ = call(capsys, "decisions", *at, "--first-block", "1", "--json")
    assert json.loads(rows)[0]["class"] in "abcdefghij"
    status, _, err = call(capsys, "predict", str(tmp_path / "image.png"), *at[:-2])
    assert status != 0 and "--store" in err
    status, versions, _ = call(capsys, "service", "versions", *at[:-2])
    assert status == 0 and "serves" in versions
    status, _, err = call(capsys, "decisions", "--rpc", anvil, "--service", "0x" + "12" * 20)
    assert status != 0 and "no contract at" in " ".join(err.split())
    moved = Deployment.load(out)
    replace(moved, chain=ChainRef("rpc", "http://127.0.0.1:1/v2/…")).save(out)
    status, _, err = call(capsys, "decisions", "--run", str(out))
    assert status == 1 and "FEDVM_RPC" in err
    status, rows, _ = call(capsys, "decisions", "--run", str(out), "--rpc", anvil, "--json")
    assert status == 0 and len(json.loads(rows)) == 1
    status, _, err = call(capsys, "decisions", "--run", str(out), "--network", "sepolia", "--rpc", anvil)
    assert status != 0 and "Sepolia is chain 11155111, wanted 31337" in " ".join(err.split())
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
    assert status == 0 and "Nothing found in" in found, found


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


@pytest.mark.slow
def test_costs_first_and_a_deployment_goes_on(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    start_anvil: Callable[..., AbstractContextManager[str]],
    model: Path,
) -> None:
    """Shown, refused on a chain whose coin is worth money, killed after one contract, and gone on with."""
    from fedvm.chain.model_service import ModelService

    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRIVATE_KEY", raising=False)
    with start_anvil() as url, start_anvil("--chain-id", "4242") as dear:
        command = ["deploy", str(model), "--out", str(out), "--rpc"]
        payer = Account.from_key(ANVIL_KEY).address
        status, said, err = call(
            capsys, *command, url, "--dry-run", "--from", payer, "--price", "2000", "--json"
        )
        assert status == 0, err
        plan = json.loads(said)
        assert not plan["sent"] and not out.exists() and len(plan["steps"]) >= 3
        assert all(step["estimate"] for step in plan["steps"][:-1])
        for step in plan["steps"][:-1]:  # the formula is near what the node says
            assert 0.8 < step["evm_gas"] / step["estimate"] < 1.25
        monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
        status, _, err = call(capsys, *command, dear)
        assert status == 2 and "--yes" in err and not out.exists()

        class Killed(Exception):
            pass

        def killed(*_: object, **__: object) -> None:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(ModelService, "deploy_at", killed)
            with pytest.raises(Killed):
                main([*command, url, "--debug"])
        capsys.readouterr()
        w3 = connect(url)
        sent = w3.eth.get_transaction_count(payer)
        assert sent == len(plan["steps"]) - 2 and out.exists()
        status, said, err = call(capsys, *command, url, "--dry-run", "--json")
        assert [step["done"] for step in json.loads(said)["steps"]] == [*([True] * sent), False, False]
        status, said, err = call(capsys, *command, url, "--json")
        assert status == 0, err
        assert w3.eth.get_transaction_count(payer) == sent + 2
        status, _, err = call(capsys, *command, url)
        assert status == 2 and "is finished" in " ".join(err.split())
        # The same model again, elsewhere: nothing is paid for, and the addresses are the same on another chain.
        status, again, err = call(capsys, *command, url, "--out", str(tmp_path / "again"), "--json")
        assert status == 0 and json.loads(again)["service"] == json.loads(said)["service"], err
        assert w3.eth.get_transaction_count(payer) == sent + 2
        status, there, err = call(capsys, *command, dear, "--out", str(tmp_path / "there"), "--yes", "--json")
        assert status == 0 and json.loads(there)["program"] == json.loads(said)["program"], err
        assert json.loads(there)["service"] == json.loads(said)["service"]
