"""The npm package: what it holds follows from the sources, and a project of somebody else's compiles against it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "contracts"
MODULES = CONTRACTS / "node_modules"
PACKAGE = json.loads((CONTRACTS / "package.json").read_text())
OLDEST, NEWEST = "solc-0.8.23", "solc"
needs_forge = pytest.mark.skipif(
    not (MODULES / ".bin" / "forge").exists() or shutil.which("npm") is None,
    reason="run `npm ci` in contracts/ to compile against the package",
)

ASKS = """\
// SPDX-License-Identifier: MIT
pragma solidity ^0.8.23;

import {IModelService} from "@fedvm/contracts/src/interfaces/IModelService.sol";
import {IERC7992Verifier} from "@fedvm/contracts/src/adapters/IERC7992.sol";

contract Asks {
    function ask(IModelService service, bytes calldata input) external view returns (uint256) {
        return service.classify(input);
    }
}
"""
OWNS = """\
// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ModelService} from "@fedvm/contracts/src/ModelService.sol";
import {IFederation} from "@fedvm/contracts/src/interfaces/IFederation.sol";
import {ExecutionVerifier} from "@fedvm/contracts/src/adapters/ExecutionVerifier.sol";
import {VersionRegistry} from "@fedvm/contracts/src/adapters/VersionRegistry.sol";

contract Owns {
    ExecutionVerifier public immutable verifier;

    constructor(ModelService service) {
        verifier = new ExecutionVerifier(new VersionRegistry(service));
    }
}
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    sys.path.insert(0, str(CONTRACTS / "tools"))
    try:
        spec = importlib.util.spec_from_file_location(
            "export_package", CONTRACTS / "tools" / "export_package.py"
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(CONTRACTS / "tools"))
    return module


def test_version_and_licence_are_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = json.loads((CONTRACTS / "package-lock.json").read_text())
    assert PACKAGE["version"] == project["version"] == lock["version"]
    assert PACKAGE["name"] == lock["name"] and PACKAGE["license"] == project["license"]
    assert "private" not in PACKAGE
    assert (CONTRACTS / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_addresses_are_those_that_the_python_package_computes(tool: ModuleType) -> None:
    listed = json.loads((CONTRACTS / "addresses.json").read_text())
    assert listed == tool.addresses(), "run `python contracts/tools/export_package.py`"
    assert {"1", "8453", "11155111", "31337"} == set(listed["chains"]), "Filecoin has no common deployer"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "src/fedvm/chain/artifacts").glob("*.json")), ids=lambda one: one.stem
)
def test_the_abi_is_that_of_the_code_that_ships(path: Path) -> None:
    assert json.loads((CONTRACTS / "abi" / path.name).read_text()) == json.loads(path.read_text())["abi"]


def test_each_interface_has_its_abi() -> None:
    held = {path.stem for path in (CONTRACTS / "abi").glob("I*.json")}
    written = {path.stem for path in (CONTRACTS / "src" / "interfaces").glob("*.sol")}
    assert held - {"InferenceSession"} == written | {"IERC7992Registry", "IERC7992Verifier"}


def test_what_has_no_words_is_named(tool: ModuleType) -> None:
    abi: list[dict[str, Any]] = [
        {"type": "function", "name": "said", "inputs": [{"name": "a", "type": "uint256"}], "outputs": []},
        {"type": "function", "name": "silent", "inputs": [], "outputs": [{"name": "", "type": "bool"}]},
        {
            "type": "error",
            "name": "Refused",
            "inputs": [{"type": "tuple[]", "components": [{"type": "bool"}]}],
        },
        {"type": "event", "name": "Told", "inputs": []},
    ]
    words = {
        "userdoc": {
            "methods": {"said(uint256)": {"notice": "Says."}},
            "events": {"Told()": {"notice": "Tells."}},
        },
        "devdoc": {"methods": {}},
    }
    assert list(tool.wordless("I", {"output": words}, abi)) == [
        "I.said(uint256): a",
        "I.silent()",
        "I.silent(): what it returns",
        "I.Refused((bool)[])",
    ]


def test_a_layout_has_no_numbers_of_declarations(tool: ModuleType) -> None:
    struct = "t_struct(Version)4711_storage"
    place = {"astId": 3, "label": "all", "offset": 0, "slot": "7", "type": f"t_mapping(t_uint256,{struct})"}
    member = {"astId": 4, "label": "gas", "offset": 20, "slot": "0", "type": "t_uint64"}
    made = tool.layout({"storage": [place], "types": {struct: {"members": [member]}}})
    assert made == {
        "storage": [
            {"label": "all", "slot": 7, "offset": 0, "type": "t_mapping(t_uint256,t_struct(Version)_storage)"}
        ],
        "structs": {
            "t_struct(Version)_storage": [{"label": "gas", "slot": 0, "offset": 20, "type": "t_uint64"}]
        },
    }


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("npm")
    done = npm("pack", "--json", "--pack-destination", str(where), cwd=CONTRACTS, cache=where / "cache")
    (packed,) = json.loads(done.stdout)
    names = {file["path"] for file in packed["files"]}
    assert {"LICENSE", "README.md", "package.json", "addresses.json"} <= names
    assert not {
        name for name in names if name.startswith(("test/", "tools/", "node_modules/", "out/", "cache/"))
    }
    tracked = {path.relative_to(CONTRACTS).as_posix() for path in (CONTRACTS / "src").rglob("*.sol")}
    assert tracked <= names and len(names) > 150
    (found,) = where.glob("*.tgz")
    return found


def npm(*arguments: str, cwd: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "npm_config_cache": str(cache)}
    done = subprocess.run(
        ["npm", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def project(home: Path, source: str, remappings: list[str]) -> None:
    (home / "src").mkdir(parents=True)
    (home / "src" / "Consumer.sol").write_text(source)
    (home / "foundry.toml").write_text(
        f"[profile.default]\nlibs = []\nsolc = {json.dumps(str(CONTRACTS / 'tools' / 'solc'))}\noffline = true\n"
        f'evm_version = "cancun"\nremappings = {json.dumps(remappings)}\nallow_paths = [{json.dumps(str(ROOT))}]\n'
    )


def compile_with(compiler: str, home: Path) -> str:
    done = subprocess.run(
        [MODULES / ".bin" / "forge", "build"],
        cwd=home,
        env={**os.environ, "FEDVM_SOLC": compiler},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0 and "Compiler run successful" in done.stdout, done.stdout + done.stderr
    return done.stdout


@needs_forge
@pytest.mark.slow
def test_a_fresh_project_compiles_against_the_interfaces_alone(tarball: Path, tmp_path: Path) -> None:
    """With the oldest compiler that they allow, and without OpenZeppelin's contracts."""
    home = tmp_path / "project"
    project(home, ASKS, ["@fedvm/contracts/=node_modules/@fedvm/contracts/"])
    (home / "package.json").write_text('{"private": true}')
    npm("install", "--offline", "--no-audit", "--no-fund", str(tarball), cwd=home, cache=tmp_path / "cache")
    assert json.loads((home / "package.json").read_text())["dependencies"].keys() == {PACKAGE["name"]}
    assert not (home / "node_modules" / "@openzeppelin").exists()
    compile_with(OLDEST, home)


@needs_forge
@pytest.mark.slow
def test_a_fresh_project_deploys_the_contracts(tarball: Path, tmp_path: Path) -> None:
    home = tmp_path / "project"
    project(
        home,
        OWNS,
        ["@fedvm/contracts/=node_modules/@fedvm/contracts/", f"@openzeppelin/={MODULES / '@openzeppelin'}/"],
    )
    npm("install", "--offline", "--no-audit", "--no-fund", str(tarball), cwd=home, cache=tmp_path / "cache")
    compile_with(NEWEST, home)
    assert (home / "out" / "Consumer.sol" / "Owns.json").is_file()


@needs_forge
@pytest.mark.slow
def test_soldeers_package_holds_what_npms_does(tarball: Path, tmp_path: Path) -> None:
    """And compiles where Soldeer puts it. The tree is laid as `forge install` lays it, too: the checkout below lib/."""
    checkout = tmp_path / "contracts"
    shutil.copytree(CONTRACTS, checkout, ignore=shutil.ignore_patterns("out", "cache", "node_modules"))
    command = [
        MODULES / ".bin" / "forge",
        "soldeer",
        "push",
        "fedvm-contracts~0.1.0",
        "--dry-run",
        "--skip-warnings",
    ]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    home = tmp_path / "project"
    project(home, ASKS, ["@fedvm/contracts/=dependencies/fedvm-contracts-0.1.0/"])
    with zipfile.ZipFile(checkout / "contracts.zip") as archive:
        archive.extractall(home / "dependencies" / "fedvm-contracts-0.1.0")
        held = {name for name in archive.namelist() if not name.endswith("/")}
    listed = subprocess.run(
        ["tar", "tzf", tarball], capture_output=True, text=True, check=True
    ).stdout.split()
    assert held == {name.removeprefix("package/") for name in listed}
    compile_with(OLDEST, home)
