"""What exports state is what the contracts say, and every source is an event that is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from exported import check_sources, facts_of
from test_shown_commands import problems

from fedvm.exports.errors import ExportError
from fedvm.exports.facts import Facts, cited
from fedvm.exports.reading import read_facts
from fedvm.rundir.run import Run, open_run


@pytest.fixture(scope="module")
def facts(recorded_run: Path) -> Facts:
    return facts_of(recorded_run)


@pytest.fixture
def run(recorded_run: Path):
    with open_run(recorded_run) as opened:
        yield opened


def test_the_federation_is_as_the_contract_says(facts: Facts, run: Run) -> None:
    told, contract = facts.federation, run.federation_contract
    assert told is not None
    assert (told.owner, told.coordinator) == (contract.owner(), contract.coordinator())
    assert [one.address for one in told.members] == contract.members()
    assert told.rules[-1].rules == contract.rules()
    assert told.security == contract.security()
    assert told.final_rounds[-1].model_root == contract.model_root()
    for one in told.rounds:
        counted = [update for update in one.updates if not update.refusal]
        assert one.accepted == len(counted) == contract.round(one.number).accepted
        assert one.total_weight == sum(update.weight for update in counted)
    assert any(update.refusal for one in told.rounds for update in one.updates)


def test_the_service_is_as_the_contract_says(facts: Facts, run: Run) -> None:
    told, service = facts.service, run.model_service
    assert told is not None and told.gate is not None
    gate = service.gate()
    assert gate is not None
    assert (told.owner, told.serving) == (service.owner(), service.current_version())
    assert told.gate.terms == gate.terms()
    for one in told.versions:
        assert one.version == service.version(one.number)
        assert one.is_as_registered
        trial, counted = one.trial, gate.trial(one.number)
        assert trial is not None
        assert (trial.state, trial.asked, trial.right) == (counted.state, counted.asked, counted.right)
        assert trial.classes == gate.class_counts(one.number, told.gate.terms.classes)
        assert sum(count.right for count in trial.classes) == trial.right > 0
    assert [one.decision for one in told.decisions] == list(service.decisions())
    assert len(told.gate.samples) == told.versions[0].trial.asked and not told.gate.missing  # type: ignore[union-attr]


def test_every_source_is_an_event_on_chain(facts: Facts, run: Run) -> None:
    assert check_sources(run.w3, facts) > 20


def test_every_command_is_one_that_there_is(facts: Facts) -> None:
    commands = {source.command for source in cited(facts)}
    assert len(commands) > 3
    for command in commands:
        assert not list(problems(command)), command


def test_the_state_at_a_block_has_no_later_event(facts: Facts, recorded_run: Path) -> None:
    earlier = facts_of(recorded_run, last_block=facts.block - 1)
    assert facts.service is not None and earlier.service is not None
    assert earlier.service.decisions == facts.service.decisions[:-1]
    assert earlier.block == facts.service.decisions[-2].source.block
    assert earlier.federation == facts.federation


def test_without_a_store_it_says_what_is_missing(recorded_run: Path) -> None:
    bare = facts_of(recorded_run, stored=False)
    assert bare.service is not None
    assert all(one.onnx is None and "no store was named" in one.missing for one in bare.service.versions)
    assert bare.service.decisions[0].class_name.startswith("class ")


def test_a_federation_alone_and_a_service_alone(facts: Facts, run: Run) -> None:
    at = run.deployment
    alone = read_facts(run.w3, run.store, federation=at.federation, service=None)
    assert (alone.federation, alone.service) == (facts.federation, None)
    serving = read_facts(run.w3, run.store, federation=None, service=at.service)
    assert (serving.federation, serving.service) == (None, facts.service)


def test_blocks_and_addresses_that_cannot_be_read(run: Run) -> None:
    with pytest.raises(ExportError, match="name an address"):
        read_facts(run.w3, None, federation=None, service=None)
    with pytest.raises(ExportError, match="the chain's head"):
        read_facts(run.w3, None, federation=run.deployment.federation, service=None, last_block=10**6)


def test_the_block_is_that_of_the_latest_change_and_of_no_other_block(
    recorded_run: Path, facts: Facts, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(recorded_run, copy)
    with open_run(copy, read_only=False) as run:
        assert run.chain is not None and facts.federation is not None
        contract, owner = run.federation_contract, run.chain.account("owner")
        contract.deposit(1).send(run.chain.account("coordinator"))
    assert facts_of(copy) == facts
    with open_run(copy, read_only=False) as run:
        gone = facts.federation.members[0].address
        left = run.federation_contract.remove_member(gone).send(owner)
    later = facts_of(copy)
    assert later.block == left.block_number > facts.block
    assert later.federation is not None
    assert [one.address for one in later.federation.members] == [
        one.address for one in facts.federation.members if one.address != gone
    ]
    assert facts_of(copy, last_block=later.block - 1) == facts
