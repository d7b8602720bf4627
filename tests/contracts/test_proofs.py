"""The proofs of `make prove` are run by it alone; here, that what it runs is whole.

Every contract of proofs has a canary, and every canary breaks one line that is there and names a rule that is there.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "contracts"


@pytest.fixture(scope="module")
def prove() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prove", CONTRACTS / "tools" / "prove.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["prove"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_canary_breaks_one_line_and_names_a_rule(prove: ModuleType) -> None:
    rules = prove.rules()
    for canary in prove.canaries():
        assert (CONTRACTS / canary.file).read_text().count(canary.old) == 1, canary
        assert canary.old != canary.new
        assert canary.rule in rules[canary.contract], canary


def test_every_contract_of_proofs_has_a_canary(prove: ModuleType) -> None:
    assert {canary.contract for canary in prove.canaries()} == set(prove.rules())


def test_no_two_rules_have_one_name(prove: ModuleType) -> None:
    names = Counter(rule for names in prove.rules().values() for rule in names)
    assert max(names.values()) == 1


def test_the_page_counts_the_rules(prove: ModuleType) -> None:
    stated = re.search(
        r"(\d+) rules in (\d+) contracts, (\d+) canaries", (ROOT / "docs" / "verification.md").read_text()
    )
    assert stated is not None
    rules = prove.rules()
    assert [int(number) for number in stated.groups()] == [
        sum(map(len, rules.values())),
        len(rules),
        len(prove.canaries()),
    ]


def test_broken_copies_differ_from_the_contracts(prove: ModuleType, tmp_path: Path) -> None:
    prove.copy_of_the_project(tmp_path)
    prove.break_a_line_for_each(tmp_path, prove.canaries())
    prove.make_every_assertion_false(tmp_path)
    for canary in prove.canaries():
        assert canary.new in (tmp_path / canary.file).read_text()
    for path in (tmp_path / prove.PROOFS).glob("*.t.sol"):
        assert not re.search(r"\bassert\((?!false)", path.read_text())


def test_what_was_found_is_known_again_of_the_same_code_alone(prove: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "proofs.json"
    found = prove.Outcomes(path, again=False)
    found.add("code", "SomeProofs", "check_a", prove.PROVED, 3)
    found.add("code", "SomeProofs", "check_b", prove.REFUTED, 4)
    found.add("code", "SomeProofs", "check_slow", prove.NAMES["timed out"], 120)
    later = prove.Outcomes(path, again=False)
    assert later.of("code", "check_a") == prove.PROVED and later.of("code", "check_b") == prove.REFUTED
    assert later.of("code", "check_slow") is None and later.of("other code", "check_a") is None
    assert prove.Outcomes(path, again=True).of("code", "check_a") is None


def test_two_runs_keep_what_each_found(prove: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "proofs.json"
    one, other = prove.Outcomes(path, again=False), prove.Outcomes(path, again=True)
    one.add("first", "FirstProofs", "check_a", prove.PROVED, 1)
    other.add("second", "SecondProofs", "check_b", prove.PROVED, 1)
    one.add("first", "FirstProofs", "check_c", prove.REFUTED, 1)
    whole = prove.Outcomes(path, again=False)
    assert [whole.of("first", "check_a"), whole.of("second", "check_b")] == [prove.PROVED] * 2
    whole.forget_all_but({"second"})
    assert prove.Outcomes(path, again=False).of("first", "check_a") is None
    assert not path.with_suffix(".part").exists()
