"""A contract of somebody's own on a program that was really compiled: what its README shows runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from shown import ROOT, commands, copy_of, run

FORGE = "../../contracts/node_modules/.bin/forge"


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
