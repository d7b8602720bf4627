"""The audit of a real run: clean as it is, and every tampering found and named."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from asked import listed_and_asked

from fedvm.audit.findings import CHECKS, EVIDENCE_CHECKS, SEALED_CHECKS, AuditReport
from fedvm.audit.replay import audit
from fedvm.chain.federation_types import RoundProposed, UpdateAccepted
from fedvm.rundir.run import open_run
from fedvm.store import Cid


@pytest.fixture
def recorded(recorded_run: Path) -> Path:
    return recorded_run


@pytest.fixture
def copy(recorded_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded_run, tmp_path / "copy")


def _audit(path: Path) -> AuditReport:
    with open_run(path) as run:
        return audit(
            run.w3,
            run.store,
            federation=run.deployment.federation,
            service=run.deployment.service,
            first_block=run.deployment.block,
        )


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1
    path.write_bytes(data)


def test_an_honest_run_is_clean(recorded: Path) -> None:
    report = _audit(recorded)
    assert report.findings == () and report.clean
    held = dict(report.passed)
    # Nobody had to go past this coordinator, and no directory was compared.
    assert set(held) == set(CHECKS) - {"direct", "roll-up", "run files", *SEALED_CHECKS, *EVIDENCE_CHECKS}
    assert held["signature"] == held["update data"] == held["weight"] == held["norm"] == 6
    assert held["relay"] == 8  # the two refusals were right, too
    assert held["aggregate"] == held["quorum"] == 2 and held["decision"] == 2
    assert report.gated and held["draw"] == held["sample"] + 1 == held["sample answer"] + 1 > 1
    assert held["gate age"] == held["trial outcome"] == held["promotion"] == 1
    assert held["onnx weights"] == held["integer onnx"] == held["code hashes"] == 1


def test_what_it_reads_can_be_listed_without_it(recorded: Path) -> None:
    with open_run(recorded) as run:
        at = run.deployment
        listed, asked = listed_and_asked(run.w3, run.store, at.federation, at.service, at.block)
    assert {one.cid for one in listed} == asked and len(asked) == 11
    assert [one.round for one in listed] == [0, 1, 1, 1, 1, 2, 2, 2, 2, None, None]
    assert [one.round for one in listed if one.is_model] == [0, 1, 2]


@pytest.mark.parametrize("at", [0, 1_000, -1])
def test_one_flipped_byte_of_an_update_is_found_and_named(copy: Path, at: int) -> None:
    with open_run(copy) as run:
        victim = [e for e in run.federation_contract.events() if isinstance(e, UpdateAccepted)][4]
        file = run.store.file_of(Cid.from_binary(victim.cid))
    _flip(file, at)
    report = _audit(copy)
    (finding,) = [finding for finding in report.findings if finding.check == "update data"]
    assert finding.place.round == victim.round and finding.place.member == victim.member
    assert finding.place.tx == victim.at.tx_hash
    assert finding.place.cid == str(Cid.from_binary(victim.cid)) and "corrupt" in finding.message
    assert {finding.check for finding in report.findings} == {"update data", "aggregate"}


def test_a_missing_update_is_named(copy: Path) -> None:
    with open_run(copy) as run:
        victim = next(e for e in run.federation_contract.events() if isinstance(e, UpdateAccepted))
        run.store.file_of(Cid.from_binary(victim.cid)).unlink()
    finding = _audit(copy).findings[0]
    assert finding.check == "update data" and "not in the store" in finding.message


def test_an_altered_model_is_named(copy: Path) -> None:
    with open_run(copy) as run:
        proposed = [e for e in run.federation_contract.events() if isinstance(e, RoundProposed)]
        _flip(run.store.file_of(Cid.from_binary(proposed[0].cid)), 5)
    checks = {(finding.check, finding.place.round) for finding in _audit(copy).findings}
    assert checks == {("model data", 1), ("aggregate", 2)}


def test_an_altered_onnx_file_is_named(copy: Path) -> None:
    with open_run(copy) as run:
        cid = run.model_service.version(1).onnx_cid
        _flip(run.store.file_of(Cid.from_binary(cid)), 500)
    (finding,) = _audit(copy).findings
    assert finding.check == "onnx data" and finding.place.version == 1


def test_altered_calibration_images_are_named(copy: Path) -> None:
    from fedvm.audit.recipe import read_recipe

    with open_run(copy) as run:
        recipe = read_recipe((copy / "model.onnx").read_bytes())
        _flip(run.store.file_of(recipe.calibration), 7)
    (finding,) = _audit(copy).findings
    assert finding.check == "integer onnx" and recipe.calibration in finding.message


def test_a_program_of_a_faulty_compiler_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedvm.compiler import COMPILER_VERSION, version

    fault = version.Fault(1, COMPILER_VERSION, "a fault", "wrong scores", "all networks")
    monkeypatch.setattr(version, "FAULTS", (fault,))
    (finding,) = _audit(copy).findings
    assert finding.check == "compiler" and finding.place.version == 1
    assert "a fault: wrong scores (all networks)" in finding.message


def test_a_recipe_that_states_no_compiler_is_of_the_first(copy: Path) -> None:
    import onnx

    from fedvm.audit.recipe import read_recipe

    model = onnx.load_model_from_string((copy / "model.onnx").read_bytes())
    assert read_recipe(model.SerializeToString()).compiler > 1
    fields = json.loads(model.metadata_props[0].value)
    del fields["compiler"]
    model.metadata_props[0].value = json.dumps(fields)
    assert read_recipe(model.SerializeToString()).compiler == 1


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize(
    ("event", "byte", "expected"),
    [
        ("UpdateAccepted", 31, {"weight", "total weight", "aggregate"}),  # the weight
        ("UpdateAccepted", 63, {"signature"}),  # the examples
        ("RoundFinal", 31, {"total weight"}),
        ("Decision", -1, {"decision"}),  # the last score
        ("SampleAsked", 95, {"sample answer"}),  # the answer
        ("TrialDrawn", 5, {"draw"}),  # the seed
        ("TrialEnded", 63, {"trial outcome"}),  # right answers
        ("GateFixed", 31, {"gate terms", "sample"}),  # the root
    ],
)
def test_forged_events_are_found(copy: Path, event: str, byte: int, expected: set[str]) -> None:
    """Whoever serves the chain may forge what it says happened; what was signed gives it away."""
    with open_run(copy) as run:
        gate = run.model_service.gate()
        assert gate is not None
        homes = [run.federation, run.service, gate.contract]
        contract = next(home for home in homes if any(entry.get("name") == event for entry in home.abi))
        topic = bytes.fromhex(contract.events[event]().topic.removeprefix("0x"))
    with sqlite3.connect(copy / "chain.sqlite") as connection:
        query = "SELECT block_number, log_index, data FROM logs WHERE topic0 = ? ORDER BY 1, 2"
        block, index, data = connection.execute(query, [topic]).fetchone()
        forged = bytearray(data)
        forged[byte] ^= 1
        change = "UPDATE logs SET data = ? WHERE block_number = ? AND log_index = ?"
        assert connection.execute(change, [bytes(forged), block, index]).rowcount == 1
    assert expected <= {finding.check for finding in _audit(copy).findings}
