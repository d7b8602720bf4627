"""A contract of somebody's own on a program that was really compiled: what its README shows runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from shown import ROOT, commands, copy_of, run

FORGE = "../../contracts/node_modules/.bin/forge"
HARDHAT = "node node_modules/hardhat/dist/src/cli.js test solidity"
INSTALLED = ROOT / "examples" / "solidity-consumer" / "node_modules"
APE = ROOT / ".venv-ape" / "bin" / "ape"
COMPILER = ROOT / "contracts" / "node_modules" / "solc" / "soljson.js"


@pytest.mark.slow
@pytest.mark.skipif(
    not (ROOT / "contracts" / "node_modules" / ".bin" / "forge").exists() or shutil.which("node") is None,
    reason="needs Foundry: run `npm ci` in contracts/",
)
def test_the_commands_of_the_readme_test_the_contract(tmp_path: Path) -> None:
    here = copy_of("solidity-consumer", tmp_path)
    said = run(commands("solidity-consumer"), here)
    assert "0 unlike ONNX Runtime" in said and "5 passed; 0 failed" in said
    run(f"{FORGE} fmt --check", here)
    expected = json.loads((here / "program" / "expected.json").read_text())
    expected["scores"][7][1] += 1
    (here / "program" / "expected.json").write_text(json.dumps(expected))
    said = run(f"{FORGE} test", here, fails=True)
    assert "4 passed; 1 failed" in said and "[FAIL" in said and "test_looksAsOnnxRuntimeDoes" in said


@pytest.mark.slow
@pytest.mark.skipif(
    not (INSTALLED / "hardhat").exists() or not COMPILER.exists(),
    reason="needs Hardhat and a compiler: run `npm ci` in examples/solidity-consumer/ and in contracts/",
)
def test_hardhat_runs_the_same_tests(tmp_path: Path) -> None:
    here = copy_of("solidity-consumer", tmp_path)
    if int(run("node --version", here).lstrip("v").partition(".")[0]) < 22:
        pytest.skip("Hardhat 3 needs Node 22.13 or newer")
    (here / "node_modules").symlink_to(INSTALLED)
    run(commands("solidity-consumer").rpartition("../../contracts")[0], here)  # all but forge
    said = run(HARDHAT, here)
    assert "5 passing" in said and "test_looksAsOnnxRuntimeDoes" in said and "failing" not in said
    expected = json.loads((here / "program" / "expected.json").read_text())
    expected["scores"][7][1] += 1
    (here / "program" / "expected.json").write_text(json.dumps(expected))
    said = run(HARDHAT, here, fails=True)
    assert "4 passing" in said and "1 failing" in said


@pytest.mark.slow
@pytest.mark.skipif(
    not APE.exists() or not (ROOT / "contracts" / "node_modules" / ".bin" / "forge").exists(),
    reason="needs Ape and Foundry: run `make .venv-ape/.installed` and `npm ci` in contracts/",
)
def test_ape_deploys_and_asks(tmp_path: Path) -> None:
    here = copy_of("solidity-consumer", tmp_path)
    run(commands("solidity-consumer").rpartition("../../contracts")[0], here)  # all but forge test
    run(f"{FORGE} build && python ape/artifacts.py", here)
    ape_test = f"cd ape && env -u PYTHONPATH HOME={tmp_path} {APE} test"
    assert "4 passed" in run(ape_test, here)
    expected = json.loads((here / "program" / "expected.json").read_text())
    expected["scores"][7][1] += 1
    (here / "program" / "expected.json").write_text(json.dumps(expected))
    said = run(ape_test, here, fails=True)
    assert "3 passed" in said and "1 failed" in said and "test_looks_as_onnx_runtime_does" in said
