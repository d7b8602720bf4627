"""What the ledger knows from the chain's events is what the contract would say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi.abi import encode
from federation_bench import MakeBench

from fedvm.chain.errors import ChainError
from fedvm.chain.federation import FederationContract
from fedvm.chain.rule_book import RuleBookContract
from fedvm.evm.keccak import keccak
from fedvm.federation import ChainLedger


def test_members_and_rules_are_those_of_the_contract(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    chain, owner = bench.chain, bench.chain.account("owner")
    contract = FederationContract(chain.w3, bench.ledger.address)
    late = ChainLedger(contract, chain.account("coordinator"), first_block=chain.w3.eth.block_number + 1)

    def agree() -> bool:
        return all(
            list(ledger.members()) == contract.members() and ledger.rules() == contract.rules()
            for ledger in (bench.ledger, late)
        )

    assert agree()
    newcomer = chain.account("member", 9).address
    contract.add_members([newcomer]).send(owner)
    assert newcomer in bench.ledger.members()
    assert agree()
    contract.remove_member(contract.members()[0]).send(owner)
    assert len(bench.ledger.members()) == 3
    assert agree()
    rules = replace(contract.rules(), max_examples=77)
    book = RuleBookContract(chain.w3, contract.rule_book())
    book.announce(rules).send(owner)
    assert bench.ledger.rules().max_examples != 77
    assert agree()
    chain.advance_time(86_400)
    book.adopt().send(owner)
    assert bench.ledger.rules() == late.rules() == rules
    assert agree()


def test_a_seed_is_that_of_its_round(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    contract = FederationContract(bench.chain.w3, bench.ledger.address)
    for number in (1, 2):
        assert bench.ledger.open_round().number == number
        bench.chain.advance_time(2 * contract.rules().round_seconds)
        bench.ledger.fail(number)
    for number in (1, 2):
        facts = [bench.chain.chain_id, bench.ledger.address, number, contract.model_root()]
        seed = keccak(encode(["uint256", "address", "uint64", "bytes32"], facts))
        assert bench.ledger.round(number).seed == contract.opening(number).seed == seed
    with pytest.raises(ChainError, match=r"round 3 of .* was never opened"):
        contract.opening(3)
