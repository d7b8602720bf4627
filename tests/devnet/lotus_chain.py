"""A local Filecoin chain for tests, whose epochs pass when they are told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from fedvm.devnet.accounts import derive_account
from fedvm.devnet.lotus.chain import TipsetChain, Weather
from fedvm.devnet.lotus.rpc import Lookback, LotusRpc

CHAIN_ID = 31415926
STARTED = 1_800_000_000
FUNDS = 10**22
CALM = Weather(null_rounds=0.0, held=0.0, lost=0.0, finality=5)


def user(index: int = 0) -> LocalAccount:
    return derive_account(11, "user", index)


def new_chain(weather: Weather = CALM, seed: int = 0, users: int = 3) -> TipsetChain:
    balances = {bytes.fromhex(user(index).address[2:]): FUNDS for index in range(users)}
    return TipsetChain(CHAIN_ID, balances, started=STARTED, weather=weather, seed=seed)


class Node:
    """Asks a chain without a server."""

    def __init__(self, chain: TipsetChain, lookback: Lookback | None = None) -> None:
        self.chain, self._rpc = chain, LotusRpc(chain, lookback)

    def ask(self, method: str, *parameters: Any) -> Any:
        """The result; fails the test if there is an error."""
        answer = self._rpc.answer({"id": 1, "method": method, "params": list(parameters)})
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def error(self, method: str, *parameters: Any) -> dict[str, Any]:
        answer = self._rpc.answer({"id": 1, "method": method, "params": list(parameters)})
        assert "result" not in answer, answer
        error: dict[str, Any] = answer["error"]
        return error


def signed(account: LocalAccount, **fields: Any) -> str:
    """A raw transaction of type 2, in hexadecimal."""
    usual = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": 0,
        "gas": 200_000_000,
        "maxFeePerGas": 10**9,
        "maxPriorityFeePerGas": 10**6,
        "value": 0,
        "data": b"",
        "to": user(9).address,
    }
    fields = {name: value for name, value in (usual | fields).items() if value is not None}
    return str(Account.sign_transaction(fields, account.key).raw_transaction.to_0x_hex())


@contextmanager
def weathered(chain: TipsetChain, **changes: Any) -> Iterator[None]:
    """The chain in other weather, for a while."""
    before, chain.weather = chain.weather, replace(chain.weather, **changes)
    yield
    chain.weather = before
