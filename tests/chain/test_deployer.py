"""Contracts at addresses that follow from their code: found again, never made twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from handmade import COUNTER, init_code
from web3 import Web3

from fedvm.chain.create2 import DEPLOYER
from fedvm.chain.creation_block import creation_block
from fedvm.chain.deployer import RUNTIME, Deployer
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.factory import OPEN_IMPLEMENTATIONS, FederationFactory, shared_addresses
from fedvm.chain.genuine import service_deviations
from fedvm.chain.model_service import ModelService
from fedvm.chain.networks import ANVIL, CALIBRATION, connect
from fedvm.chain.sender import Sender


@pytest.fixture
def node(start_anvil: Callable[..., AbstractContextManager[str]]) -> Iterator[Web3]:
    """A chain without the deployer."""
    with start_anvil() as url:
        w3 = connect(url)
        w3.provider.make_request("anvil_setCode", [DEPLOYER, "0x"])  # type: ignore[arg-type]
        yield w3


def rich(w3: Web3) -> LocalAccount:
    account: LocalAccount = Account.create()
    w3.provider.make_request("anvil_setBalance", [account.address, hex(10**21)])  # type: ignore[arg-type]
    return account


def code_at(w3: Web3, address: str) -> bytes:
    return bytes(w3.eth.get_code(Web3.to_checksum_address(address)))


def test_the_common_deployer_is_put_where_it_belongs(node: Web3) -> None:
    account, sender = rich(node), Sender(node, ANVIL)
    node.provider.make_request("anvil_setNonce", [DEPLOYER, "0x0"])  # type: ignore[arg-type]
    assert Deployer.find(sender, account.address) is None
    placed = Deployer.ensure(sender, account)
    assert placed.address == DEPLOYER and code_at(node, DEPLOYER) == RUNTIME
    assert Deployer.ensure(sender, rich(node)).address == DEPLOYER


def test_a_copy_is_made_once_where_the_common_one_cannot_be(node: Web3) -> None:
    """As on Filecoin, where the transaction that was signed beforehand brings too little gas."""
    account, sender = rich(node), Sender(node, replace(ANVIL, gas_unit=CALIBRATION.gas_unit))
    first = Deployer.ensure(sender, account)
    assert first.address != DEPLOYER and code_at(node, first.address) == RUNTIME
    sender.send(account, {"to": account.address, "value": 1})
    assert Deployer.ensure(sender, account).address == first.address
    assert Deployer.ensure(sender, rich(node)).address != first.address


def test_what_is_there_is_not_made_again(anvil: Web3) -> None:
    account, sender = rich(anvil), Sender(anvil)
    deployer, salt = Deployer.ensure(sender, account), Account.create().key
    address, receipt = deployer.create(account, init_code(COUNTER), action="counter", salt=salt)
    assert receipt is not None and address == deployer.address_of(init_code(COUNTER), salt)
    assert code_at(anvil, address)
    assert creation_block(anvil, address) == receipt.block_number
    assert deployer.create(account, init_code(COUNTER), action="counter", salt=salt) == (address, None)
    with pytest.raises(TransactionFailed):
        deployer.create(account, bytes.fromhex("fe"), action="nothing")
    with pytest.raises(TransactionFailed, match="init code, at most"):
        deployer.create(account, bytes(70_000), action="too much")


def test_a_service_made_through_a_deployer_is_genuine(anvil: Web3) -> None:
    account, sender = rich(anvil), Sender(anvil)
    deployer = Deployer.ensure(sender, account)
    service = ModelService.deploy_at(deployer, account, bytes(32))
    assert ModelService.deploy_at(deployer, account, bytes(32)).address == service.address
    assert service.owner() == account.address
    assert list(service_deviations(anvil, service.address)) == []
    assert ModelService.deploy_at(deployer, account, b"\x01" * 32).address != service.address


def test_the_factory_is_shared(anvil: Web3) -> None:
    one, two = rich(anvil), rich(anvil)
    factory = FederationFactory.shared(anvil, one)
    where = shared_addresses()
    assert where["FederationFactory"] == factory.address
    assert [name for name in OPEN_IMPLEMENTATIONS if not anvil.eth.get_code(where[name])] == []
    spent = anvil.eth.get_transaction_count(two.address)
    assert FederationFactory.shared(anvil, two).address == factory.address
    assert anvil.eth.get_transaction_count(two.address) == spent
    assert factory.free_salt(one.address) == bytes(32)
