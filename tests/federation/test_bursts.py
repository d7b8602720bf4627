"""Whoever asks much, or again and again, takes no bond and holds no round up: the product's own settle loop answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from federation_bench import MakeBench
from web3 import Web3
from web3.types import RPCEndpoint, TxParams

import conditions
from fedvm.chain.disputes import Answer, DataAnswered, DataDemanded, DisputesContract, Question
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Proposal, RoundState
from fedvm.chain.networks import connect
from fedvm.evm.keccak import keccak
from fedvm.federation import ChainLedger, FederationSettings
from fedvm.federation.commitment import Attestation, commit
from fedvm.federation.coordinator.answers import ProposedRound, batches
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import CountedUpdate, Domain, aggregation_tree, model_root, to_bytes
from fedvm.protocol.preimages import children
from fedvm.store import Cid, ContentStore
from premises import premises_of

# Both are public: anvil's accounts 0 and 1.
COORDINATOR: LocalAccount = Account.from_key(
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
)
GRIEFER: LocalAccount = Account.from_key("0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")
ELEMENTS, MEMBERS, BURST = 512, 3, 60
WINDOW, ANSWER, BLOCK_SECONDS = 60, 60, 3
RULES = conditions.rules(elements=ELEMENTS, min_clients=1)
SECURITY = conditions.security(challenge_seconds=WINDOW, answer_seconds=ANSWER)


def phases(updates: int, elements: int) -> int:
    """Phases of a relayed round, as docs/protocol.md has it."""
    levels = (updates - 1).bit_length() + 1, (-(-elements // 64) - 1).bit_length() + 2
    return sum(-(-one // 6) for one in levels)


@dataclass
class Proposed:
    """A proposal on a network, and the ledger of its coordinator, which waits in real time."""

    w3: Web3
    contract: FederationContract
    ledger: ChainLedger
    preimages: dict[bytes, bytes]
    roots: tuple[bytes, bytes, bytes]

    @property
    def disputes(self) -> DisputesContract:
        return DisputesContract(self.w3, self.contract.disputes())

    def tell(self, method: str, *given: Any) -> None:
        self.w3.provider.make_request(RPCEndpoint(method), given)

    def questions(self) -> list[Question]:
        """Each hash below the roots, one level each."""
        found: dict[bytes, Question] = {root: Question(root, (), 1) for root in self.roots}
        pending = list(self.roots)
        while pending:
            digest = pending.pop(0)
            preimage = self.preimages[digest]
            for below in (*children(preimage), *_held(preimage)):
                if below in self.preimages and below not in found:
                    found[below] = Question(below, (*found[digest].trail, preimage), 1)
                    pending.append(below)
        return list(found.values())


def _held(preimage: bytes) -> tuple[bytes, ...]:
    """What an aggregation leaf or node holds besides its children: the sums, and of a leaf the commitment."""
    places = {0x08: (9, 41), 0x09: (9,)}.get(preimage[0], ())
    return tuple(preimage[at : at + 32] for at in places)


@pytest.fixture
def proposed(tmp_path: Path, start_anvil: Callable[..., AbstractContextManager[str]]) -> Iterator[Proposed]:
    with start_anvil() as url:
        yield _propose(tmp_path, connect(url))


def _propose(path: Path, w3: Web3) -> Proposed:
    store, base = ContentStore(path / "store"), np.arange(ELEMENTS, dtype=np.int32)
    members = [Account.create() for _ in range(MEMBERS)]
    contract, receipt = FederationContract.deploy(
        w3,
        COORDINATOR,
        coordinator=COORDINATOR.address,
        rules=RULES,
        security=SECURITY,
        members=[member.address for member in members],
        model_root=model_root(base),
        model_cid=Cid.parse(store.put(to_bytes(base))).binary,
    )
    opened, _ = contract.open_round(COORDINATOR)
    domain = Domain(w3.eth.chain_id, contract.address)
    terms = RoundTerms(domain, 1, RULES, model_root(base), opened.deadline)
    vectors, submissions = {}, []
    for index, member in enumerate(sorted(members, key=lambda one: int(one.address, 16))):
        vector = np.arange(ELEMENTS, dtype=np.int32) % (7 + index)
        submissions.append(commit(vector, terms, Attestation(10, 0.5, 1.0), member.key.hex()).submission)
        store.put(to_bytes(vector))
        vectors[member.address] = vector
    accepted = contract.submit(COORDINATOR, 1, submissions).accepted
    tree = aggregation_tree([CountedUpdate(one.commitment, vectors[one.member]) for one in accepted])
    model = (base + tree.top.sums.vector // tree.top.weight).astype(np.int32)
    roots = (tree.root, tree.top.sums.root, model_root(model))
    contract.propose(
        COORDINATOR, 1, Proposal(premises_of(contract), *roots, Cid.parse(store.put(to_bytes(model))).binary)
    )
    ledger = ChainLedger(contract, COORDINATOR, first_block=receipt.block_number, store=store)
    made_from = ProposedRound(ledger.vectors_in(store), ledger.history(1))
    preimages = {keccak(one): one for one in made_from.preimages()}
    return Proposed(w3, contract, ledger, preimages, roots)


def _burst(proposed: Proposed, questions: list[Question]) -> int:
    """Ask all questions in one block; returns its number."""
    contract = proposed.disputes.contract
    transactions: list[TxParams] = []
    for one in questions:
        arguments = [1, list(one.trail), one.wanted, one.levels]
        data = contract.encode_abi("demand", args=arguments)
        transactions.append(
            {"to": contract.address, "data": data, "value": SECURITY.demand_fee, "gas": 300_000}
        )  # type: ignore[typeddict-item]
    proposed.tell("evm_setAutomine", False)
    nonce = proposed.w3.eth.get_transaction_count(GRIEFER.address)
    for at, transaction in enumerate(transactions):
        filled = {
            **transaction,
            "chainId": proposed.w3.eth.chain_id,
            "nonce": nonce + at,
            "maxFeePerGas": 10**10,
            "maxPriorityFeePerGas": 10**9,
        }
        proposed.w3.eth.send_raw_transaction(GRIEFER.sign_transaction(filled).raw_transaction)  # type: ignore[arg-type]
    proposed.tell("evm_mine")
    return proposed.w3.eth.block_number


@pytest.mark.slow
def test_a_burst_of_questions_is_answered_within_twenty_blocks(proposed: Proposed) -> None:
    questions = proposed.questions()[:BURST]
    assert len(questions) == BURST
    block = _burst(proposed, questions)
    asked = [one for one in proposed.disputes.events([DataDemanded]) if isinstance(one, DataDemanded)]
    assert len(asked) == BURST and {one.at.block_number for one in asked} == {block}
    proposed.tell("evm_setIntervalMining", BLOCK_SECONDS)
    ended: list[RoundState] = []
    waiting = threading.Thread(target=lambda: ended.append(proposed.ledger.conclude(1)), daemon=True)
    waiting.start()
    for _ in range(ANSWER // BLOCK_SECONDS):
        if len(list(proposed.disputes.events([DataAnswered]))) == BURST:
            break
        waiting.join(BLOCK_SECONDS)
    answered = [one for one in proposed.disputes.events([DataAnswered]) if isinstance(one, DataAnswered)]
    assert {(one.hash, one.levels) for one in answered} == {(one.wanted, 1) for one in questions}
    assert len({one.at.tx_hash for one in answered}) == 1
    assert max(one.at.block_number for one in answered) <= block + 20
    proposed.tell("evm_increaseTime", 3 * (WINDOW + ANSWER))
    waiting.join(60)
    assert ended == [RoundState.FINAL]
    # The griefer paid for all of it, and half is the coordinator's.
    assert proposed.disputes.owed(COORDINATOR.address) == BURST * SECURITY.demand_fee // 2
    assert proposed.contract.owed(COORDINATOR.address) == SECURITY.bond


def test_answers_are_split_by_the_gas_they_take(proposed: Proposed) -> None:
    """Questions whose answers do not fit one transaction are answered all the same."""
    for one in proposed.questions()[:4]:
        for levels in (6, 5, 4):
            proposed.disputes.demand(GRIEFER, 1, Question(one.wanted, one.trail, levels))
    assert proposed.ledger.answer_questions(1) == 12
    assert proposed.ledger.open_questions(1) == []
    gas = [
        proposed.w3.eth.get_transaction_receipt(one.at.tx_hash)["gasUsed"]  # type: ignore[arg-type]
        for one in proposed.disputes.events([DataAnswered])
    ]
    assert max(gas) < 10_000_000
    answers = batches([_answer(one, proposed) for one in proposed.questions()[:BURST] for _ in range(30)])
    assert len(answers) > 1 and sum(map(len, answers)) == 30 * BURST


def _answer(question: Question, proposed: Proposed) -> Answer:
    return Answer(question.wanted, 1, (proposed.preimages[question.wanted],))


def test_questions_in_a_row_delay_a_round_no_longer_than_its_phases(make_bench: MakeBench) -> None:
    """A griefer asks as late as it can, again and again; everything is answered, and the round ends in time."""
    bench = make_bench(4)
    contract = FederationContract(bench.chain.w3, bench.ledger.address)
    disputes = DisputesContract(bench.chain.w3, contract.disputes())
    griefer, security = bench.chain.account("user"), contract.security()
    began, refused = list[int](), list[int]()

    def grief(seconds: int) -> None:
        round_ = contract.round(1)
        if not began:
            began.append(round_.until - security.challenge_seconds)
        # To the window's last seconds; each transaction takes one.
        left = round_.until - int(bench.chain.w3.eth.get_block("latest")["timestamp"]) - 5
        if left <= 0:
            bench.chain.advance_time(seconds)
            return
        bench.chain.advance_time(left)
        asked = len(list(disputes.events([DataDemanded])))
        if asked < bound:
            root = (round_.model_root, round_.aggregate_root)[asked % 2]
            disputes.demand(griefer, 1, Question(root, (), asked // 2 + 1))
        else:
            with pytest.raises(TransactionFailed, match="TooLateToAsk"):
                disputes.demand(griefer, 1, Question(round_.aggregation_root, (), 6))
            refused.append(asked)

    bound = phases(4, contract.rules().elements)
    bench.ledger._pass_time = grief
    bench.run(FederationSettings(clients=4, rounds=1, submission="commitments"))
    assert contract.round(1).state is RoundState.FINAL
    assert len(list(disputes.events([DataAnswered]))) == bound >= 2 and refused == [bound]
    (last,) = began
    assert contract.round(1).until == last + security.challenge_seconds + 2 * bound * security.answer_seconds
