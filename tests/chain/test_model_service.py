"""ModelService through its typed wrapper, and its programs in revm with py-evm's gas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from eth_utils.crypto import keccak
from handmade import DOUBLER, init_code, program
from setup_federation import ELEMENTS, Setup, some_cid
from test_federation import PROPOSAL, SECURITY, run_round

from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.decisions import DecisionReplay
from fedvm.audit.findings import Ledger
from fedvm.audit.versions import ServedVersion
from fedvm.chain.deploy import deploy_code
from fedvm.chain.errors import CallFailed, DeploymentError, TransactionFailed
from fedvm.chain.federation_types import RoundFinal
from fedvm.chain.fees import Contribution, Earnings, FeeTerms
from fedvm.chain.model_service import (
    NO_FEDERATION,
    NO_ROOT,
    ModelService,
    Version,
    VersionRegistered,
    hash_of_scores,
    pin_parts,
)
from fedvm.chain.revm import RevmProgram
from fedvm.chain.sender import Sender
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.evm.calls import PREDICT, encode_call
from fedvm.evm.gas import intrinsic_gas
from fedvm.protocol import AggregationTree, Commitment, CountedUpdate, aggregation_tree
from premises import premises_of


@pytest.fixture
def parts(chain: EmbeddedChain) -> tuple[str, str]:
    sender, owner = Sender(chain.w3), chain.account("owner")
    part = deploy_code(sender, owner, init_code(DOUBLER), action="part").contract_address
    assert part is not None
    entry = deploy_code(sender, owner, init_code(program(part)), action="entry").contract_address
    assert entry is not None
    return entry, part


@pytest.fixture
def service(chain: EmbeddedChain, parts: tuple[str, str]) -> ModelService:
    deployed, _ = ModelService.deploy(chain.w3, chain.account("owner"))
    deployed.register(chain.account("owner"), version_of(chain, parts))
    return deployed


def version_of(chain: EmbeddedChain, parts: tuple[str, str], **lineage: object) -> Version:
    return Version(pin_parts(chain.w3, parts), 100_000, b"\x05" * 32, some_cid("onnx"), **lineage)


def run_aggregated_round(
    setup: Setup, chain: EmbeddedChain
) -> tuple[AggregationTree, list[Commitment], RoundFinal]:
    """A final round whose aggregation is the true one."""
    opened, _ = setup.federation.open_round(setup.coordinator)
    submissions = [setup.submission(member, opened) for member in setup.members]
    accepted = setup.federation.submit(setup.coordinator, 1, submissions).accepted
    counted = [
        CountedUpdate(event.commitment, np.full(ELEMENTS, int(event.member, 16) % 7 - 3, dtype=np.int32))
        for event in accepted
    ]
    tree = aggregation_tree(counted)
    roots = {"aggregation_root": tree.root, "aggregate_root": tree.top.sums.root}
    proposal = replace(PROPOSAL, premises=premises_of(setup.federation), **roots)
    setup.federation.propose(setup.coordinator, 1, proposal)
    chain.advance_time(SECURITY.challenge_seconds + 1)
    final, _ = setup.federation.finalize_round(setup.coordinator, 1)
    return tree, [one.commitment for one in counted], final


def test_predicts_and_classifies_by_the_registered_program(service: ModelService) -> None:
    for byte in (0, 1, 7, 255):
        scores = service.predict(bytes([byte]))
        assert scores.dtype == np.int32
        assert scores.tolist() == [2 * byte, -byte]
    assert service.predict(b"\x03", version=1).tolist() == [6, -3]
    assert service.predict_gas(b"\x03") > 30_000


def test_registration_is_read_back(
    service: ModelService, chain: EmbeddedChain, parts: tuple[str, str]
) -> None:
    assert service.current_version() == 1
    version = service.version(1)
    assert version == version_of(chain, parts)
    assert version.program == parts[0]
    assert not version.has_lineage
    (event,) = service.versions()
    assert isinstance(event, VersionRegistered)
    assert event.version == version


def test_lineage_must_be_a_final_round(setup: Setup, chain: EmbeddedChain, parts: tuple[str, str]) -> None:
    service, _ = ModelService.deploy(chain.w3, setup.owner)
    _, final = run_round(setup, chain)
    lineage = {"federation": setup.federation.address, "round": 1}
    with pytest.raises(TransactionFailed, match="RoundNotFinal"):
        service.register(setup.owner, version_of(chain, parts, model_root=b"\x01" * 32, **lineage))
    service.register(setup.owner, version_of(chain, parts, model_root=final.model_root, **lineage))
    assert service.version(1).has_lineage


def test_decisions_are_recorded(service: ModelService, chain: EmbeddedChain) -> None:
    user = chain.account("user")
    first, receipt = service.decide(user, b"\x07")
    assert (first.id, first.caller, first.version, first.scores) == (1, user.address, 1, (14, -7))
    assert (first.input, first.input_hash) == (b"\x07", keccak(b"\x07"))
    assert first.at.tx_hash == receipt.tx_hash
    long = b"\x02" * 5000
    second, _ = service.decide(user, long, expected_version=1)
    assert (second.input, second.input_hash) == (None, keccak(long))
    assert (first.label, first.scores_hash) == (0, hash_of_scores([14, -7]))
    assert list(service.decisions()) == [first, second]
    with pytest.raises(TransactionFailed, match=r"VersionMismatch\(2, 1\)"):
        service.decide(user, b"\x07", expected_version=2)


def test_more_scores_than_an_event_holds_go_by_hash(chain: EmbeddedChain) -> None:
    """A program returns 300 scores for any input: all of them its first byte."""
    owner, user = chain.account("owner"), chain.account("user")
    code = bytes.fromhex(
        "60443560f81c"  # the byte
        "6020600052" + "61012c602052"  # offset 32, 300 scores
        "6040" + "5b"  # at 64, and a loop: [byte, at]
        "818152602001"
        + "80"
        + "6125c0"
        + "11"
        + "601357"  # mem[at] = byte, at += 32, again while at < 64 + 9600
        "6125c06000f3"
    )
    assert code.index(0x5B) == 0x13
    address = deploy_code(Sender(chain.w3), owner, init_code(code), action="wide").contract_address
    assert address is not None
    service, _ = ModelService.deploy(chain.w3, owner)
    service.register(owner, version_of(chain, (address,)))  # type: ignore[arg-type]
    decision, _ = service.decide(user, b"\x09")
    assert (decision.scores, decision.label, decision.input) == (None, 0, b"\x09")
    assert decision.scores_hash == hash_of_scores([9] * 300)
    assert service.predict(b"\x09").tolist() == [9] * 300
    ledger = Ledger()
    programs = {1: ServedVersion(address, {address: code}, 100_000)}
    DecisionReplay(ChainReader(chain.w3), service, ledger, programs).run(0)
    assert not ledger.findings
    other = code.replace(bytes.fromhex("60f8"), bytes.fromhex("60f9"))
    altered = {1: ServedVersion(address, {address: other}, 100_000)}
    DecisionReplay(ChainReader(chain.w3), service, ledger, altered).run(0)
    assert "class 0 and scores of the hash 0x" in str(ledger.findings)


def test_a_warm_program_costs_what_the_service_pays(chain: EmbeddedChain, parts: tuple[str, str]) -> None:
    cold = RevmProgram.from_chain(chain.w3, parts)
    warm = RevmProgram.from_chain(chain.w3, parts, warm=True)
    call = encode_call(PREDICT, b"\x07")
    used = [program.call(call).gas_used for program in (cold, warm)]
    assert used[0] - used[1] == 2_500  # one part besides the entry (EIP-2929)
    # To the unit of gas it answers and fails as the service does. It does not look whether its part ran.
    owner, seen = chain.account("owner"), set()
    service, _ = ModelService.deploy(chain.w3, owner)
    for gas in (used[1] - 200, used[1] - 1, used[1], used[1] + 1, used[1] + 5):
        service.register(owner, replace(version_of(chain, parts), gas=gas))
        answers = []
        for asked in (lambda gas=gas: warm.predict(b"\x07", gas=gas), lambda: service.predict(b"\x07")):
            try:
                answers.append(tuple(asked().tolist()))
            except CallFailed:
                answers.append(None)
        assert answers[0] == answers[1]
        seen.add(answers[0])
    assert {None, (14, -7)} <= seen


def test_decides_many_in_one_transaction(service: ModelService, chain: EmbeddedChain) -> None:
    user = chain.account("user")
    made, receipt = service.decide_many(user, [b"\x07", b"\x08"])
    assert [(one.id, one.scores) for one in made] == [(1, (14, -7)), (2, (16, -8))]
    assert {one.at.tx_hash for one in made} == {receipt.tx_hash}
    assert tuple(service.decisions()) == made


def test_lineage_names_the_version_of_its_time(service: ModelService, chain: EmbeddedChain) -> None:
    user, (entry, part) = chain.account("user"), service.version(1).parts
    service.decide(user, b"\x01")
    service.register(chain.account("owner"), version_of(chain, (part.account, entry.account)))
    with pytest.raises(CallFailed, match=r"UnknownDecision\(2\)"):
        service.lineage(2)
    found = service.lineage(1)
    assert (found.version, found.program, found.code_hash) == (1, entry.account, entry.code_hash)
    assert (found.federation, found.round, found.rules_hash) == (NO_FEDERATION, 0, NO_ROOT)
    assert (found.integer_onnx_digest, found.onnx_cid) == (b"\x05" * 32, some_cid("onnx"))


def test_fees_go_to_those_who_contributed(setup: Setup, chain: EmbeddedChain, parts: tuple[str, str]) -> None:
    service, _ = ModelService.deploy(chain.w3, setup.owner)
    tree, commitments, final = run_aggregated_round(setup, chain)
    lineage = {"federation": setup.federation.address, "round": 1, "model_root": final.model_root}
    service.register(setup.owner, version_of(chain, parts, **lineage))
    user, treasury = chain.account("user"), chain.account("treasury").address
    terms = FeeTerms(1000, treasury, 100_000)
    service.set_fee(1, terms).send(setup.owner)
    assert service.fee_terms(1) == terms
    with pytest.raises(TransactionFailed, match=r"FeeTooHigh\(1000, 999\)"):
        service.decide(user, b"\x07", max_fee=999)
    service.decide(user, b"\x07", max_fee=5000)
    assert (service.owed(treasury), service.owed(user.address)) == (100, 0)
    for position, commitment in enumerate(commitments):
        service.collection(1, Contribution(position, commitment, tree)).send(user)
        assert service.owed(commitment.member) == 300
    assert service.earnings(1) == Earnings(per_update=300, collected=900)
    with pytest.raises(TransactionFailed, match="NothingToCollect"):
        service.collection(1, Contribution(0, commitments[0], tree)).send(user)
    before = chain.w3.eth.get_balance(setup.members[0].address)
    receipt = service.withdrawal().send(setup.members[0])
    paid = receipt.gas_used * receipt.gas_price
    assert chain.w3.eth.get_balance(setup.members[0].address) == before + 300 - paid
    made, _ = service.decide(user, b"\x07", max_fee=1000)
    found = service.lineage(made.id)
    assert (found.federation, found.round) == (setup.federation.address, 1)
    assert (found.rules_hash, found.model_root) == (setup.federation.rules().digest(), final.model_root)
    assert found.aggregation_root == tree.root


def test_the_programs_own_revert_reaches_the_caller(service: ModelService) -> None:
    with pytest.raises(CallFailed, match="0xdeadbeef") as raised:
        service.predict(b"")
    assert raised.value.data == bytes.fromhex("deadbeef")


def test_service_without_a_version(chain: EmbeddedChain) -> None:
    service, _ = ModelService.deploy(chain.w3, chain.account("owner"))
    with pytest.raises(CallFailed, match=r"UnknownVersion\(0\)"):
        service.predict(b"\x01")
    with pytest.raises(DeploymentError, match="no code"):
        pin_parts(chain.w3, [chain.account("owner").address])


def test_revm_charges_what_the_chain_charges(chain: EmbeddedChain, parts: tuple[str, str]) -> None:
    revm = RevmProgram.from_chain(chain.w3, parts)
    sender, user = Sender(chain.w3), chain.account("user")
    for data in (b"\x00", b"\x07" * 40, bytes(range(256)) * 3):
        calldata = encode_call(PREDICT, data)
        used = sender.send(user, {"to": parts[0], "data": calldata}).gas_used
        for _ in range(3):  # warm addresses must not survive a call
            result = revm.call(calldata)
            assert result.success
            assert result.gas_used == used - intrinsic_gas(calldata)
        assert result.output == bytes(chain.w3.eth.call({"to": parts[0], "data": calldata}))
    # The program touches its part twice: once cold (2,600), once warm (100).
    assert 2_700 < result.gas_used < 3_200


def test_revm_predicts_many(chain: EmbeddedChain, parts: tuple[str, str]) -> None:
    revm = RevmProgram.from_chain(chain.w3, parts)
    inputs = np.arange(200, dtype=np.uint8).reshape(100, 1, 2, 1)
    seen: list[tuple[int, int]] = []
    result = revm.predict_many(inputs, progress=lambda done, total: seen.append((done, total)))
    expected = np.stack([2 * np.arange(0, 200, 2), -np.arange(0, 200, 2)], axis=1)
    assert result.scores.dtype == np.int32
    assert np.array_equal(result.scores, expected)
    assert len(set(result.gas.tolist())) == 1
    assert seen[-1] == (100, 100)
    assert revm.predict(b"\x09").tolist() == [18, -9]


def test_revm_tells_of_failures_and_recovers(chain: EmbeddedChain, parts: tuple[str, str]) -> None:
    revm = RevmProgram.from_chain(chain.w3, parts)
    good = revm.call(encode_call(PREDICT, b"\x01"))
    failed = revm.call(encode_call(PREDICT, b""))
    assert (failed.success, failed.output) == (False, bytes.fromhex("deadbeef"))
    assert revm.call(encode_call(PREDICT, b"\x01"), gas=200).halt.startswith("halted: OutOfGas")
    assert revm.call(encode_call(PREDICT, b"\x01")) == good
    with pytest.raises(CallFailed, match="deadbeef"):
        revm.predict(b"")
    with pytest.raises(CallFailed, match="uint8"):
        revm.predict_many(np.zeros((2, 2), dtype=np.float32))  # type: ignore[arg-type]
    with pytest.raises(DeploymentError, match="no code"):
        RevmProgram.from_chain(chain.w3, [parts[0], chain.account("owner").address])
    with pytest.raises(DeploymentError, match="entry"):
        RevmProgram({parts[0]: b"\x00"}, parts[1])
