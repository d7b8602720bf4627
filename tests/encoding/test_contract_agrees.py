"""The shipped Federation contract computes the same rules hash and typed-data digest, in a real EVM."""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from eth_tester import EthereumTester, PyEVMBackend
from hypothesis import HealthCheck, given, settings
from test_typed_data import anything
from web3 import EthereumTesterProvider, Web3

from fedvm.encoding import Domain, Rules, Security, Update, update_digest

RULES = Rules(2, 1, 400, (5 * 2**16) ** 2, 64, 16, 3600, 100_000, 5_000_000)


@pytest.fixture(scope="module")
def federation() -> Iterator[tuple[Any, Domain]]:
    artifact = json.loads(files("fedvm.chain").joinpath("artifacts/Federation.json").read_text())
    w3 = Web3(EthereumTesterProvider(EthereumTester(PyEVMBackend())))
    owner, coordinator, *members = w3.eth.accounts[:6]
    contract = w3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
    arguments = (
        owner,
        coordinator,
        RULES.as_tuple(),
        Security().as_tuple(),
        sorted(members),
        b"\x07" * 32,
        b"\x01\x55\x12\x20" + bytes(32),
    )
    receipt = w3.eth.wait_for_transaction_receipt(contract.constructor(*arguments).transact({"from": owner}))
    address = receipt["contractAddress"]
    yield w3.eth.contract(address=address, abi=artifact["abi"]), Domain(w3.eth.chain_id, address)


def test_rules_hash(federation: tuple[Any, Domain]) -> None:
    contract, _ = federation
    assert contract.functions.rulesHash().call() == RULES.digest()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(update=anything)
def test_update_digest(federation: tuple[Any, Domain], update: Update) -> None:
    contract, domain = federation
    assert contract.functions.hashUpdate(update.as_tuple()).call() == update_digest(update, domain)
