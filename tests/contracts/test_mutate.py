"""What the run over mutants relies on, without running it: it takes hours."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "contracts" / "tools"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"contracts_{name}", TOOLS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mutate() -> ModuleType:
    return load("mutate")


def mutant_of(mutate: ModuleType, source: str, before: str, after: str) -> object:
    text = (mutate.SOURCES / f"{source}.sol").read_bytes()
    start = text.index(before.encode())
    line = text[:start].count(b"\n") + 1
    return mutate.Mutant(source, "XYZ", line, start, start + len(before.encode()), before, after)


def test_a_mutant_changes_its_place_alone(mutate: ModuleType, tmp_path: Path) -> None:
    mutant = mutant_of(mutate, "Rollups", "msg.sender == ", "msg.sender != ")
    (tmp_path / "src").mkdir()
    mutant.apply(tmp_path)
    text = (mutate.SOURCES / "Rollups.sol").read_text()
    assert (tmp_path / "src" / "Rollups.sol").read_text() == text.replace(
        "msg.sender == ", "msg.sender != ", 1
    )


def test_what_changes_nothing_by_its_form_is_no_mutant(mutate: ModuleType) -> None:
    def nothing(source: str, before: str, after: str) -> bool:
        return mutant_of(mutate, source, before, after).changes_nothing()

    assert nothing("Rollups", "SPDX", "XYZ")
    assert nothing("libraries/Checkpoint", "++i", "i++")
    assert nothing("libraries/UpdateNodes", "i < depth", "i != depth")
    assert nothing("libraries/UpdateNodes", "uint256 i = 0", "uint256 i ")
    assert nothing("Escrow", "amount == 0", "amount <= 0")
    assert not nothing("Rollups", "msg.sender == ", "msg.sender != ")
    assert not nothing("libraries/UpdateNodes", "i < depth", "i <= depth")
    assert not nothing("libraries/UpdateNodes", "uint256 i = 0", "uint256 i = 1")
    assert not nothing("Escrow", "amount == 0", "amount >= 0")
    # Its numbers have signs.
    assert not nothing("libraries/VectorTree", "(int256 value)", "(int128 value)")


def test_no_mutant_that_a_test_has_killed_changes_nothing(mutate: ModuleType) -> None:
    held = {key: found for key, found in mutate._load().items() if mutate._is_current(key, found)}
    killed = [mutate._mutant(found) for found in held.values() if found["verdict"] == "killed"]
    assert killed
    assert not [mutant for mutant in killed if mutant.changes_nothing()]


def test_a_verdict_holds_for_one_text(mutate: ModuleType) -> None:
    mutant = mutant_of(mutate, "Rollups", "msg.sender == ", "msg.sender != ")
    found = {**vars(mutant), "verdict": "killed"}
    assert mutate._is_current(mutant.id, found)
    assert not mutate._is_current(mutant.id, {**found, "after": "msg.sender > "})
    assert not mutate._is_current(mutant.id, {**found, "source": "Gone"})


def test_kept_verdicts_are_about_the_sources_as_they_are_and_survivors_explained(mutate: ModuleType) -> None:
    explained = mutate._explanations()
    survivors = {key for key, found in mutate._load().items() if found["verdict"] == "survived"}
    assert survivors <= explained.keys(), "explain these in survivors.json, or add tests that kill them"


def test_contracts_meet_their_own_tests_first(mutate: ModuleType) -> None:
    near = mutate.nearest_tests(ROOT / "contracts")
    assert near["Disputes"][0] == "test/Disputes.t.sol"
    assert near["PromotionGate"][0] == "test/PromotionGate.t.sol"
    untested = {
        source for source, tests in near.items() if not tests and not source.startswith("interfaces/")
    }
    assert untested <= mutate.TESTED_FROM_PYTHON | {"ScannedCode"}


def test_the_laboratory_finds_what_it_changes(mutate: ModuleType, tmp_path: Path) -> None:
    project = tmp_path / "contracts"
    for name in ("src", "test"):
        shutil.copytree(ROOT / "contracts" / name, project / name)
    shutil.copy(ROOT / "contracts" / "foundry.toml", project)
    laboratory = object.__new__(mutate.Laboratory)
    laboratory.project = project
    laboratory._set_up()
    settings = (project / "foundry.toml").read_text()
    assert "optimizer = false" in settings and "dynamic_test_linking = true" in settings
    (project / "foundry.toml").write_text("")
    with pytest.raises(SystemExit, match="mend the laboratory"):
        laboratory._set_up()


def test_what_is_tested_from_python_is_left_out_everywhere(mutate: ModuleType) -> None:
    assert load("coverage").TESTED_FROM_PYTHON == mutate.TESTED_FROM_PYTHON
    assert all((mutate.SOURCES / f"{source}.sol").is_file() for source in mutate.TESTED_FROM_PYTHON)
