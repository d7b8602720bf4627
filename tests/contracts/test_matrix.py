"""The sources compile with every compiler that their pragmas allow, and the check of that can fail."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
OLDEST, NEWEST = (0, 8, 23), (0, 8, 37)

needs_compilers = pytest.mark.skipif(
    not (CONTRACTS / "node_modules" / "solc-0.8.23").exists() or shutil.which("node") is None,
    reason="run `npm ci` in contracts/ to compile the sources",
)


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    spec = importlib.util.spec_from_file_location("matrix", CONTRACTS / "tools" / "matrix.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["matrix"] = module
    spec.loader.exec_module(module)
    return module


def source(folder: Path, text: str, name: str = "Thing.sol") -> Path:
    path = folder / name
    path.write_text(f"// SPDX-License-Identifier: Apache-2.0\n{text}\n")
    return path


def test_a_loose_pragma_allows_later_compilers_of_its_minor_version(
    matrix: ModuleType, tmp_path: Path
) -> None:
    loose = matrix.pragma(source(tmp_path, "pragma solidity ^0.8.23;"))
    assert [loose.allows(v) for v in ((0, 8, 22), OLDEST, NEWEST, (0, 9, 0))] == [False, True, True, False]
    exact = matrix.pragma(source(tmp_path, "pragma solidity 0.8.37;"))
    assert [exact.allows(v) for v in ((0, 8, 36), NEWEST, (0, 8, 38))] == [False, True, False]


@pytest.mark.parametrize("text", ["", "pragma solidity >=0.8.0 <0.9.0;", "pragma solidity *;"])
def test_every_source_says_which_compilers_it_takes(matrix: ModuleType, tmp_path: Path, text: str) -> None:
    with pytest.raises(SystemExit, match="one line like"):
        matrix.pragma(source(tmp_path, text))


def test_the_oldest_compiler_is_among_those_tried(matrix: ModuleType, tmp_path: Path) -> None:
    old = source(tmp_path, "pragma solidity ^0.8.20;")
    with pytest.raises(SystemExit, match=r"no solc 0\.8\.20"):
        matrix.plan([old], list(matrix.compilers()))
    pinned = source(tmp_path, "pragma solidity 0.8.27;")
    with pytest.raises(SystemExit, match="pinned to another compiler"):
        matrix.plan([pinned], list(matrix.compilers()))


def test_interfaces_are_loose_and_what_is_deployed_is_pinned(matrix: ModuleType) -> None:
    known = list(matrix.compilers())
    sources = sorted((CONTRACTS / "src").rglob("*.sol"))
    planned = matrix.plan(sources, known)
    assert {path for path in sources if path.parent.name == "interfaces"} <= set(planned[NEWEST])
    assert not any(path.parent.name == "src" for paths in planned.values() for path in paths)
    assert planned[OLDEST], "nothing is compiled with the oldest"


@needs_compilers
def test_a_compiler_that_is_too_old_is_noticed(matrix: ModuleType, tmp_path: Path) -> None:
    text = "pragma solidity ^0.8.23;\nlibrary Thing { error Bad(); function f(bool ok) internal pure { %s } }"
    young = source(tmp_path, text % "require(ok, Bad());")
    assert matrix.complaints("solc", [young], tmp_path) == []
    assert "argument-dependent lookup" in matrix.complaints("solc-0.8.23", [young], tmp_path)[0]
    old = source(tmp_path, text % "if (!ok) revert Bad();")
    assert matrix.complaints("solc-0.8.23", [old], tmp_path) == []


@needs_compilers
def test_a_source_that_imports_a_pinned_one_is_noticed(matrix: ModuleType, tmp_path: Path) -> None:
    source(tmp_path, "pragma solidity 0.8.37;\nstruct Pinned { bool yes; }", "Pinned.sol")
    loose = source(tmp_path, 'pragma solidity ^0.8.23;\nimport {Pinned} from "./Pinned.sol";\ninterface I {}')
    assert any(
        "different compiler version" in said for said in matrix.complaints("solc-0.8.23", [loose], tmp_path)
    )
