"""What a node can do, and what an account can pay for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eth_account import Account
from web3 import Web3

from fedvm.chain.costs import CREATE_FEDERATION_16, MODEL, creation
from fedvm.chain.network_funds import funds_of
from fedvm.chain.networks import ANVIL, CALIBRATION, MAINNET, SEPOLIA
from fedvm.chain.node_check import Capability, examine_node
from fedvm.devnet.embedded import EmbeddedChain


def examined(w3: Web3, network: Any = None) -> dict[str, Capability]:
    return {one.name: one for one in examine_node(w3, network)}


def test_anvil_can_do_everything(anvil: Web3) -> None:
    found = examined(anvil)
    assert all(one.good for one in found.values()), found
    assert found["chain"].value == 31337
    assert found["opcodes"].value and found["state overrides"].value and found["tracing"].value
    assert found["gas limit"].value == ANVIL.transaction_gas


def test_another_chain_and_a_head_that_stands_still_are_told(anvil: Web3) -> None:
    old = replace(SEPOLIA, log_range=10**6)
    anvil.provider.make_request("anvil_mine", [hex(600), hex(1)])  # type: ignore[arg-type]
    found = examined(anvil, old)
    assert not found["chain"].good
    assert found["events"].value >= 500
    behind = replace(SEPOLIA, chain_id=31337)
    anvil.provider.make_request("evm_increaseTime", [10**5])  # type: ignore[arg-type]
    anvil.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
    assert not examined(anvil, behind)["head"].good


def test_a_node_without_the_extras_is_fit_all_the_same(chain: EmbeddedChain) -> None:
    found = examined(chain.w3)
    assert not found["tracing"].good or not found["tracing"].needed
    assert found["opcodes"].good


def test_what_an_account_can_pay_for(anvil: Web3) -> None:
    poor, rich = Account.create().address, Account.create().address
    anvil.provider.make_request("anvil_setBalance", [rich, hex(10**18)])  # type: ignore[arg-type]
    assert {row.times for row in funds_of(anvil, poor, ANVIL).rows} == {0}
    for row in funds_of(anvil, rich, ANVIL).rows:
        assert (
            row.times == 10**18 // row.wei
            and row.wei == row.step.evm * funds_of(anvil, rich, ANVIL).gas_price
        )


def test_filecoin_has_figures_of_its_own() -> None:
    assert CREATE_FEDERATION_16.gas(MAINNET) == CREATE_FEDERATION_16.filecoin > 10**8
    assert CREATE_FEDERATION_16.gas(SEPOLIA) == CREATE_FEDERATION_16.evm
    assert (
        creation("one", [24_576]).filecoin == 54_000_000 + 4_800 * 24_576
    )  # 172 M, as measured on actors v18
    assert MODEL.gas(CALIBRATION) == 4 * creation("one", [24_576]).filecoin


def test_links_to_explorers() -> None:
    assert CALIBRATION.address_link("0xab") == "https://filecoin-testnet.blockscout.com/address/0xab"
    assert MAINNET.transaction_link("0xcd") == "https://filecoin.blockscout.com/tx/0xcd"
    assert ANVIL.transaction_link("0xcd") is None
