"""`fedvm verify`: a deployed model is recognised, another is not, and one changed byte is found in its contract."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_cli import call
from test_deploy import ANVIL_KEY

from fedvm.chain.artifacts import CONTRACT_NAMES, load_artifact
from fedvm.chain.networks import connect
from fedvm.learning.export import export_onnx
from fedvm.learning.models import ModelSpec, build_model
from fedvm.pipeline.verify import _difference

ROOT = Path(__file__).parent.parent.parent


def written(folder: Path, seed: int) -> Path:
    file = folder / f"model-{seed}.onnx"
    export_onnx(build_model(ModelSpec("mlp", (1, 16, 16), 10), seed=seed), (1, 16, 16), file)
    return file


def test_how_code_differs() -> None:
    assert _difference(b"ab", b"ab") == ""
    assert _difference(b"", b"ab") == "no code is there"
    assert "they differ from byte 1 on" in _difference(b"ax", b"ab")
    assert "one ends where the other goes on" in _difference(b"a", b"ab")


@pytest.mark.slow
def test_the_model_and_no_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, anvil: str
) -> None:
    monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
    images = np.random.default_rng(1).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    model, out = written(tmp_path, 4), tmp_path / "out"
    how = ["--calibration", str(tmp_path / "images.npz"), "--scale", str(1 / 255)]
    status, said, err = call(capsys, "deploy", str(model), "--rpc", anvil, "--out", str(out), *how, "--json")
    assert status == 0, err
    service, entry = json.loads(said)["service"], json.loads(said)["program"]
    ask = ["verify", "--rpc", anvil]
    # By the file's own recipe, by the options of then, and by the program's own address.
    for words in (
        [service, "--onnx", str(out / "model.onnx")],
        [service, "--onnx", str(model), *how],
        [entry, "--onnx", str(out / "model.onnx")],
    ):
        status, said, err = call(capsys, *ask, *words, "--json")
        assert status == 0 and json.loads(said)["holds"], err + said
    status, said, _ = call(capsys, *ask, service, "--onnx", str(out / "model.onnx"))
    assert status == 0 and "is this model, to the byte" in said
    status, said, _ = call(capsys, *ask, service, "--onnx", str(written(tmp_path, 5)), *how)
    assert status == 1 and "is not this model" in said and "differ from byte" in said
    status, said, _ = call(capsys, *ask, entry, "--onnx", str(written(tmp_path, 5)), *how)
    assert status == 1 and "would be at 0x" in " ".join(said.split())
    status, _, err = call(capsys, *ask, service, "--onnx", str(model), *how, "--version", "2")
    assert status == 2 and "1 versions" in err
    status, _, err = call(capsys, *ask, "0x" + "12" * 20, "--onnx", str(model), *how)
    assert status == 2 and "no code is at" in " ".join(err.split())
    assert call(capsys, *ask, service)[0] == 2
    w3 = connect(anvil)
    code = bytearray(w3.eth.get_code(entry))
    code[-1] ^= 1
    w3.provider.make_request("anvil_setCode", [entry, "0x" + code.hex()])  # type: ignore[arg-type]
    status, said, _ = call(capsys, *ask, service, "--onnx", str(out / "model.onnx"), "--json")
    told = json.loads(said)
    assert status == 1 and not told["holds"]
    wrong = [one for one in told["contracts"] if one["problem"]]
    assert [one["address"] for one in wrong] == [entry]
    assert f"from byte {len(code) - 1:,} on" in wrong[0]["problem"]


@pytest.mark.skipif(
    not (ROOT / "contracts" / "node_modules" / "@openzeppelin").exists(), reason="npm ci in contracts/"
)
def test_sources_for_explorers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """They are the very sources of the shipped code; that they compile to it is checked by the slow test."""
    status, said, err = call(
        capsys, "verify", "--standard-json", str(tmp_path), "--contracts", str(ROOT / "contracts"), "--json"
    )
    assert status == 0, err
    assert json.loads(said)["compiler"] == load_artifact("Federation").compiler
    assert {file.stem for file in tmp_path.iterdir()} == set(CONTRACT_NAMES)
    spec = json.loads((tmp_path / "ModelService.json").read_text())
    assert spec["settings"]["metadata"] == {"bytecodeHash": "none", "appendCBOR": False}
    status, _, err = call(capsys, "verify", "--standard-json", str(tmp_path), "--contracts", str(tmp_path))
    assert status == 2 and "--contracts" in err


@pytest.mark.slow
@pytest.mark.skipif(
    not (ROOT / "contracts" / "node_modules" / "@openzeppelin").exists(), reason="npm ci in contracts/"
)
def test_sources_for_explorers_compile_to_the_shipped_code() -> None:
    import subprocess

    from fedvm.pipeline.standard_json import standard_json

    contracts = ROOT / "contracts"
    for name in ("RuleBook", "InferenceSession"):
        spec = standard_json(contracts, name)
        ended = subprocess.run(
            [str(contracts / "tools" / "solc"), "--standard-json"],
            input=json.dumps(spec),
            capture_output=True,
            text=True,
            check=True,
            cwd=contracts,
        )
        built = json.loads(ended.stdout)["contracts"]
        (found,) = (of_file[name] for of_file in built.values() if name in of_file)
        assert found["evm"]["bytecode"]["object"] == load_artifact(name).bytecode.hex()
        assert found["evm"]["deployedBytecode"]["object"] == load_artifact(name).runtime_code.hex()


@pytest.mark.slow
def test_a_wallet_deploys_what_it_is_given_unsigned(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, anvil: str
) -> None:
    """Without a key here: the wallet sends the printed transactions in their order, and what they make is the model."""
    monkeypatch.delenv("PRIVATE_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    w3 = connect(anvil)
    wallet, model, out = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", written(tmp_path, 6), tmp_path / "out"
    words = ["deploy", str(model), "--rpc", anvil, "--out", str(out), "--scale", str(1 / 255)]
    assert call(capsys, *words, "--unsigned")[0] == 2
    status, said, err = call(capsys, *words, "--unsigned", "--from", wallet)
    assert status == 0, err
    batch = json.loads(said)
    assert batch["chainId"] == "31337" and batch["meta"]["createdFromSafeAddress"] == wallet
    for one in batch["transactions"]:
        assert one["value"] == "0"
        sent = w3.eth.send_transaction({"from": wallet, "to": one["to"], "data": one["data"]})
        assert w3.eth.wait_for_transaction_receipt(sent)["status"] == 1
    service = json.loads((out / "deployment.json").read_text())["service"]
    own = ["--onnx", str(out / "model.onnx"), "--rpc", anvil]
    status, said, err = call(capsys, "verify", service, *own)
    assert status == 0 and "is this model" in said, err
    status, found, _ = call(capsys, "audit", "--run", str(out))
    assert status == 0 and "Nothing found" in found
