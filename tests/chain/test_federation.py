"""The Federation contract through its typed wrapper, on the embedded chain and on anvil."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi.abi import encode
from eth_account import Account
from setup_federation import BASE, RULES, Setup, deploy_federation, make_setup, some_cid
from web3 import Web3

import conditions
from fedvm.chain.artifacts import RULE_BOOK, contract_at
from fedvm.chain.call import read
from fedvm.chain.errors import CallFailed, DeploymentError, TransactionFailed
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import (
    FederationCreated,
    MemberAdded,
    Premises,
    Proposal,
    RoundFinal,
    RoundOpened,
    RoundState,
    UpdateAccepted,
)
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.evm.keccak import keccak
from fedvm.protocol import Domain, Refusal, recover_signer, update_digest
from premises import premises_of

SECURITY = conditions.security()
NEW_ROOT, AGGREGATE_ROOT = b"\x11" * 32, b"\x22" * 32
PROPOSAL = Proposal(Premises(0, 0, bytes(32)), b"\x33" * 32, AGGREGATE_ROOT, NEW_ROOT, some_cid("model 1"))


def run_round(setup: Setup, chain: EmbeddedChain) -> tuple[RoundOpened, RoundFinal]:
    opened, _ = setup.federation.open_round(setup.coordinator)
    submissions = [setup.submission(member, opened) for member in setup.members]
    assert len(setup.federation.submit(setup.coordinator, opened.round, submissions).accepted) == 3
    proposal = replace(PROPOSAL, premises=premises_of(setup.federation))
    proposed, _ = setup.federation.propose(setup.coordinator, opened.round, proposal)
    assert (proposed.attempt, proposed.cid) == (1, PROPOSAL.cid)
    chain.advance_time(SECURITY.challenge_seconds + 1)
    final, _ = setup.federation.finalize_round(setup.members[0], opened.round)
    return opened, final


def test_creation_is_read_back(setup: Setup) -> None:
    federation = setup.federation
    assert federation.rules() == RULES
    assert federation.rules_hash() == RULES.digest()
    assert federation.owner() == setup.owner.address
    assert federation.coordinator() == setup.coordinator.address
    assert federation.members() == sorted((m.address for m in setup.members), key=lambda a: int(a, 16))
    assert federation.is_member(setup.members[0].address)
    assert not federation.is_member(setup.owner.address)
    assert federation.current_round() == 0
    (created,) = federation.events([FederationCreated])
    assert isinstance(created, FederationCreated)
    assert (created.rules, created.model_cid) == (RULES, some_cid("model 0"))
    assert created.model_root == federation.model_root()
    assert created.at.block_number == setup.created.block_number
    assert sum(isinstance(event, MemberAdded) for event in federation.events_of(setup.created)) == 3


def test_a_round_becomes_final(setup: Setup, chain: EmbeddedChain) -> None:
    opened, final = run_round(setup, chain)
    federation = setup.federation
    assert opened.round == federation.current_round() == 1
    facts = [int(setup.w3.eth.chain_id), federation.address, 1, opened.base_root]
    assert opened.seed == keccak(encode(["uint256", "address", "uint64", "bytes32"], facts))
    assert federation.opening(1) == opened
    assert final.total_weight == 900
    assert final.accepted == 3
    stored = federation.round(1)
    assert stored.state is RoundState.FINAL
    assert (stored.model_root, stored.aggregation_root) == (NEW_ROOT, PROPOSAL.aggregation_root)
    assert final.aggregate_root == AGGREGATE_ROOT  # the contract keeps it of the latest round alone
    assert federation.model_root() == NEW_ROOT
    kinds = [type(event).__name__ for event in federation.events(first=opened.at.block_number)]
    assert kinds == ["RoundOpened", *["UpdateAccepted"] * 3, "RoundProposed", "RoundFinal"]


def test_what_was_signed_can_be_checked_from_events_alone(setup: Setup, chain: EmbeddedChain) -> None:
    opened, _ = run_round(setup, chain)
    domain = Domain(setup.w3.eth.chain_id, setup.federation.address)
    events = list(setup.federation.events([UpdateAccepted]))
    assert len(events) == 3
    for event in events:
        assert isinstance(event, UpdateAccepted)
        update = event.update(RULES, opened.base_root)
        assert recover_signer(update, domain, event.signature) == event.member
        assert read(setup.federation.contract, "hashUpdate", update.as_tuple()) == update_digest(
            update, domain
        )


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("changes, reason", [
    ({"round": 9}, Refusal.WRONG_ROUND),
    ({"rules_hash": b"\x01" * 32}, Refusal.WRONG_RULES),
    ({"base_root": b"\x01" * 32}, Refusal.WRONG_BASE),
    ({"elements": 99}, Refusal.WRONG_SHAPE),
    ({"fraction_bits": 8}, Refusal.WRONG_SHAPE),
    ({"deadline": 1}, Refusal.EXPIRED),
    ({"examples": 9}, Refusal.TOO_FEW_EXAMPLES),
    ({"sum_squares": 10**9 + 1}, Refusal.NORM_TOO_LARGE),
    ({"accuracy_ppm": 99_999}, Refusal.ACCURACY_TOO_LOW),
    ({"loss_micros": 5_000_001}, Refusal.LOSS_TOO_HIGH),
])  # fmt: skip
def test_the_rules_refuse_by_name(setup: Setup, changes: dict[str, object], reason: Refusal) -> None:
    opened, _ = setup.federation.open_round(setup.coordinator)
    bad = setup.submission(setup.members[0], opened, **changes)
    good = setup.submission(setup.members[1], opened)
    result = setup.federation.submit(setup.coordinator, 1, [bad, good])
    (refused,) = result.refused
    assert refused.reason is reason
    assert refused.member == setup.members[0].address
    assert refused.reason.label.lower() == reason.name.replace("_", "").lower()
    (accepted,) = result.accepted
    assert accepted.member == setup.members[1].address


def test_a_strangers_and_a_forged_update_are_refused(setup: Setup, chain: EmbeddedChain) -> None:
    opened, _ = setup.federation.open_round(setup.coordinator)
    stranger = setup.submission(chain.account("stranger"), opened)
    forged = setup.submission(setup.members[0], opened, signer=setup.members[1])
    refused = setup.federation.submit(setup.coordinator, 1, [stranger, forged]).refused
    assert {event.reason for event in refused} == {Refusal.NOT_MEMBER, Refusal.BAD_SIGNATURE}


def test_examples_over_the_cap_weigh_the_cap(setup: Setup) -> None:
    opened, _ = setup.federation.open_round(setup.coordinator)
    (event,) = setup.federation.submit(
        setup.coordinator, 1, [setup.submission(setup.members[0], opened, examples=15_000)]
    ).accepted
    assert (event.examples, event.weight) == (15_000, 500)


def test_reverts_are_decoded(setup: Setup) -> None:
    federation, coordinator = setup.federation, setup.coordinator
    with pytest.raises(TransactionFailed, match=rf"NotCoordinator\({setup.owner.address.lower()}\)"):
        federation.open_round(setup.owner)
    opened, _ = federation.open_round(coordinator)
    with pytest.raises(TransactionFailed, match=r"RoundStillOpen\(1\)"):
        federation.open_round(coordinator)
    federation.submit(coordinator, 1, [setup.submission(setup.members[0], opened)])
    with pytest.raises(TransactionFailed, match=r"QuorumNotReached\(1, 2\)") as raised:
        federation.propose(coordinator, 1, PROPOSAL)
    assert len(raised.value.data) == 4 + 64
    with pytest.raises(CallFailed, match=r"UnknownRound\(5\)"):
        read(contract_at(setup.w3, RULE_BOOK, federation.rule_book()), "roundRulesHash", 5)


def test_a_round_without_quorum_fails_and_the_next_has_the_same_base(setup: Setup) -> None:
    federation = setup.federation
    first, _ = federation.open_round(setup.coordinator)
    failed, _ = federation.fail_round(setup.coordinator, 1)
    assert (failed.round, failed.accepted, failed.by) == (1, 0, setup.coordinator.address)
    assert federation.round(1).state is RoundState.FAILED
    second, _ = federation.open_round(setup.coordinator)
    assert (second.round, second.base_root) == (2, first.base_root)
    assert second.seed != first.seed


def test_anyone_fails_a_round_after_its_deadline(setup: Setup, chain: EmbeddedChain) -> None:
    setup.federation.open_round(setup.coordinator)
    user = chain.account("user")
    with pytest.raises(TransactionFailed, match="NotCoordinator"):
        setup.federation.fail_round(user, 1)
    chain.advance_time(RULES.round_seconds + 1)
    failed, _ = setup.federation.fail_round(user, 1)
    assert failed.by == user.address


def test_money_goes_in_and_out(setup: Setup, chain: EmbeddedChain) -> None:
    federation, member = setup.federation, setup.members[0]
    assert federation.security() == SECURITY
    run_round(setup, chain)
    assert (
        federation.owed(setup.coordinator.address) == SECURITY.bond
        and read(federation.contract, "lockedBond") == 0
    )
    federation.deposit(7).send(member)
    federation.stake(5).send(member)
    assert (federation.owed(member.address), federation.stake_of(member.address)) == (7, 5)
    federation.unstake().send(member)
    federation.withdraw().send(member)
    assert (federation.owed(member.address), federation.stake_of(member.address)) == (0, 0)
    assert setup.w3.eth.get_balance(federation.address) == SECURITY.bond  # type: ignore[arg-type]
    with pytest.raises(TransactionFailed, match="NothingOwed"):
        federation.withdraw().send(member)
    federation.deposit(7).send(member)
    receiver = Account.create().address
    federation.withdraw(receiver).send(member)
    assert setup.w3.eth.get_balance(receiver) == 7 and federation.owed(member.address) == 0


def test_many_updates_are_split_over_messages_of_64_kib(chain: EmbeddedChain) -> None:
    setup = make_setup(chain, members=100)
    opened, _ = setup.federation.open_round(setup.coordinator)
    submissions = [setup.submission(member, opened) for member in reversed(setup.members)]
    result = setup.federation.submit(setup.coordinator, 1, submissions)
    assert len(result.receipts) == 2
    assert len(result.accepted) == 100
    addresses = [int(event.member, 16) for event in result.accepted]
    assert addresses == sorted(addresses)
    assert result.gas_used == sum(receipt.gas_used for receipt in result.receipts)


def test_the_size_of_a_message_is_known_before_it_is_encoded(setup: Setup) -> None:
    opened, _ = setup.federation.open_round(setup.coordinator)
    signed = setup.submission(setup.members[0], opened)
    for cid, signature in [(b"\x01" * 36, 65), (b"\x01" * 32, 64), (b"\x01" * 64, 0)]:
        odd = replace(signed, update=replace(signed.update, cid=cid), signature=b"\x02" * signature)
        sizes = [
            len(setup.federation.contract.encode_abi("submit", args=[1, [odd.as_tuple()] * count])) // 2 - 1
            for count in (0, 1, 2)
        ]
        assert sizes == [100, 100 + odd.encoded_bytes, 100 + 2 * odd.encoded_bytes]


def test_membership_changes_between_rounds(setup: Setup, chain: EmbeddedChain) -> None:
    newcomer = chain.account("member", 9).address
    setup.federation.add_members([newcomer]).send(setup.owner)
    assert setup.federation.is_member(newcomer)
    setup.federation.remove_member(newcomer).send(setup.owner)
    assert not setup.federation.is_member(newcomer)
    assert setup.federation.successor() is None
    setup.federation.replace_coordinator(newcomer).send(setup.owner)
    assert (setup.federation.coordinator(), setup.federation.successor()) == (newcomer, None)


def test_a_successor_waits_for_the_round_to_end(setup: Setup, chain: EmbeddedChain) -> None:
    newcomer = chain.account("user")
    setup.federation.open_round(setup.coordinator)
    setup.federation.replace_coordinator(newcomer.address).send(setup.owner)
    assert setup.federation.coordinator() == setup.coordinator.address
    assert setup.federation.successor() == newcomer.address
    setup.federation.fail_round(setup.coordinator, 1)
    assert setup.federation.successor() == newcomer.address
    setup.federation.open_round(newcomer)
    assert (setup.federation.coordinator(), setup.federation.successor()) == (newcomer.address, None)


def test_bad_rules_are_refused_at_creation(chain: EmbeddedChain) -> None:
    with pytest.raises(TransactionFailed, match=r"creating Federation failed: InvalidRule\(minClients\)"):
        FederationContract.deploy(
            chain.w3,
            chain.account("owner"),
            coordinator=chain.account("coordinator").address,
            rules=replace(RULES, min_clients=0),
            security=SECURITY,
            members=[chain.account("member").address],
            model_root=NEW_ROOT,
            model_cid=some_cid("m"),
        )


def test_an_address_without_code_is_no_federation(chain: EmbeddedChain) -> None:
    with pytest.raises(DeploymentError, match="no code there"):
        FederationContract(chain.w3, chain.account("owner").address)


def test_the_same_round_on_anvil_costs_the_same_gas(anvil: Web3, chain: EmbeddedChain) -> None:
    embedded = make_setup(chain)
    accounts = [embedded.owner, embedded.coordinator]
    for account in accounts:
        anvil.provider.make_request("anvil_setBalance", [account.address, hex(10**21)])  # type: ignore[arg-type]
        anvil.provider.make_request("anvil_setNonce", [account.address, "0x0"])  # type: ignore[arg-type]
    other = deploy_federation(anvil, *accounts, embedded.members)
    gas = []
    for setup in (embedded, other):
        # Digests differ with chain and address, so calldata differs in zero bytes: compare what does not.
        _, opening = setup.federation.open_round(setup.coordinator)
        _, failing = setup.federation.fail_round(setup.coordinator, 1)
        gas.append((opening.gas_used, failing.gas_used))
    assert other.federation.address == embedded.federation.address
    assert other.created.gas_used == embedded.created.gas_used
    assert gas[0] == gas[1]
    assert BASE.size == RULES.elements
    opened, _ = other.federation.open_round(other.coordinator)
    submissions = [other.submission(member, opened) for member in other.members]
    assert len(other.federation.submit(other.coordinator, 2, submissions).accepted) == 3
    assert [type(e).__name__ for e in other.federation.events(first=opened.at.block_number)] == [
        "RoundOpened",
        *["UpdateAccepted"] * 3,
    ]


def test_a_poor_account_is_told_what_it_lacks(setup: Setup) -> None:
    pauper = Account.create()
    with pytest.raises(Exception, match=r"holds 0 FIL"):
        setup.federation.sender.send(pauper, {"to": setup.owner.address})
