"""Exports are valid by the tools of their formats, deterministic, and keep hostile names as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from exported import HOSTILE, facts_of, with_hostile_names
from google.protobuf.json_format import Parse
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from fedvm.cli.app import app
from fedvm.exports.decision_log import decision_log_files
from fedvm.exports.errors import ExportError, NothingToExport
from fedvm.exports.facts import Facts
from fedvm.exports.formats import FORMATS, MARK, export
from fedvm.exports.in_toto import PREDICATE, statement


@pytest.fixture(scope="module")
def facts(recorded_run: Path) -> Facts:
    return facts_of(recorded_run)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_the_command_writes_all_formats_twice_alike(recorded_run: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        words = ["export", "--all", "--run", str(recorded_run), "--to", str(tmp_path / name), "--json"]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert list(told["formats"]) == list(FORMATS) and told["left_out"] == {}
    written = files_in(tmp_path / "one")
    assert {path.partition("/")[0] for path in written} == {*FORMATS, MARK}
    assert written == files_in(tmp_path / "two")
    everything = b"".join(written.values())
    assert str(recorded_run).encode() not in everything  # no path of the machine it was made on


def test_the_help_names_every_format() -> None:
    shown = CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": "200"}).output
    assert all(name in shown for name in FORMATS)


@pytest.mark.parametrize("words", [[], ["sbom"], ["in-toto", "--all"]], ids=["no format", "unknown", "both"])
def test_wrong_formats_are_refused(words: list[str], recorded_run: Path, tmp_path: Path) -> None:
    to = tmp_path / "exports"
    done = CliRunner().invoke(app, ["export", *words, "--run", str(recorded_run), "--to", str(to)])
    assert isinstance(done.exception, ExportError) or done.exit_code == 2
    assert not to.exists()


def test_nothing_else_is_replaced_and_a_failure_leaves_what_was(facts: Facts, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.md").write_text("mine")
    with pytest.raises(ExportError, match="name another folder"):
        export(facts, ["in-toto"], taken)
    assert files_in(taken) == {"thesis.md": b"mine"}
    with pytest.raises(ExportError, match=r"thesis\.md is a file"):
        export(facts, ["in-toto"], taken / "thesis.md" / "exports")
    ours = tmp_path / "ours"
    export(facts, ["in-toto"], ours)
    before = files_in(ours)
    bare = Facts(facts.chain_id, facts.network, facts.block, facts.block_time, facts.federation, None)
    with pytest.raises(NothingToExport, match="decision-log"):
        export(bare, ["in-toto", "decision-log"], ours)
    assert files_in(ours) == before
    done = export(bare, list(FORMATS), ours, leave_out=True)
    assert "in-toto" in done.files and "decision-log" in done.left_out
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_in_toto_takes_the_statement(facts: Facts) -> None:
    data = FORMATS["in-toto"](facts)["statement.json"]
    message = Parse(data, StatementMessage())
    Statement.copy_from_pb(message).validate()
    assert message.predicate_type == PREDICATE
    said = statement(facts)
    version = facts.service.versions[0]  # type: ignore[union-attr]
    digests = {one["name"]: one["digest"] for one in said["subject"]}
    assert digests["version-1/model.int.onnx"] == {"sha256": version.version.integer_onnx_digest.hex()}
    lineage = said["predicate"]["runDetails"]["versions"][0]["lineage"]
    final = facts.federation.final_rounds[-1]  # type: ignore[union-attr]
    assert lineage["modelRoot"] == "0x" + final.model_root.hex() and lineage["isThisFederation"]
    counted = [one for one in final.updates if not one.refusal]
    named = [one["name"] for one in said["predicate"]["buildDefinition"]["resolvedDependencies"]]
    assert [f"round-{final.number}/{one.member}" for one in counted] == named[-len(counted) :]


def test_the_log_has_every_decision_in_order(facts: Facts) -> None:
    lines = [
        json.loads(line)
        for line in decision_log_files(with_hostile_names(facts))["decisions.jsonl"].splitlines()
    ]
    assert [line["event"] for line in lines] == ["version serves", "decision", "decision"]
    places = [(line["source"]["block"], line["source"]["log_index"]) for line in lines]
    assert places == sorted(places)
    for line, one in zip(lines[1:], facts.service.decisions, strict=True):  # type: ignore[union-attr]
        said = one.decision
        assert line["class"] == HOSTILE[said.label]
        assert (line["id"], line["scores"]) == (said.id, list(said.scores or ()))
        assert line["input_hash"] == "0x" + said.input_hash.hex()
        assert line["time"].endswith("Z")
