"""Exports from addresses alone, and of federations that are sealed or rolled up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from exported import check_sources
from relayed_rpc import relayed
from sealed_record import Recorded
from tamper_records import record_rolled_up
from tampers import Subject
from test_shown_commands import problems
from web3 import Web3

from fedvm.audit.findings import cid_text
from fedvm.cli.app import app
from fedvm.devnet.embedded import open_chain
from fedvm.exports.errors import ExportError
from fedvm.exports.formats import FORMATS, export
from fedvm.exports.in_toto import statement
from fedvm.exports.reading import read_facts
from fedvm.rundir.deployment import Deployment
from fedvm.store import ContentStore


def commands_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if "command" in value:
            yield value["command"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from commands_in(one)


def test_addresses_alone_give_the_same_facts(recorded_run: Path, tmp_path: Path) -> None:
    at = Deployment.load(recorded_run)
    assert at.federation is not None and at.service is not None
    here = ["export", "--all", "--run", str(recorded_run), "--to", str(tmp_path / "here")]
    assert CliRunner().invoke(app, here).exit_code == 0
    with relayed(recorded_run) as url:
        words = ["--rpc", url, "--federation", at.federation, "--service", at.service]
        store = ["--store", str(recorded_run / "store"), "--to", str(tmp_path / "there")]
        done = CliRunner().invoke(app, ["export", "--all", *words, *store])
        assert done.exit_code == 0, done.output
    here_log, there_log = (
        [
            json.loads(line)
            for line in (tmp_path / name / "decision-log/decisions.jsonl").read_text().splitlines()
        ]
        for name in ("here", "there")
    )
    for line in there_log:
        command = line["source"].pop("command")
        assert command.endswith(f"--rpc RPC --service {at.service}")
    for line in here_log:
        del line["source"]["command"]
    assert there_log == here_log
    statement = json.loads((tmp_path / "there" / "in-toto" / "statement.json").read_text())
    commands = set(commands_in(statement))
    assert (
        f"fedvm audit --rpc RPC --federation {at.federation} --service {at.service} --store STORE" in commands
    )
    assert [problem for command in commands for problem in problems(command)] == []
    everything = b"".join(one.read_bytes() for one in (tmp_path / "there").rglob("*") if one.is_file())
    assert url.encode() not in everything and str(recorded_run).encode() not in everything
    samples = [(tmp_path / name / "croissant" / "samples.csv").read_bytes() for name in ("here", "there")]
    assert samples[0] == samples[1]


def test_an_onnx_file_that_is_not_the_one_on_chain_is_left_out(open_subject: Subject, tmp_path: Path) -> None:
    w3, at = Web3(open_subject.node), open_subject
    true = read_facts(w3, at.store, federation=at.federation, service=at.service)
    assert true.latest is not None and true.latest.onnx is not None
    cid = cid_text(true.latest.version.onnx_cid)
    at.store.alter(cid, true.latest.onnx[:-1] + b"x")
    told = read_facts(w3, at.store, federation=at.federation, service=at.service)
    assert told.latest is not None and told.latest.onnx is None and cid in told.latest.missing
    done = export(told, list(FORMATS), tmp_path / "out", leave_out=True)
    assert list(done.left_out) == ["model-signing"]
    assert done.files["model-card"] == ("README.md",)


def test_before_the_contracts_there_is_nothing(recorded_run: Path, tmp_path: Path) -> None:
    words = ["export", "--all", "--run", str(recorded_run), "--to", str(tmp_path / "out"), "--block", "2"]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, ExportError) and "name others" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_service_that_comes_later_is_left_out(recorded_run: Path) -> None:
    at = Deployment.load(recorded_run)
    with open_chain(recorded_run, read_only=True) as chain:
        whole = read_facts(chain.w3, None, federation=at.federation, service=at.service)
        assert whole.service is not None and whole.federation is not None
        block = whole.service.source.block
        later = max(block, whole.federation.source.block)
        assert block != whole.federation.source.block
        early = read_facts(chain.w3, None, federation=at.federation, service=at.service, last_block=later - 1)
    assert (early.service is None) != (early.federation is None)


def test_a_sealed_federation_says_why_no_member_is_told_apart(
    recorded_sealed: Recorded, tmp_path: Path
) -> None:
    with open_chain(recorded_sealed.path, read_only=True) as chain:
        store = ContentStore(recorded_sealed.path / "store")
        facts = read_facts(chain.w3, store, federation=recorded_sealed.federation, service=None)
        check_sources(chain.w3, facts)
    told = facts.federation
    assert told is not None and told.is_sealed
    assert [one.state for one in told.rounds] == ["final", "final"]
    assert all(not one.updates and "sealed" in one.missing and one.accepted > 0 for one in told.rounds)
    done = export(facts, list(FORMATS), tmp_path / "out", leave_out=True)
    assert list(done.files) == ["in-toto"]
    (subject,) = statement(facts)["subject"]
    assert subject["digest"] == {"fedvmModelRoot": told.rounds[-1].model_root.hex()}


@pytest.mark.slow
def test_a_rolled_up_round_names_the_file_that_has_its_updates(tmp_path: Path) -> None:
    run = record_rolled_up(tmp_path)
    at = Deployment.load(run)
    with open_chain(run, read_only=True) as chain:
        store = ContentStore(run / "store")
        facts = read_facts(chain.w3, store, federation=at.federation, service=at.service)
        bare = read_facts(chain.w3, None, federation=at.federation, service=at.service)
        check_sources(chain.w3, facts)
    assert facts.federation is not None and bare.federation is not None
    for one in facts.federation.rounds:
        counted = [update for update in one.updates if not update.refusal]
        assert len(counted) == one.accepted and sum(update.weight for update in counted) == one.total_weight
        assert all("RollupSubmitted" in update.source.event for update in one.updates)
    assert all(not one.updates and "no store" in one.missing for one in bare.federation.rounds)
    done = export(facts, list(FORMATS), tmp_path / "out", leave_out=True)
    assert list(done.left_out) == ["croissant"]  # it has no gate
    card = (tmp_path / "out" / "model-card" / "README.md").read_text()
    assert "The service has no gate" in card and "model-index" not in card
