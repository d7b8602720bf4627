"""A contract that judges proofs against proposals: what can be proved, and how a proof is committed to and shown."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_typing import HexStr
from web3 import Web3
from web3.contract import Contract
from web3.types import TxParams

from fedvm.chain.artifacts import DISPUTES, contract_at
from fedvm.chain.events import Place
from fedvm.chain.passing_time import await_block_after
from fedvm.chain.sender import Receipt, Sender
from fedvm.chain.supervised import SupervisedAccount
from fedvm.evm.keccak import keccak


class Fraud(IntEnum):
    """What was proved wrong; the contract's enum."""

    WRONG_MEAN = 0
    WRONG_SUM = 1
    WRONG_PRODUCT = 2
    WRONG_NODE = 3
    WRONG_LEAF = 4
    MALFORMED_VECTOR = 5
    BAD_UPDATE = 6
    MISSING_DATA = 7
    WRONG_RECORD = 8
    WRONG_SEQUENCE = 9
    WRONG_COMMITMENT = 10
    MALFORMED_ROLLUP = 11
    OMISSION = 12


@dataclass(frozen=True)
class Evidence:
    """A proof: the contract's function, its arguments between the round and the salt, and the name of the contract that
    judges it: `DISPUTES` or `ROLLUPS`; in a sealed federation `SEALED_DISPUTES`, `SEALED_ROUNDS` or `SEALED_COURT`."""

    fraud: Fraud
    function: str
    arguments: tuple[Any, ...]
    court: str = DISPUTES


@dataclass(frozen=True)
class FraudProved:
    round: int
    challenger: str
    fraud: Fraud
    attempt: int
    at: Place


class Court:
    """The contract ``name`` of a federation that judges proofs. hearing: address of its `DISPUTES` (or
    `SEALED_DISPUTES`), where proofs for all are committed to; its own unless given.

    Reverts surface as :class:`~fedvm.chain.errors.TransactionFailed` with the contract's error decoded.
    """

    def __init__(
        self, w3: Web3, name: str, address: str, *, hearing: str | None = None, sender: Sender | None = None
    ) -> None:
        self.w3 = w3
        self.name = name
        self.contract: Contract = contract_at(w3, name, address)
        self.address: str = self.contract.address
        self.sender = sender or Sender(w3)
        self.hearing: Contract = contract_at(w3, DISPUTES, hearing or address)

    def prove(self, account: LocalAccount, number: int, evidence: Evidence) -> Receipt:
        """Commit to a proof, then show it in a later block; returns the receipt of the proof.

        Raises TransactionFailed if the contract does not accept it; ``NoFraud()`` if everything that the proof opens is
        right.
        """
        salt = secrets.token_bytes(32)
        arguments = [number, *evidence.arguments, salt]
        data = self.contract.encode_abi(evidence.function, args=arguments)
        types = ["address", "bytes32"]
        digest = keccak(encode(types, [account.address, keccak(bytes.fromhex(data.removeprefix("0x")))]))
        if isinstance(account, SupervisedAccount):
            commit = self.hearing.encode_abi("commit", args=[number, digest])
            both: list[TxParams] = [
                {"to": self.hearing.address, "data": HexStr(commit)},
                {"to": self.contract.address, "data": HexStr(data)},
            ]
            account.look(both, f"{self.name}.{evidence.function}", apart=True)
        committed = self.sender.transact(account, self.hearing, f"{DISPUTES}.commit", number, digest)
        await_block_after(self.w3, self.sender.network, committed.block_number)
        return self._send(account, evidence.function, *arguments)

    def _send(self, account: LocalAccount, function: str, *arguments: Any, value: int = 0) -> Receipt:
        return self.sender.transact(
            account, self.contract, f"{self.name}.{function}", *arguments, value=value
        )
