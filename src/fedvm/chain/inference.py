"""Predictions in several transactions: the InferenceSession contract, typed, on any chain web3 can reach.

A program too large for one transaction is compiled into stages (`compile_model(..., max_gas=...)`). A session runs one
stage a transaction and keeps the state on chain in between, so that anyone can take the next step at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from numpy.typing import NDArray
from web3 import Web3
from web3.contract import Contract

from fedvm.chain.artifacts import INFERENCE_SESSION, contract_at
from fedvm.chain.call import read
from fedvm.chain.deploy import deploy_contract
from fedvm.chain.events import EventReader
from fedvm.chain.model_service import pin_parts
from fedvm.chain.sender import Receipt, Sender
from fedvm.evm.keccak import keccak

_STAGES = "(uint64,(address,bytes32)[])[]"
"""The contract's stages in the ABI: gas and parts of each."""


@dataclass(frozen=True)
class SessionState:
    """How far a session has come. checkpoint: the contracts that hold the state between two stages."""

    program: bytes
    input_hash: bytes
    stages_done: int
    stages: int
    checkpoint: tuple[str, ...]

    @property
    def finished(self) -> bool:
        return self.stages_done == self.stages


class InferenceSession:
    """A deployed InferenceSession. Inputs are bytes in the ONNX model's layout; scores are int32 [outputs]."""

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        self.w3 = w3
        self.contract: Contract = contract_at(w3, INFERENCE_SESSION, address)
        self.address: str = self.contract.address
        self.sender = sender or Sender(w3)
        self._events = EventReader(w3, self.contract, self.sender.network)

    @classmethod
    def deploy(cls, w3: Web3, account: LocalAccount) -> tuple[InferenceSession, Receipt]:
        """Create the contract; ``account`` pays. One serves any number of programs."""
        sender = Sender(w3)
        receipt = deploy_contract(sender, account, INFERENCE_SESSION, ())
        assert receipt.contract_address is not None
        return cls(w3, receipt.contract_address, sender=sender), receipt

    def register(
        self, account: LocalAccount, stages: Sequence[Sequence[str]], gas: Sequence[int]
    ) -> tuple[bytes, Receipt]:
        """Register a staged program by the addresses of its stages (`DeployedProgram.addresses`) and the gas that each
        is given, in the chain's own; returns its id. Each part is scanned by a transaction of its own before."""
        pinned = [
            (limit, [(p.account, p.code_hash) for p in pin_parts(self.w3, stage)])
            for limit, stage in zip(gas, stages, strict=True)
        ]
        program = keccak(encode([_STAGES], [pinned]))
        if not any(event.args["program"] == program for event in self._events.fetch(["ProgramRegistered"])):
            for _, parts in pinned:
                for index in range(len(parts)):
                    self._send(account, "scanPart", parts, index)
        return program, self._send(account, "register", pinned)

    def start(self, account: LocalAccount, program: bytes, data: bytes) -> tuple[int, Receipt]:
        """Begin a prediction and run its first stage; returns the session's number."""
        receipt = self._send(account, "start", program, data)
        (event,) = (e for e in self._events.decode(receipt.raw["logs"]) if e.name == "SessionStarted")
        return int(event.args["id"]), receipt

    def advance(self, account: LocalAccount, session: int) -> Receipt:
        """Run the next stage, whoever started the session."""
        return self._send(account, "advance", session)

    def state(self, session: int) -> SessionState:
        """How far a session has come; :class:`CallFailed` (UnknownSession) if it was never started."""
        program, input_hash, done, stages, checkpoint = read(self.contract, "session", session)
        return SessionState(bytes(program), bytes(input_hash), done, stages, tuple(checkpoint))

    def result(self, session: int) -> NDArray[np.int32]:
        """Scores of a finished session; :class:`CallFailed` (NotFinished) before."""
        return np.array(read(self.contract, "result", session), dtype=np.int32)

    def finish(
        self, account: LocalAccount, session: int, *, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.int32]:
        """Run all stages that are left and return the scores. progress(done, of) is called after each stage."""
        state = self.state(session)
        while not state.finished:
            self.advance(account, session)
            state = self.state(session)
            if progress:
                progress(state.stages_done, state.stages)
        return self.result(session)

    def _send(self, account: LocalAccount, function: str, *arguments: object) -> Receipt:
        return self.sender.transact(account, self.contract, f"InferenceSession.{function}", *arguments)
