"""The artefacts that ship in the package are what the Solidity sources compile to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "contracts"
FORGE = CONTRACTS / "node_modules" / ".bin" / "forge"
EXPORT = CONTRACTS / "tools" / "export_artifacts.py"
ARTIFACTS = ROOT / "src" / "fedvm" / "chain" / "artifacts"
NAMES = sorted(path.stem for path in ARTIFACTS.glob("*.json"))
RUNTIME_LIMIT = 24_576  # EIP-170, and Filecoin's EVM
CREATION_LIMIT = 49_152  # EIP-3860; a Filecoin message would hold 65,280
ARGUMENTS = 32 * 8  # room for the constructor's arguments

needs_forge = pytest.mark.skipif(
    not FORGE.exists() or shutil.which("node") is None,
    reason="run `npm ci` in contracts/ to test the sources",
)


def check(out: Path) -> subprocess.CompletedProcess[str]:
    """Run the exporter's check against forge's output folder `out`."""
    command = [sys.executable, str(EXPORT), "--check", "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output folder of a build from nothing, apart from contracts/out and its cache."""
    folder = tmp_path_factory.mktemp("forge")
    command = [str(FORGE), "build", "--skip", "test", "--out", str(folder / "out")]
    command += ["--cache-path", str(folder / "cache")]
    result = subprocess.run(command, cwd=CONTRACTS, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "out"


@needs_forge
@pytest.mark.slow
def test_artifacts_equal_a_fresh_build(built: Path) -> None:
    result = check(built)
    assert result.returncode == 0, result.stderr


@needs_forge
@pytest.mark.slow
def test_check_names_what_differs(built: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(built, tmp_path / "out")
    path = changed / "ModelService.sol" / "ModelService.json"
    content = json.loads(path.read_text())
    code = content["deployedBytecode"]["object"]
    content["deployedBytecode"]["object"] = code[:-2] + ("00" if code[-2:] != "00" else "01")
    path.write_text(json.dumps(content))

    result = check(changed)
    assert result.returncode == 1
    assert "ModelService.json (deployedBytecode)" in result.stderr
    assert "Federation.json" not in result.stderr


def test_check_says_what_to_do_without_a_build(tmp_path: Path) -> None:
    result = check(tmp_path)
    assert result.returncode == 1
    assert "forge build" in result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_artifact_fits_filecoin(name: str) -> None:
    artifact = json.loads((ARTIFACTS / f"{name}.json").read_text())
    runtime = bytes.fromhex(artifact["deployedBytecode"].removeprefix("0x"))
    creation = bytes.fromhex(artifact["bytecode"].removeprefix("0x"))
    assert 0 < len(runtime) <= RUNTIME_LIMIT
    assert len(runtime) < len(creation) < CREATION_LIMIT - ARGUMENTS
    assert runtime[0] != 0xEF


@pytest.mark.parametrize("name", NAMES)
def test_artifact_tells_nothing_of_the_machine(name: str) -> None:
    artifact = json.loads((ARTIFACTS / f"{name}.json").read_text())
    assert artifact["contractName"] == name
    assert artifact["compiler"]["settings"]["evmVersion"] == "cancun"
    assert artifact["sourceHash"].startswith("sha256:")
    # CBOR metadata would begin with the key "ipfs" or "solc" near the end of the code.
    assert b"solc" not in bytes.fromhex(artifact["deployedBytecode"].removeprefix("0x"))[-64:]
