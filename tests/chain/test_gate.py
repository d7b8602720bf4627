"""The promotion gate through its typed wrapper: the contract's draw, trees and test are Python's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_canonical_address
from handmade import init_code
from setup_federation import Setup, make_setup, some_cid
from test_model_service import run_aggregated_round

from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.findings import Ledger
from fedvm.audit.gate import GateReplay
from fedvm.chain.call import read
from fedvm.chain.deploy import deploy_code
from fedvm.chain.errors import DeploymentError, TransactionFailed
from fedvm.chain.gate import (
    NO_ANSWER,
    SEED_WINDOW,
    ClassCount,
    GateFixed,
    GateTerms,
    OpenedSample,
    PromotionGate,
    SampleAsked,
    TrialDrawn,
    TrialEnded,
    TrialOpened,
    TrialState,
)
from fedvm.chain.model_service import ModelService, ProgramPart, Version, pin_parts
from fedvm.chain.sender import Receipt, Sender
from fedvm.compiler import CompileError
from fedvm.compiler.scanner import scan
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.pipeline.trial import Custodian, pass_gate
from fedvm.protocol import (
    AccuracyTest,
    Sample,
    SamplePool,
    SampleTree,
    Verdict,
    sample_root,
    thresholds,
)

# The label is the first byte's lowest bit, or that of the byte shifted by one, which is right by chance.
# One score of 1 where the label is, 0 elsewhere.
TWO_SCORES = "806060526001186040526020600052600260205260806000f3"
PARITY = bytes.fromhex("60443560f81c600116" + TWO_SCORES)
SHIFTED = bytes.fromhex("60443560f91c600116" + TWO_SCORES)
ANSWER_GAS = 30_000
SAMPLES = SampleTree(tuple(Sample(bytes([n]) * 32, n % 2, bytes([n])) for n in range(50)))
TERMS = GateTerms(
    samples_root=SAMPLES.root,
    samples=50,
    classes=2,
    test=AccuracyTest(600_000, 900_000, 50_000, 50_000),
    max_samples=20,
    margin=1,
    attempts=2,
    trial_seconds=600,
    bond=10**15,
)


@pytest.fixture
def service(chain: EmbeddedChain) -> ModelService:
    deployed, _ = ModelService.deploy(chain.w3, chain.account("owner"), gate=TERMS)
    return deployed


@pytest.fixture
def trained(chain: EmbeddedChain, service: ModelService) -> dict[str, object]:
    """Lineage of a federation that began after the gate was fixed."""
    chain.advance_time(1)
    setup: Setup = make_setup(chain)
    final = run_aggregated_round(setup, chain)[2]
    return {"federation": setup.federation.address, "round": 1, "model_root": final.model_root}


def gate_of(service: ModelService) -> PromotionGate:
    gate = service.gate()
    assert gate is not None
    return gate


def deployed(chain: EmbeddedChain, runtime: bytes) -> str:
    receipt = deploy_code(Sender(chain.w3), chain.account("owner"), init_code(runtime), action="program")
    assert receipt.contract_address is not None
    return receipt.contract_address


def version_of(chain: EmbeddedChain, runtime: bytes, **lineage: object) -> Version:
    return Version(
        pin_parts(chain.w3, [deployed(chain, runtime)]), ANSWER_GAS, b"\x05" * 32, some_cid("onnx"), **lineage
    )


def reach_draw(chain: EmbeddedChain, gate: PromotionGate) -> None:
    """Pass blocks until the pending trial can be drawn."""
    seed_block = gate.trial(gate.pending_trial()).seed_block
    while not gate.can_draw(seed_block, chain.w3.eth.block_number):
        chain.advance_time(0)


def run_trial(chain: EmbeddedChain, service: ModelService, version: Version, batch: int = 3) -> TrialEnded:
    """The whole trial, with draws and verdicts foreseen in Python."""
    gate, owner, custodian = gate_of(service), chain.account("owner"), chain.account("custodian")
    chain.w3.eth.send_transaction(
        {"from": chain.account("user").address, "to": custodian.address, "value": 10**18}  # type: ignore[typeddict-item]
    )
    pool = gate.pool()
    registered, _ = service.register(owner, version)
    reach_draw(chain, gate)
    (drawn,) = gate.events_of(gate.draw(custodian))
    assert isinstance(drawn, TrialDrawn)
    limits, right, asked = thresholds(TERMS.test), 0, 0
    while True:
        indices: list[int] = []
        verdict = Verdict.OPEN
        code = bytes(chain.w3.eth.get_code(version.program))
        while len(indices) < batch and verdict is Verdict.OPEN:
            index = pool.draw(drawn.seed, asked)
            indices.append(index)
            answer = index >> (1 if code.endswith(SHIFTED) else 0) & 1
            asked, right = asked + 1, right + (answer == index % 2)
            verdict = limits.verdict(asked, right, TERMS.max_samples)
        first = asked - len(indices)
        receipt = gate.run_samples(custodian, first, [SAMPLES.opened(index) for index in indices])
        *rows, last = gate.events_of(receipt)
        seen = [row.index for row in (*rows, last) if isinstance(row, SampleAsked)]
        assert seen == indices
        if verdict is not Verdict.OPEN:
            assert isinstance(last, TrialEnded)
            assert (last.version, last.asked, last.right) == (registered.id, asked, right)
            return last


def test_terms_and_thresholds_are_read_back(service: ModelService) -> None:
    gate = gate_of(service)
    assert gate.terms() == TERMS
    assert gate.thresholds() == thresholds(TERMS.test)
    (fixed,) = gate.events([GateFixed])
    assert isinstance(fixed, GateFixed)
    assert (fixed.terms, fixed.thresholds) == (TERMS, thresholds(TERMS.test))
    assert read(gate.contract, "fixedAt") == gate.w3.eth.get_block(fixed.at.block_number)["timestamp"]


@pytest.mark.parametrize("test", [(1, 2, 1, 1), (999_998, 999_999, 999_999, 1), (500_000, 999_999, 3, 70)])
def test_the_contract_computes_the_same_thresholds(
    chain: EmbeddedChain, test: tuple[int, int, int, int]
) -> None:
    chosen = AccuracyTest(*test)
    terms = replace(TERMS, test=chosen, max_samples=2**31, samples=2**31)
    service, _ = ModelService.deploy(chain.w3, chain.account("owner"), gate=terms)
    assert gate_of(service).thresholds() == thresholds(chosen)


def test_a_version_passes_and_serves(
    chain: EmbeddedChain, service: ModelService, trained: dict[str, object]
) -> None:
    ended = run_trial(chain, service, version_of(chain, PARITY, **trained))
    gate, owner = gate_of(service), chain.account("owner")
    assert (ended.outcome, ended.asked, ended.right) == (TrialState.PASSED, 8, 8)
    assert service.current_version() == 1
    assert [(event.version, event.previous) for event in service.served()] == [(1, 0)]
    counts = gate.class_counts(1, 2)
    assert sum(count.asked for count in counts) == 8 and all(c.asked == c.right for c in counts)
    trial = gate.trial(1)
    assert trial.state is TrialState.PASSED and trial.state.is_over and trial.rival == 0
    (opened,) = gate.events([TrialOpened])
    assert isinstance(opened, TrialOpened) and opened.seed_block == trial.seed_block
    assert gate.owed(owner.address) == TERMS.bond
    gate.withdraw(owner)
    assert (gate.owed(owner.address), gate.samples_remaining(), gate.pending_trial()) == (0, 42, 0)


@pytest.mark.slow
def test_a_version_fails_and_another_follows(
    chain: EmbeddedChain, service: ModelService, trained: dict[str, object]
) -> None:
    ended = run_trial(chain, service, version_of(chain, SHIFTED, **trained))
    assert ended.outcome is TrialState.FAILED
    assert service.current_version() == 0
    with pytest.raises(TransactionFailed, match=r"NotPassed\(1\)"):
        service.rollback(1).send(chain.account("owner"))
    # The next trial draws from what is left.
    ended = run_trial(chain, service, version_of(chain, PARITY, **trained), batch=100)
    assert ended.outcome is TrialState.PASSED and service.current_version() == 2
    # By any other name, code that failed is the same code.
    with pytest.raises(TransactionFailed, match="CodeFailed"):
        service.register(chain.account("owner"), version_of(chain, SHIFTED))
    ended = run_trial(chain, service, version_of(chain, b"\x5b" + SHIFTED))
    assert ended.outcome is TrialState.FAILED and gate_of(service).trials_lost() == 2
    with pytest.raises(TransactionFailed, match=r"AttemptsUsedUp\(2\)"):
        service.register(chain.account("owner"), version_of(chain, PARITY))
    service.rollback(2).send(chain.account("owner"))
    assert service.current_version() == 2


@pytest.mark.slow
def test_a_missed_draw_lapses(chain: EmbeddedChain, service: ModelService) -> None:
    gate, owner = gate_of(service), chain.account("owner")
    service.register(owner, version_of(chain, PARITY))
    seed_block = gate.trial(1).seed_block
    while chain.w3.eth.block_number < seed_block + 256:
        chain.advance_time(0)
    assert not gate.can_draw(seed_block, chain.w3.eth.block_number)
    with pytest.raises(TransactionFailed, match="NoSeed"):
        gate.draw(owner)
    with pytest.raises(TransactionFailed, match="TrialNotLapsed"):
        gate.lapse(owner)
    while chain.w3.eth.block_number < seed_block + SEED_WINDOW:
        chain.advance_time(0)
    (ended,) = gate.events_of(gate.lapse(owner))
    assert isinstance(ended, TrialEnded) and ended.outcome is TrialState.LAPSED


def test_training_that_began_before_the_gate_is_refused(chain: EmbeddedChain) -> None:
    setup = make_setup(chain)
    final = run_aggregated_round(setup, chain)[2]
    service, _ = ModelService.deploy(chain.w3, chain.account("owner"), gate=TERMS)
    lineage = {"federation": setup.federation.address, "round": 1, "model_root": final.model_root}
    with pytest.raises(TransactionFailed, match="FixedAfterTraining"):
        service.register(chain.account("owner"), version_of(chain, PARITY, **lineage))


def test_no_answer_is_told_as_such(chain: EmbeddedChain, service: ModelService) -> None:
    gate, owner = gate_of(service), chain.account("owner")
    service.register(owner, version_of(chain, bytes.fromhex("5bfe")))
    reach_draw(chain, gate)
    (drawn,) = gate.events_of(gate.draw(owner))
    assert isinstance(drawn, TrialDrawn)
    pool = SamplePool(50)
    indices = [pool.draw(drawn.seed, number) for number in range(3)]
    *asked, ended = gate.events_of(gate.run_samples(owner, 0, [SAMPLES.opened(index) for index in indices]))
    assert [(row.index, row.answer) for row in asked if isinstance(row, SampleAsked)] == [
        (index, NO_ANSWER) for index in indices
    ]
    assert isinstance(ended, TrialEnded) and ended.outcome is TrialState.FAILED
    expected = [sum(index % 2 == label for index in indices) for label in (0, 1)]
    assert gate.class_counts(1, 2) == tuple(ClassCount(count, 0) for count in expected)


def test_the_audit_follows_a_trial_that_others_ask_in(chain: EmbeddedChain, service: ModelService) -> None:
    gate, owner = gate_of(service), chain.account("owner")
    service.register(owner, version_of(chain, bytes.fromhex("5bfe")))
    reach_draw(chain, gate)
    (drawn,) = gate.events_of(gate.draw(owner))
    assert isinstance(drawn, TrialDrawn)
    pool = SamplePool(50)
    opened = [SAMPLES.opened(pool.draw(drawn.seed, number)) for number in range(3)]
    gate.run_samples(owner, 0, opened[:1])
    gate.run_samples(owner, 0, opened[:2])
    with pytest.raises(TransactionFailed, match=r"SamplesMissing\(3, 2\)"):
        gate.run_samples(owner, 3, opened[:1])
    assert gate.trial(1).asked == 2
    gate.run_samples(owner, 1, opened[1:])
    assert gate.trial(1).state is TrialState.FAILED
    found = Ledger()
    GateReplay(ChainReader(chain.w3), service, found, {}, {}).run(0)
    assert not found.findings and found.passed["sample"] == found.passed["sample answer"] == 3


@pytest.mark.parametrize("leaves", [0, 1, 5], ids=["nothing", "the last sample", "some"])
def test_whoever_is_in_front_stops_no_trial(chain: EmbeddedChain, service: ModelService, leaves: int) -> None:
    """A stranger draws, and asks samples, right before whoever brings the version through its trial."""
    stranger, owner = chain.account("user"), chain.account("owner")

    class Overtaken(PromotionGate):
        def draw(self, account: LocalAccount) -> Receipt:
            super().draw(stranger)
            return super().draw(account)

        def run_samples(
            self,
            account: LocalAccount,
            first: int,
            samples: Sequence[OpenedSample],
            *,
            gas: int | None = None,
        ) -> Receipt:
            super().run_samples(stranger, first, samples[: len(samples) - leaves], gas=gas)
            return super().run_samples(account, first, samples, gas=gas)

    gate = Overtaken(chain.w3, gate_of(service).address)
    registered, _ = service.register(owner, version_of(chain, PARITY))
    custodian = Custodian(owner, SAMPLES, 0)
    passed = pass_gate(
        service, gate, registered, custodian, lambda: chain.advance_time(0), lambda done, most: None
    )
    assert passed == registered and gate.trial(registered.id).state is TrialState.PASSED
    assert gate.owed(owner.address) == TERMS.bond and gate.trials_lost() == 0


def test_every_way_leads_to_the_root() -> None:
    for index, sample in enumerate(SAMPLES.samples):
        siblings = SAMPLES.opened(index)[3]
        assert sample_root(50, index, sample, siblings) == SAMPLES.root
        assert sample_root(49, index, sample, siblings) != SAMPLES.root
        assert sample_root(50, index, sample, siblings[:-1]) == bytes(32)


def test_the_contract_scans_as_the_compiler_does(chain: EmbeddedChain) -> None:
    """Random code of lawful and unlawful pieces: both scanners refuse the same."""
    service, _ = ModelService.deploy(chain.w3, chain.account("owner"))
    rng, part = random.Random(5), deployed(chain, PARITY)
    own = to_canonical_address(part)
    pieces = [b"\x5b", b"\x01", b"\x60\xff", b"\x7f" + bytes(31), b"\x73" + own + b"\x5a\xfa"]
    pieces += [b"\x73" + own + b"\x3c", b"\x73" + own + b"\x5a\xf4", b"\x73" + own, b"\x00", b"\x9f"]
    unlawful = [b"\x5a", b"\x73" + bytes(20) + b"\x5a\xfa", b"\x54", b"\xfa", b"\x3c", b"\x34", b"\x7f"]
    refused = 0
    for _ in range(40):
        chosen = [rng.choice(pieces if rng.random() < 0.95 else unlawful) for _ in range(rng.randrange(1, 9))]
        code = b"\x5b" + b"".join(chosen)
        account = deployed(chain, code)
        parts = pin_parts(chain.w3, [account, part])
        try:
            scan(code, [to_canonical_address(account), own])
        except CompileError:
            refused += 1
            with pytest.raises(TransactionFailed, match="ForbiddenCode"):
                service.scan_part(chain.account("owner"), parts, 0)
        else:
            service.scan_part(chain.account("owner"), parts, 0)
    assert 5 < refused < 35


def test_scanned_beforehand_a_program_costs_less_to_register(chain: EmbeddedChain) -> None:
    owner = chain.account("owner")
    service, _ = ModelService.deploy(chain.w3, owner)
    long = version_of(chain, b"\x5b" * 3_000)
    whole = service.register(owner, long)[1].gas_used
    scanning = service.scan_part(owner, long.parts, 0).gas_used
    assert service.register(owner, long)[1].gas_used < whole - scanning // 2
    with pytest.raises(DeploymentError, match="no code"):
        pin_parts(chain.w3, [owner.address])
    forged = replace(long.parts[0], code_hash=bytes(32))
    with pytest.raises(TransactionFailed, match="CodeHashMismatch"):
        service.scan_part(owner, [ProgramPart(forged.account, forged.code_hash)], 0)
